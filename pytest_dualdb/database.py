"""`Database`: what a test holds, the same on both backends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_dualdb import dialect
from pytest_dualdb.backends import Backend
from pytest_dualdb.recorder import Recorder

if TYPE_CHECKING:
    import sqlalchemy

Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """One test's database on one backend.

    Everything that goes through `connect`, `connection` and the methods here is recorded, as is what the
    application does through connections of its own.
    """

    def __init__(self, backend: Backend, env: Mapping[str, str], recorder: Recorder | None = None) -> None:
        self._backend = backend
        self._recorder = recorder
        self._connection: Any = None
        self._depth = 0
        self._opened: list[Any] = []
        self._engines: list[Any] = []
        self.env: Mapping[str, str] = env
        """The environment variables of ``dualdb_env``, as set for this half."""
        self.functions = dialect.Functions(backend.name)
        """Dialect functions as SQL text."""

    def __repr__(self) -> str:
        return f"<Database {self.backend} {self._backend.own}>"

    @property
    def backend(self) -> str:
        """``"sqlite"`` or ``"postgres"``."""
        return self._backend.name

    @property
    def placeholder(self) -> str:
        """The native driver's placeholder, for `connect`: ``"?"`` or ``"%s"``."""
        return self._backend.placeholder

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of this database."""
        return self._backend.address.url

    @property
    def dsn(self) -> str:
        """The libpq connection string; empty on SQLite."""
        return self._backend.address.dsn

    @property
    def path(self) -> str:
        """The SQLite file; empty on PostgreSQL."""
        return self._backend.address.path

    # ------------------------------------------------------------------------------------------ connections

    def connect(self, **driver_arguments: Any) -> Any:
        """Open a recorded connection of the native driver: ``sqlite3`` or ``psycopg2``."""
        connection = self._backend.connect(**driver_arguments)
        self._opened.append(connection)
        return connection

    @property
    def connection(self) -> Any:
        """The connection of the methods below, opened when first used."""
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    def engine(self, **arguments: Any) -> sqlalchemy.Engine:
        """Return a SQLAlchemy ``Engine`` on this database; ``arguments`` go to ``create_engine``."""
        try:
            import sqlalchemy
        except ImportError:
            raise ImportError(
                "db.engine() needs SQLAlchemy, which is not installed: pip install sqlalchemy"
            ) from None
        engine = sqlalchemy.create_engine(self._backend.address.sqlalchemy_url, **arguments)
        self._engines.append(engine)
        return engine

    # ------------------------------------------------------------------------------------ portable statements

    def execute(self, sql: str, params: Parameters | None = None) -> Any:
        """Run a statement with ``?`` or ``:name`` placeholders; return the driver's cursor.

        Raises `PlaceholderError` if the parameters do not fit, and the driver's own errors.
        """
        text, values = dialect.bind(sql, params, self._backend.name)
        cursor = self.connection.cursor()
        if values is None:
            cursor.execute(text)
        else:
            cursor.execute(text, values)
        return cursor

    def executemany(self, sql: str, params: Sequence[Parameters]) -> Any:
        """Run a statement once for each set of parameters; return the driver's cursor."""
        text, values = dialect.bind_many(sql, params, self._backend.name)
        cursor = self.connection.cursor()
        cursor.executemany(text, values)
        return cursor

    def fetchall(self, sql: str, params: Parameters | None = None) -> list[Any]:
        """Run a query and return all rows."""
        return list(self.execute(sql, params).fetchall())

    def fetchone(self, sql: str, params: Parameters | None = None) -> Any:
        """Run a query and return the first row, None if there is none."""
        return self.execute(sql, params).fetchone()

    def scalar(self, sql: str, params: Parameters | None = None) -> Any:
        """Run a query and return the first value of the first row, None if there is no row."""
        row = self.fetchone(sql, params)
        return None if row is None else row[0]

    def executescript(self, sql: str) -> None:
        """Run a script of many statements, for set-up: committed at once, not recorded."""
        if self._connection is not None:
            # the script runs on a connection of its own, and must see what was done here
            self._unrecorded(self._connection.commit)
        self._backend.run_script(sql)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """Commit on success, roll back on an error; nested, a savepoint. Gives `connection`."""
        connection = self.connection
        depth, self._depth = self._depth, self._depth + 1
        savepoint = f"dualdb_{depth}"
        try:
            if depth:
                self._begin()
                connection.cursor().execute(f"SAVEPOINT {savepoint}")
            yield connection
        except BaseException:
            if depth:
                connection.cursor().execute(f"ROLLBACK TO SAVEPOINT {savepoint}")
                connection.cursor().execute(f"RELEASE SAVEPOINT {savepoint}")
            else:
                connection.rollback()
            raise
        else:
            if depth:
                connection.cursor().execute(f"RELEASE SAVEPOINT {savepoint}")
            else:
                connection.commit()
        finally:
            self._depth = depth

    def _begin(self) -> None:
        """Open the outer transaction where the driver would only do so at the next write."""
        if self.backend == "sqlite" and not self.connection.in_transaction:
            self.connection.cursor().execute("BEGIN")

    # ----------------------------------------------------------------------------------------------- the rest

    def observe(self, name: str, value: Any) -> None:
        """Give a value to compare between the halves, such as the body of a response."""
        if self._recorder is not None:
            self._recorder.observe(name, value)

    def tables(self) -> list[str]:
        """Return the names of the tables, sorted."""
        return self._backend.tables()

    def reset(self) -> None:
        """Bring the database back to how the test found it, within the test."""
        self._backend.interrupt()
        self._close()
        self._backend.end_half(() if self._recorder is None else self._recorder.statements())
        self._backend.reset()

    def _unrecorded(self, call: Any) -> None:
        if self._recorder is None:
            call()
            return
        self._recorder.paused += 1
        try:
            call()
        finally:
            self._recorder.paused -= 1

    def _close(self) -> None:
        """Close what was opened through this object."""
        for engine in self._engines:
            engine.dispose()
        for connection in self._opened:
            with contextlib.suppress(Exception):  # closed, broken or of another thread: it is of no more use
                connection.close()
        self._opened.clear()
        self._engines.clear()
        self._connection = None
        self._depth = 0
