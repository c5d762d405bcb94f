import pytest
from fieldservice.app import open_app


@pytest.fixture
def app(db, monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDSERVICE_DATA_DIR", str(tmp_path))
    with open_app() as app:
        yield app
