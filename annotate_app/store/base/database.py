"""The engine and its transactions: the one place that knows SQLite from PostgreSQL."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, create_engine, event, func, insert, select, text
from sqlalchemy.exc import DBAPIError, TimeoutError

from annotate_app.store.base.connection_url import parse_url

DEFAULT_URL = "sqlite:///data/tiebreak.db"
SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_ENCODER = json.JSONEncoder(ensure_ascii=False)


def to_json(value: object) -> str:
    """JSON as it is stored: with its letters as they are, so that a search finds them."""
    return _ENCODER.encode(value)


# Errors name no parameters: they are people's words, and errors end in logs.
_QUIET: dict[str, Any] = {"json_serializer": to_json, "hide_parameters": True}


def database_url(url: str | None = None) -> str:
    """The URL given, else the TIEBREAK_DB variable, else SQLite in the folder `data`; a path means a SQLite file."""
    named = url or os.environ.get("TIEBREAK_DB") or DEFAULT_URL
    return f"sqlite:///{Path(named).expanduser()}" if _is_path(named) else named


def _is_path(named: str) -> bool:
    """Whether an address of the database is a path; one that may hold a password is a URL that was misspelled."""
    if "://" in named or named.startswith("//"):
        return False
    if named.startswith((os.sep, "./", "../", "~")) or Path(named).exists():
        return True
    return "@" not in named and (os.sep in named or Path(named).suffix in SQLITE_SUFFIXES)


class Database:
    """An engine with two kinds of transaction: `read` and `write`.

    On SQLite a write transaction takes the write lock when it begins (BEGIN IMMEDIATE), so that what it read cannot
    have changed by the time it writes; on PostgreSQL rows are locked by the statements that need it.

    SQLite makes waiting writers poll with growing pauses, whoever wakes first goes next. Threads of one process wait in
    line instead: of 50 threads that write all the time, 5% waited 339 ms or more (the longest 4.3 s) before, 103 ms
    (0.14 s) since. Other processes still poll.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _create_engine(url)
        self._turn = FairLock() if self.is_sqlite else nullcontext()
        self._shared = threading.local()  # .connection: of the `together` that this thread is in

    @property
    def is_sqlite(self) -> bool:
        """Whether the embedded database is used."""
        return self.engine.dialect.name == "sqlite"

    @property
    def is_joined(self) -> bool:
        """Whether this thread is in a block of `together`."""
        return self._joined() is not None

    @property
    def divides(self) -> bool:
        """Whether a long write is better divided, so that others get their turn: all of SQLite has one writer."""
        return self.is_sqlite and not self.is_joined

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one consistent state and writes nothing."""
        joined = self._joined()
        if joined is not None:
            yield joined
            return
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on disk when the block ends, or leaves no trace when it raises."""
        joined = self._joined()
        if joined is not None:
            with joined.begin_nested():
                yield joined
            return
        with (
            self._turn,
            self.engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def together(self) -> Iterator[None]:
        """Makes one write transaction of all that this thread reads and writes in the block: all of it or nothing.

        On SQLite everybody else who writes waits until it ends, so what can be prepared is prepared before.
        """
        with self.write() as connection:
            self._shared.connection = connection
            try:
                yield
            finally:
                del self._shared.connection

    def _joined(self) -> Connection | None:
        return getattr(self._shared, "connection", None)

    def close(self) -> None:
        """Closes all pooled connections."""
        self.engine.dispose()


class FairLock:
    """A lock that is passed on in the order in which it was asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._owner: int | None = None

    def __enter__(self) -> None:
        mine = threading.Lock()
        with self._guard:
            if self._owner == threading.get_ident():
                raise RuntimeError("a write transaction inside a write transaction would wait for itself")
            if self._owner is None:
                self._owner = threading.get_ident()
                return
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._owner = -1 if self._waiting else None  # -1: held by the one who is just waking up
            if self._waiting:
                self._waiting.popleft().release()


def insert_row(connection: Connection, table: Table, **values: object) -> int:
    """Inserts one row; returns the id that it got."""
    key = connection.execute(insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return key[0]


def new_ids(connection: Connection, table: Table, count: int) -> Sequence[int]:
    """Ids for rows that the transaction is about to insert, ascending; nobody else gets them."""
    if connection.dialect.name == "sqlite":  # under the write lock: nobody else inserts
        first = connection.execute(select(func.coalesce(func.max(table.c.id), 0) + 1)).scalar_one()
        return range(first, first + count)
    query = text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :count)")
    return connection.execute(query, {"table": table.name, "count": count}).scalars().all()


def bulk_insert(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> None:
    """Inserts rows of driver values (JSON as text) in the order of the columns, several times faster than `insert`."""
    if not rows:
        return
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", list(rows))
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def bulk_execute(connection: Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Runs a statement for each row of driver values, which take the places of its question marks."""
    if rows:
        marked = statement if connection.dialect.name == "sqlite" else statement.replace("?", "%s")
        connection.exec_driver_sql(marked, list(rows))


def read_pairs(connection: Connection, query: Select) -> dict[Any, Any]:
    """The rows of a query of two columns, the second by the first."""
    return {row[0]: row[1] for row in connection.execute(query)}


def failure(error: BaseException) -> str:
    """The driver's reason on one line if the database failed: gone, locked, full, damaged; empty for other errors.

    Nothing of what was to be stored is in it.
    """
    if isinstance(error, TimeoutError):  # no connection became free
        return str(error).partition(" (Background")[0]
    if not isinstance(error, DBAPIError | sqlite3.DatabaseError):
        return ""
    lines = str(getattr(error, "orig", error)).splitlines() or [type(error).__name__]
    return lines[0]


def _create_engine(url: str) -> Engine:
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed, pool_size=20, max_overflow=40, pool_pre_ping=True, **_QUIET)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, pool_size=10, max_overflow=30, connect_args={"timeout": 30}, **_QUIET)

    @event.listens_for(engine, "connect")
    def _configure(connection, _record) -> None:  # noqa: ANN001 (driver types)
        connection.isolation_level = None  # we send BEGIN ourselves
        for pragma in ("busy_timeout=30000", "foreign_keys=ON", "synchronous=FULL", "cache_size=-20000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
