import pytest


@pytest.fixture
def db():
    return "the application's own"
