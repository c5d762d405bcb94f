"""Pools that outlive a test go on working on the fresh database of the next one, with every driver."""

from __future__ import annotations

import pytest
from projects import Projects


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("--db-isolation=clone",)], ids=["n0", "n2", "clone"])
def test_a_pool_finds_the_fresh_database(projects: Projects, arguments: tuple[str, ...]) -> None:
    run = projects.run("pools", "--db=both", *arguments)
    assert run.status == 0, run.text
    assert {test["verdict"] for test in run.report["tests"]} == {"agree"}, run.text
    assert "Traceback" not in run.text, run.text
