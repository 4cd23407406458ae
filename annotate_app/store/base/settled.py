"""Up to which number all judgments are stored: what a reader of them in order may take without passing any over.

A row with a smaller number may appear behind a larger one: rows of an import that is under way are not shown yet, and
on PostgreSQL transactions end in another order than they took their numbers.
"""

from __future__ import annotations

import threading
import time
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, func, select, text

from annotate_app.store.base.database import Database
from annotate_app.store.base.pending import take_back_stale
from annotate_app.store.schema import tables

WAIT_S, PAUSE_S = 0.5, 0.005
"""How long a reader waits for transactions that began before it, and how often it looks."""
_PENDING = select(tables.pending_import.c.id)
# Whoever appends judgments holds this lock before the first of them takes its number.
_WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE relation = 'judgment'::regclass AND granted "
    "AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()"
)
_NEWEST = select(func.coalesce(func.max(tables.judgment.c.id), 0))


def settled_until(database: Database, after: int) -> int:
    """The largest number up to which no judgment will still appear; it never falls behind what it was.

    Args:
        database: where they are.
        after: what the reader has already; imports under way are looked for behind it.
    """
    take_back_stale(database)
    newest = _settled_numbers(database)
    coming = tables.judgment.c
    with database.read() as connection:
        if connection.execute(_PENDING.limit(1)).first() is None:
            return newest
        hidden = select(func.min(coming.id)).where(coming.id > after, coming.import_id.in_(_PENDING))
        first = connection.execute(hidden).scalar()
    return newest if first is None else min(newest, first - 1)


def _settled_numbers(database: Database) -> int:
    """The newest number at which all earlier ones are stored or never will be."""
    with database.read() as connection:
        newest = connection.execute(_NEWEST).scalar_one()
    if database.is_sqlite:  # one writer at a time: numbers come in the order of the transactions
        return newest
    with database.read() as connection:
        waiting = _writers(connection)
    deadline = time.monotonic() + WAIT_S
    while waiting and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
        with database.read() as connection:
            waiting &= _writers(connection)
    with _guard:
        known = _known.get(database, 0)
        if not waiting:
            _known[database] = known = max(known, newest)
    return known


_known: WeakKeyDictionary[Database, int] = WeakKeyDictionary()
"""By database, up to which number all was settled when it was last seen: the answer while a long transaction writes."""
_guard = threading.Lock()


def _writers(connection: Connection) -> set[str]:
    return set(connection.execute(_WRITERS).scalars())
