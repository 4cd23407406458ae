"""The queue: picking the next open slot, and giving slots back.

Strict overlap needs one thing, that a pick and its lease are one transaction. Speed needs another: most open slots at
the front of a queue belong to comparisons that this person has judged already, and looking through them at every pick
takes the longer the more they have done. So each person has a `Place` with two cursors, and this always holds:

    every open slot that a person may take has (rank, id) after the queue cursor, or `returned` above the return cursor.

Slots that are reserved for a person come first for them and are looked for by themselves: no cursor passes over them.

A pick moves the cursors over what the person cannot take, so it looks at each slot once. Three things could break the
rule, and each keeps it: a slot that is given back gets a new `returned` number, as do the open slots beside it (who
held it may take those again); new slots and new orders `rewind` everybody; and who changes groups starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, bindparam, exists, select, text, tuple_

from annotate_app.store.base.pending import SLOT_SHOWN
from annotate_app.store.base.slots import give_back, reserved_for
from annotate_app.store.schema.tables import LEASED_WORK, OPEN_WORK, QUEUE_START, slot

QUEUE_END = -QUEUE_START
SWEEP = 50  # expired leases taken back by one transaction
RETURNS_READ = 100


@dataclass(kw_only=True)
class Place:
    """How far somebody is in a project's queue; see the table of that name. `num_returns` is the project's."""

    project_id: int
    user_id: int
    group: str
    num_returns: int
    num_leased: int = 0
    num_judged: int = 0
    cursor_rank: float = QUEUE_START
    cursor_slot: int = 0
    cursor_returned: int = 0

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups whose slots this person may take."""
        return ("", self.group) if self.group else ("",)


_other = slot.alias("other")
_touched = exists(
    select(_other.c.id).where(_other.c.comparison_id == slot.c.comparison_id, _other.c.user_id == bindparam("user_id"))
)
_NEXT_OPEN = (
    select(slot.c.id, slot.c.comparison_id, slot.c.rank)
    .where(
        slot.c.project_id == bindparam("project_id"),
        text(OPEN_WORK),
        slot.c.group_name == bindparam("group_name"),
        tuple_(slot.c.rank, slot.c.id) > tuple_(bindparam("cursor_rank"), bindparam("cursor_slot")),
        ~_touched,
        SLOT_SHOWN,
    )
    .order_by(slot.c.rank, slot.c.id)
    .limit(1)
)
_NEXT_OPEN_LOCKED = _NEXT_OPEN.with_for_update(of=slot, skip_locked=True)
_START = (QUEUE_START, 0)
_NEXT_RETURNED = (
    select(slot.c.id, slot.c.comparison_id, slot.c.rank, slot.c.returned, slot.c.group_name, _touched.label("touched"))
    .where(
        slot.c.project_id == bindparam("project_id"),
        text(OPEN_WORK),
        slot.c.returned.is_not(None),
        slot.c.returned > bindparam("cursor_returned"),
        SLOT_SHOWN,
    )
    .order_by(slot.c.returned)
    .limit(RETURNS_READ)
)
# SQLAlchemy leaves FOR UPDATE out on SQLite, where the transaction holds the only write lock there is.
_LOCK_OPEN = (
    select(slot.c.id).where(slot.c.id == bindparam("slot_id"), text(OPEN_WORK)).with_for_update(skip_locked=True)
)
_EXPIRED = (
    select(slot.c.id, slot.c.comparison_id)
    .where(
        slot.c.project_id == bindparam("project_id"),
        text(LEASED_WORK),
        slot.c.leased_until < bindparam("now"),
        slot.c.user_id != bindparam("user_id"),
    )
    .limit(SWEEP)
    .with_for_update(skip_locked=True)
)


def next_work_slot(connection: Connection, who: Place) -> tuple[int, int] | None:
    """The (slot id, comparison id) that the queue has next for somebody, to be leased by the caller; moves the cursors.

    On PostgreSQL its row is locked; what others have locked is passed over, but no cursor moves past it.
    """
    return _next_reserved(connection, who) or _next_returned(connection, who) or _next_in_order(connection, who)


def has_next(connection: Connection, who: Place) -> bool:
    """Whether the queue holds a slot for a member; changes nothing."""
    for row in _returned(connection, who):
        if not row.touched and row.group_name in who.groups:
            return True
    own = reserved_for(who.user_id)
    return any(_first(connection, who, group) is not None for group in who.groups) or (
        _first(connection, who, own, after=_START) is not None
    )


def take_back_expired(connection: Connection, who: Place, now: float) -> int:
    """Gives back leases of other people that have run out; returns how many."""
    expired = connection.execute(_EXPIRED, {"project_id": who.project_id, "user_id": who.user_id, "now": now}).all()
    if expired:
        who.num_returns = give_back(connection, who.project_id, [(row.id, row.comparison_id) for row in expired])
    return len(expired)


def _returned(connection: Connection, who: Place) -> Sequence[Row]:
    if who.num_returns <= who.cursor_returned:
        return ()
    values = {"project_id": who.project_id, "user_id": who.user_id, "cursor_returned": who.cursor_returned}
    return connection.execute(_NEXT_RETURNED, values).all()


def _next_reserved(connection: Connection, who: Place) -> tuple[int, int] | None:
    """The first slot that is kept for this person."""
    row = _first(connection, who, reserved_for(who.user_id), after=_START, lock=True)
    return None if row is None else (row.id, row.comparison_id)


def _next_returned(connection: Connection, who: Place) -> tuple[int, int] | None:
    """The first slot given back that lies before the queue cursor; what lies after it comes in its order."""
    while rows := _returned(connection, who):
        for row in rows:
            behind = (row.rank, row.id) <= (who.cursor_rank, who.cursor_slot)
            if behind and not row.touched and row.group_name in who.groups:
                if connection.execute(_LOCK_OPEN, {"slot_id": row.id}).first() is not None:
                    return row.id, row.comparison_id
                return None  # being taken at this moment: looked at again next time
            who.cursor_returned = row.returned
    return None


def _next_in_order(connection: Connection, who: Place) -> tuple[int, int] | None:
    heads = [row for group in who.groups if (row := _first(connection, who, group)) is not None]
    if not heads:
        who.cursor_rank, who.cursor_slot = QUEUE_END, 0
        return None
    first = min(heads, key=lambda row: (row.rank, row.id))
    who.cursor_rank, who.cursor_slot = first.rank, first.id - 1
    if connection.dialect.name == "sqlite":
        return first.id, first.comparison_id
    for group in sorted(who.groups, reverse=True):
        row = _first(connection, who, group, lock=True)
        if row is not None:
            return row.id, row.comparison_id
    return None


def _first(
    connection: Connection, who: Place, group: str, *, after: tuple[float, int] | None = None, lock: bool = False
) -> Row | None:
    rank, slot_id = after or (who.cursor_rank, who.cursor_slot)
    values = {
        "project_id": who.project_id,
        "user_id": who.user_id,
        "group_name": group,
        "cursor_rank": rank,
        "cursor_slot": slot_id,
    }
    return connection.execute(_NEXT_OPEN_LOCKED if lock else _NEXT_OPEN, values).first()
