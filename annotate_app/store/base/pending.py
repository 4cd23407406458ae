"""Imports in parts: many short transactions, of which nobody sees anything before the last one.

On SQLite one transaction of a large import would keep everybody who writes waiting for seconds. So an import that is
under way has a row in `pending_import`, and what it has written carries the row's id: readers pass over it. Its end
takes that row away, which shows everything at once. What ended otherwise is taken back: at once where the import
failed, by whoever opens the database or imports next where its process was killed. On PostgreSQL nobody waits for a
long transaction, so an import is one.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Connection, and_, case, delete, exists, insert, or_, select, update

from annotate_app.access import Actor
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database
from annotate_app.store.base.slots import JUDGED, OPEN, drop_slots, give_back
from annotate_app.store.schema import tables

logger = logging.getLogger(__name__)

STALE_S = 120.0  # an import that has not written for so long has ended; a part waits for the lock 30 s at most
PAUSE_S = 0.05  # between two parts, so that those who wait for the lock, and poll for it, get it
WAIT_S = 0.2
IMPORTED_AT_ONCE = 500  # rows of an import, some of which are several of a table, written by one transaction
PART = 200  # rows taken back by one transaction

_import = tables.pending_import.c
_running = select(_import.id)
_slot, _judgment, _comparison = tables.slot.c, tables.judgment.c, tables.comparison.c

JUDGMENT_SHOWN: ColumnElement[bool] = or_(_judgment.import_id.is_(None), _judgment.import_id.not_in(_running))
COMPARISON_SHOWN: ColumnElement[bool] = or_(_comparison.import_id.is_(None), _comparison.import_id.not_in(_running))
COMPARISON_COUNTED: ColumnElement[bool] = and_(COMPARISON_SHOWN, ~_comparison.excluded)
"""Whether a comparison is shown, and not excluded from every figure."""
_coming = tables.judgment.alias("coming")
_standing = tables.judgment.alias("standing")
# The first part is looked at once a query: nearly always no import is under way.
SLOT_WAITS: ColumnElement[bool] = and_(
    exists(_running),
    exists(select(_coming.c.id).where(_coming.c.slot_id == _slot.id, _coming.c.import_id.in_(_running))),
    ~exists(
        select(_standing.c.id).where(
            _standing.c.slot_id == _slot.id,
            _standing.c.newest,
            or_(_standing.c.import_id.is_(None), _standing.c.import_id.not_in(_running)),
        )
    ),
)
"""Whether a slot is filled by a judgment that is not shown yet."""
SLOT_STATE: ColumnElement[int] = case((and_(_slot.state == JUDGED, SLOT_WAITS), OPEN), else_=_slot.state)
_hidden = tables.comparison.alias("hidden")
_of_hidden = exists(
    select(_hidden.c.id)
    .join(tables.pending_import, _import.id == _hidden.c.import_id)
    .where(_hidden.c.id == _slot.comparison_id)
)
SLOT_SHOWN: ColumnElement[bool] = ~_of_hidden
"""Whether a slot is of a comparison that is shown; two steps down indexes, for queries of few slots."""
SLOT_SHOWN_OF_MANY: ColumnElement[bool] = ~and_(exists(_running), _of_hidden)
"""The same, for queries that go through all slots of a project."""


class PartedImport:
    """An import under way."""

    def __init__(self, database: Database, import_id: int) -> None:
        self.id = import_id
        self._database = database

    @contextmanager
    def part(self, *, last: bool = False) -> Iterator[Connection]:
        """One of its transactions, after which others get their turn; the last one shows everything.

        Raises:
            ValueError: if the import was taken for dead meanwhile.
        """
        mine = _import.id == self.id
        with self._database.write() as connection:
            began = time.monotonic()
            beat = update(tables.pending_import).where(mine).values(heartbeat_at=time.time())
            if not connection.execute(beat).rowcount:
                raise ValueError("the import stood still for so long that it was taken back; start it again")
            yield connection
            if last:
                connection.execute(delete(tables.pending_import).where(mine))
        if not last:
            time.sleep(max(PAUSE_S, time.monotonic() - began))


@contextmanager
def import_in_parts(database: Database, project_id: int) -> Iterator[PartedImport]:
    """An import into a project, of which nothing remains where the block raises."""
    with write_alone(database, project_id) as connection:
        now, import_id = time.time(), secrets.randbits(62)  # never the id of an earlier one, as a counted one may be
        row = {"id": import_id, "project_id": project_id, "started_at": now, "heartbeat_at": now}
        connection.execute(insert(tables.pending_import).values(row))
    try:
        yield PartedImport(database, import_id)
    except BaseException:
        take_back(database, import_id)
        raise


@contextmanager
def write_alone(database: Database, project_id: int) -> Iterator[Connection]:
    """A write transaction while no import into the project is under way; waits for the end of one that is.

    Raises:
        ValueError: if one is, and the caller has a transaction of its own, for the end of which that one waits.
    """
    told = False
    while True:
        take_back_stale(database)
        with database.write() as connection:
            busy = select(_import.id).where(_import.project_id == project_id)
            if connection.execute(busy).first() is None:
                yield connection
                return
            if database.is_joined:
                raise ValueError("another import into the project is under way; try again when it has ended")
        if not told:
            told = True
            logger.warning(
                "waiting: an import into the project is under way, or was cut off less than %.0f s ago", STALE_S
            )
        time.sleep(WAIT_S)


def take_back_stale(database: Database) -> None:
    """Takes back what imports have left whose process has ended."""
    if database.is_joined:
        return
    with database.read() as connection:
        stale = connection.execute(_running.where(_import.heartbeat_at < time.time() - STALE_S)).scalars().all()
    for import_id in stale:
        take_back(database, import_id)


def take_back(database: Database, import_id: int) -> None:
    """Deletes what an import has written, in parts, and gives back the slots that it has taken.

    Texts stay: nothing lists them without a comparison, and the import finds them when it comes again.
    """
    for taken_back in (_take_back_judgments, _take_back_comparisons):
        more = True
        while more:
            with database.write() as connection:
                more = taken_back(connection, import_id)
            time.sleep(PAUSE_S if more else 0)
    with database.write() as connection:
        _drop_accounts(connection, import_id)
        ended = delete(tables.pending_import).where(_import.id == import_id).returning(_import.project_id)
        project_id = connection.execute(ended).scalar()
        if project_id is not None:
            # Also because SQLite uses the ids of deleted rows again, and `Browsing.stamp` tells states apart by them.
            audit.record(connection, Actor.command_line(), "import taken back", project_id=project_id)


def _of_project(import_id: int) -> ColumnElement[int]:
    return select(_import.project_id).where(_import.id == import_id).scalar_subquery()


def _take_back_judgments(connection: Connection, import_id: int) -> bool:
    query = select(_judgment.id, _judgment.slot_id, _judgment.comparison_id, _judgment.project_id).where(
        _judgment.project_id == _of_project(import_id), _judgment.import_id == import_id
    )
    rows = connection.execute(query.limit(PART)).all()
    if not rows:
        return False
    connection.execute(delete(tables.judgment).where(_judgment.id.in_([row.id for row in rows])))
    filled = {row.slot_id for row in rows if row.slot_id is not None}
    still = set(connection.scalars(select(_judgment.slot_id).where(_judgment.slot_id.in_(filled), _judgment.newest)))
    reopen(connection, rows[0].project_id, sorted(filled - still))
    return True


def reopen(connection: Connection, project_id: int, slot_ids: Sequence[int]) -> None:
    """Gives back slots of work; those that an import made for itself go."""
    query = select(_slot.id, _slot.comparison_id, _slot.kind).where(_slot.id.in_(slot_ids))
    rows = connection.execute(query).all()
    drop_slots(connection, [row.id for row in rows if row.kind != "work"])
    work = [(row.id, row.comparison_id) for row in rows if row.kind == "work"]
    if work:
        give_back(connection, project_id, work)


def _take_back_comparisons(connection: Connection, import_id: int) -> bool:
    query = select(_comparison.id).where(
        _comparison.project_id == _of_project(import_id), _comparison.import_id == import_id
    )
    ids = connection.execute(query.limit(PART)).scalars().all()
    connection.execute(delete(tables.slot).where(_slot.comparison_id.in_(ids)))
    connection.execute(delete(tables.comparison).where(_comparison.id.in_(ids)))
    return bool(ids)


def _drop_accounts(connection: Connection, import_id: int) -> None:
    """Deletes the accounts that were made for an import's annotators, and are nobody's now."""
    account, member = tables.user.c, tables.membership.c
    since = select(_import.started_at).where(_import.id == import_id).scalar_subquery()
    used = [
        exists(select(_judgment.id).where(_judgment.user_id == account.id)),
        exists(select(_slot.id).where(_slot.user_id == account.id)),
        exists(select(member.user_id).where(member.user_id == account.id)),
    ]
    unused = and_(account.origin == "imported", account.created_at >= since, *(~each for each in used))
    connection.execute(delete(tables.user).where(unused))
