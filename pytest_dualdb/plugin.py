"""The pytest plugin: its options, its fixtures, and the two objects that do the rest.

`pytest_dualdb.halves` executes tests, in each process that does; `pytest_dualdb.controller` takes their records
and shows what came of them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dualdb import config, distribution, hookspecs
from pytest_dualdb.collection import (
    AGAIN,
    backend_of,
    fail_in_pairs,
)
from pytest_dualdb.controller import Controller
from pytest_dualdb.halves import Halves

if TYPE_CHECKING:
    from pytest_dualdb.database import Database

_SETTINGS = pytest.StashKey[config.Settings]()
_HALVES = pytest.StashKey["Halves"]()

# ------------------------------------------------------------------------------------------------- options


def pytest_addoption(parser: pytest.Parser) -> None:
    groups = [*getattr(parser, "_groups", ()), getattr(parser, "_anonymous", None)]
    options = [option for group in groups for option in getattr(group, "options", ())]
    # pytest before version 9 sees a conflict only when it parses, and then says it with a traceback
    taken = {name for option in options if hasattr(option, "names") for name in option.names()}
    group = parser.getgroup("dualdb", "dual-database parity (pytest-dualdb)")
    for setting in config.SETTINGS:
        kind = "linelist" if setting.kind in ("lines", "paths") else "string"
        parser.addini(setting.ini, setting.help, type=kind, default=None)  # type: ignore[arg-type]
        if not setting.option:
            continue
        try:
            if setting.option in taken:
                raise ValueError("the option exists")
            how: dict[str, Any] = {"metavar": setting.metavar}
            if setting.kind == "truth":
                how = {"action": "store_const", "const": "true"}
            elif setting.kind == "paths":
                how["action"] = "append"
            group.addoption(
                setting.option,
                dest=setting.ini,
                **how,
                help=f"{setting.help} (default: {setting.default})" if setting.default else setting.help,
            )
        except (ValueError, argparse.ArgumentError) as error:
            raise pytest.UsageError(
                f"pytest-dualdb: another plugin already owns {setting.option} ({error});"
                " expected it to be free: disable that plugin with -p no:NAME"
            ) from None


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Resolve the settings and be in place before a conftest imports the application."""
    settings = _resolve(early_config, early_config.known_args_namespace)
    owner = _owner_of_db(early_config.pluginmanager)
    if owner is None or (settings.chosen and owner[1] == "django" and not _has_django_settings(early_config)):
        # of two fixtures the one that is registered later counts
        early_config.pluginmanager.register(Fixtures(), "dualdb-fixtures")
    elif settings.chosen:
        source = settings.sources["backend"]
        raise pytest.UsageError(
            f"pytest-dualdb: {source}={settings.backend}: the plugin {owner[0]} has a fixture db as well;"
            f" expected one plugin to have it: add -p no:{owner[1]} to leave that one out,"
            f" or run without {source}"
        )
    if settings.chosen or settings.redirect:
        from pytest_dualdb.recorder import sqlite3 as recorded

        # an application's early `from sqlite3 import connect` must get ours
        recorded.intercept()
    given = distribution.told()
    if given is not None or settings.env or settings.redirect:
        early_config.stash[_HALVES] = halves = Halves(early_config, settings, given)
        if settings.env:
            halves.set_environment()
        elif settings.redirect:
            halves.worker()


def _resolve(pytest_config: pytest.Config, options: Any) -> config.Settings:
    try:
        settings = config.resolve(
            lambda setting: getattr(options, setting.ini, None),
            lambda setting: pytest_config.getini(setting.ini),
            pytest_config.rootpath,
        )
    except config.SettingError as error:
        raise pytest.UsageError(f"pytest-dualdb: {error}") from None
    pytest_config.stash[_SETTINGS] = settings
    return settings


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "dualdb(only='postgres', xfail='postgres', raises=..., allow='like-case', ignore=['created_at'],"
        " reason=...): what is known of the test on the two databases; all but ignore need a reason",
    )
    settings = config.stash.get(_SETTINGS, None) or _resolve(config, config.option)
    halves = config.stash.get(_HALVES, None)
    if halves is None:
        config.stash[_HALVES] = halves = Halves(config, settings, None)
        if settings.env:
            halves.set_environment()
    config.pluginmanager.register(halves, "dualdb-halves")
    if len(settings.backends) == 2:
        fail_in_pairs(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Controller(config, settings, halves), "dualdb-controller")


# --------------------------------------------------------------------------------- the tests' side: fixtures


def _owner_of_db(plugins: pytest.PytestPluginManager) -> tuple[str, str] | None:
    """Return another plugin that has a fixture called db: its name for people, and for ``-p no:``."""
    kind = type(Fixtures.db)
    projects = {id(plugin): dist.project_name for plugin, dist in plugins.list_plugin_distinfo()}
    for name, plugin in plugins.list_name_plugin():
        members = {**vars(type(plugin)), **getattr(plugin, "__dict__", {})}
        for attribute, member in members.items():
            if type(member) is not kind:
                continue
            # the first is pytest's name from version 8.4 on, the second its name until then
            for known in ("_fixture_function_marker", "_pytestfixturefunction"):
                fixture = getattr(member, known, None)
                if fixture is not None and (fixture.name or attribute) == "db":
                    return projects.get(id(plugin), name), name
    return None


def _has_django_settings(early_config: pytest.Config) -> bool:
    """Return whether pytest-django has a project to work for, by the ways its documentation names."""
    name = "DJANGO_SETTINGS_MODULE"
    given = getattr(early_config.known_args_namespace, "ds", None)
    return bool(given or os.environ.get(name) or early_config.getini(name))


class Fixtures:
    """The fixtures, unless another plugin has one called db: then it must work as if we were not there."""

    @pytest.fixture
    def _dualdb_backend(self, request: pytest.FixtureRequest) -> str:
        """The backend of this half; parametrised by the plugin."""
        # the parameter of a test on a shared database belongs to what shares it: there the node is no test
        parameter = str(getattr(request, "param", "")).removesuffix(AGAIN)
        backend = parameter or backend_of(request.node)
        if backend is not None:
            return backend
        backends = request.config.stash[_SETTINGS].backends
        if len(backends) == 1:
            return backends[0]
        raise pytest.UsageError(
            f"{request.node.nodeid} asks for db through request.getfixturevalue only; expected it as an"
            " argument of the test or of a fixture, so that the test can run once on each database"
        )

    @pytest.fixture
    def db(self, dualdb: Database) -> Database:
        """The test's database, fresh: a `Database` on SQLite in one half, on PostgreSQL in the other."""
        return dualdb

    @pytest.fixture
    def dualdb(self, request: pytest.FixtureRequest, _dualdb_backend: str) -> Iterator[Database]:
        """The same as db, for a project that has a fixture db of its own."""
        half = request.config.stash[_HALVES].start(request.node, _dualdb_backend)
        yield half.database
        try:
            half.finish()
        except Exception as error:
            # a failure of the plugin's own must not turn a test's result around
            half.abandon(error)
