def pytest_dualdb_same_value(left, right, column):
    raise RuntimeError("the hook is broken")
