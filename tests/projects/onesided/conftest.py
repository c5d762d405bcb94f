import os

import pytest

WANT = os.environ.get("WANT", "")


@pytest.fixture
def service(request):
    """Fails, or skips, on PostgreSQL before the test has its database."""
    if "postgres" in request.node.name and WANT in ("fixture", "skip"):
        if WANT == "skip":
            pytest.skip("no service here")
        raise RuntimeError("no service")


def pytest_collection_modifyitems(config, items):
    if WANT == "deselect":
        gone = [item for item in items if "[postgres]" in item.name]
        items[:] = [item for item in items if item not in gone]
        config.hook.pytest_deselected(items=gone)
    if WANT == "drop":
        items[:] = [item for item in items if "[postgres]" not in item.name]
    if WANT == "mark":
        for item in items:
            if "[postgres]" in item.name:
                item.add_marker(pytest.mark.skip(reason="not today"))
