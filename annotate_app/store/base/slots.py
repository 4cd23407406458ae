"""Slots, one row per wanted judgment: how many of them there are, and in which order they are handed out.

Strict overlap is a property of these rows: nobody can judge more often than there are slots. Handing out is `work`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql

from annotate_app.protocol.assignment import slot_rank
from annotate_app.protocol.collection_design import Design
from annotate_app.store.schema.tables import (
    OPEN_WORK,
    QUEUE_START,
    comparison,
    judgment,
    membership,
    place,
    project,
    slot,
)

OPEN, LEASED, JUDGED = 0, 1, 2
BATCH = 1000
Item = TypeVar("Item")


def batches(values: Sequence[Item], size: int = BATCH) -> Iterator[Sequence[Item]]:
    """Consecutive parts of a sequence."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def wanted_groups(design: Design, overlap: int | None) -> Mapping[str, int]:
    """Judgments wanted of one comparison by annotator group; the group "" is anybody."""
    return design.groups or {"": overlap or design.overlap}


def slot_places(
    comparison_id: int, wanted: Mapping[str, int], design: Design, priority: float
) -> list[tuple[str, float]]:
    """Group and rank of each open work slot of a new comparison."""
    if design.policy == "fewest":  # the only one by which the slots of a comparison lie apart
        return [
            (group, slot_rank(design.policy, design.seed, comparison_id, priority, before))
            for group, count in wanted.items()
            for before in range(count)
        ]
    rank = slot_rank(design.policy, design.seed, comparison_id, priority, 0)
    return [(group, rank) for group, count in wanted.items() for _ in range(count)]


def slot_rows(
    project_id: int, comparison_id: int, wanted: Mapping[str, int], design: Design, priority: float
) -> list[dict[str, object]]:
    """Open work slots of one new comparison, as rows to insert."""
    return [
        {
            "project_id": project_id,
            "comparison_id": comparison_id,
            "kind": "work",
            "group_name": group,
            "state": OPEN,
            "rank": rank,
        }
        for group, rank in slot_places(comparison_id, wanted, design, priority)
    ]


def remake_slots(
    connection: Connection, project_id: int, design: Design, comparison_ids: Sequence[int] | None = None
) -> None:
    """Makes the open work slots of a project what its design asks for, never taking back a lease or a judgment.

    Args:
        comparison_ids: only these comparisons, all of the project when None.
    """
    hold_places(connection, project_id)
    open_slots = select(slot.c.id).where(slot.c.project_id == project_id, slot.c.state == OPEN)
    if comparison_ids is not None:
        open_slots = open_slots.where(slot.c.comparison_id.in_(comparison_ids))
    # Locked first, so that no slot counted as open here is leased before the surplus is gone (PostgreSQL).
    connection.execute(open_slots.with_for_update()).all()
    surplus: list[int] = []
    missing: list[dict[str, object]] = []
    members = member_groups(connection, project_id)
    for row, slots in _slots_by_comparison(connection, project_id, comparison_ids):
        too_many, too_few = _weigh(row, slots, design, members)
        surplus.extend(too_many)
        missing.extend(slot_rows(project_id, row.id, too_few, design, row.priority))
    drop_slots(connection, surplus)
    for rows in batches(missing):
        connection.execute(insert(slot), list(rows))
    _rank_slots(connection, project_id, design, comparison_ids)


def rank_slots(
    connection: Connection, project_id: int, design: Design, comparison_ids: Sequence[int] | None = None
) -> None:
    """Puts the open work slots into the order of the design's policy."""
    hold_places(connection, project_id)
    _rank_slots(connection, project_id, design, comparison_ids)


def _rank_slots(connection: Connection, project_id: int, design: Design, comparison_ids: Sequence[int] | None) -> None:
    ranks: list[dict[str, object]] = []
    for row, slots in _slots_by_comparison(connection, project_id, comparison_ids):
        before: Counter[str] = Counter(slot_row.group_name for slot_row in slots if slot_row.state != OPEN)
        for slot_row in slots:
            if slot_row.state != OPEN:
                continue
            rank = slot_rank(design.policy, design.seed, row.id, row.priority, before[slot_row.group_name])
            before[slot_row.group_name] += 1
            if rank != slot_row.rank:
                ranks.append({"of_slot": slot_row.slot_id, "new_rank": rank})
    change = update(slot).where(slot.c.id == bindparam("of_slot")).values(rank=bindparam("new_rank"))
    for rows in batches(ranks):
        connection.execute(change, list(rows))
    rewind(connection, project_id)


def drop_slots(connection: Connection, slot_ids: Sequence[int]) -> None:
    """Deletes slots; withdrawn judgments that were made on them stay in the history without one."""
    for ids in batches(slot_ids):
        connection.execute(update(judgment).where(judgment.c.slot_id.in_(ids)).values(slot_id=None))
        connection.execute(delete(slot).where(slot.c.id.in_(ids)))


def release_slots(connection: Connection, project_id: int, user_id: int) -> int:
    """Gives back all pairs that somebody holds in a project; the number of them."""
    held = (slot.c.project_id == project_id, slot.c.user_id == user_id, slot.c.state == LEASED)
    checks = connection.execute(select(slot.c.id).where(*held, slot.c.kind != "work")).scalars().all()
    drop_slots(connection, checks)
    held_work = select(slot.c.id, slot.c.comparison_id).where(*held, slot.c.kind == "work")
    work = [(row.id, row.comparison_id) for row in connection.execute(held_work)]
    if work:
        give_back(connection, project_id, work)
    return len(work) + len(checks)


_DESIGN = select(project.c.design).where(project.c.id == bindparam("of_project"))
_COUNT_RETURNS = text(
    "INSERT INTO slot_return (project_id, num_returns) VALUES (:project_id, :count) ON CONFLICT (project_id) "
    "DO UPDATE SET num_returns = slot_return.num_returns + :count RETURNING num_returns"
)
_OPEN_AGAIN = (
    update(slot)
    .where(slot.c.id == bindparam("slot_id"))
    .values(state=OPEN, user_id=None, leased_at=None, leased_until=None)
)
_NUMBER_RETURN = (
    update(slot).where(slot.c.id == bindparam("slot_id"), text(OPEN_WORK)).values(returned=bindparam("number"))
)


def give_back(connection: Connection, project_id: int, slots: Sequence[tuple[int, int]]) -> int:
    """Opens leased or judged work slots for everybody who may take them.

    Token and side stay: an answer that comes late is welcome as long as nobody else has taken the slot.

    Args:
        slots: (slot id, comparison id), at least one.

    Returns:
        The project's `num_returns` after it.
    """
    connection.execute(_OPEN_AGAIN, [{"slot_id": slot_id} for slot_id, _ in slots])
    comparison_ids = sorted({comparison_id for _, comparison_id in slots})
    _settle(connection, project_id, comparison_ids)
    query = select(slot.c.id).where(slot.c.comparison_id.in_(comparison_ids), text(OPEN_WORK)).order_by(slot.c.id)
    slot_ids = connection.execute(query).scalars().all()
    count = {"project_id": project_id, "count": len(slot_ids)}
    last = connection.execute(_COUNT_RETURNS, count).scalar_one()
    first = last - len(slot_ids) + 1
    numbers = [{"slot_id": slot_id, "number": first + index} for index, slot_id in enumerate(slot_ids)]
    if numbers:
        connection.execute(_NUMBER_RETURN, numbers)
    return last


def _settle(connection: Connection, project_id: int, comparison_ids: Sequence[int]) -> None:
    """Adjusts slots that were just given back to a design that has changed since.

    A slot that is not wanted any more goes to a group that misses one, else it is dropped. It moves to no other place
    in the queue, so nobody has to look through it again.
    """
    design = Design.from_dict(connection.execute(_DESIGN, {"of_project": project_id}).scalar_one())
    surplus: list[int] = []
    members: Mapping[int, str] = {}
    for row, slots in _slots_by_comparison(connection, project_id, comparison_ids):
        if not members and any(slot_row.group_name.startswith(RESERVED) for slot_row in slots):
            members = member_groups(connection, project_id)
        too_many, too_few = _weigh(row, slots, design, members)
        groups = [group for group, count in too_few.items() for _ in range(count)]
        for slot_id, group in zip(too_many, groups, strict=False):
            connection.execute(update(slot).where(slot.c.id == slot_id).values(group_name=group))
        surplus.extend(too_many[len(groups) :])
    drop_slots(connection, surplus)


def _weigh(
    row: Row, slots: Sequence[Row], design: Design, groups: Mapping[int, str]
) -> tuple[list[int], dict[str, int]]:
    """Splits open slots of a comparison: ids the design no longer needs, and missing slots by group.

    A slot that is reserved for somebody is one of their group's, and stays rather than one that is not.
    """
    of_group = {slot_row.slot_id: base_group(slot_row.group_name, design, groups) for slot_row in slots}
    taken = [of_group[slot_row.slot_id] for slot_row in slots if slot_row.state != OPEN]
    missing = {} if row.gold or row.excluded else dict(wanted_groups(design, row.overlap))
    for group, count in missing.items():
        missing[group] = max(0, count - (taken.count(group) if group else len(taken)))
    surplus: list[int] = []
    for slot_row in sorted(slots, key=lambda slot_row: not slot_row.group_name.startswith(RESERVED)):
        group = of_group[slot_row.slot_id]
        if slot_row.state == OPEN and missing.get(group, 0) > 0:
            missing[group] -= 1
        elif slot_row.state == OPEN:
            surplus.append(slot_row.slot_id)
    return sorted(surplus), missing


RESERVED = "@"  # before the id of the person for whom a slot is kept, in the place of a group


def reserved_for(user_id: int) -> str:
    """The group of slots that only this person may take."""
    return f"{RESERVED}{user_id}"


def base_group(group: str, design: Design, groups: Mapping[int, str]) -> str:
    """The group of the design that a slot counts for; a reserved one for that of its person.

    Args:
        group: of the slot.
        design: the project's.
        groups: of the members, by user id.
    """
    if not group.startswith(RESERVED):
        return group
    of_person = groups.get(int(group.removeprefix(RESERVED)), "")
    return of_person if of_person in design.groups else ""


def member_groups(connection: Connection, project_id: int) -> dict[int, str]:
    """The group of each member of a project, by user id."""
    query = select(membership.c.user_id, membership.c.group_name).where(membership.c.project_id == project_id)
    return {user_id: group for user_id, group in connection.execute(query)}


def hold_places(connection: Connection, project_id: int) -> None:
    """Locks the places of all members, in their order: nobody is handed a pair until the transaction ends.

    Whoever works holds their own place first, and rows of slots and their membership then. So a transaction that
    changes rows of slots that were there before calls this before it does; in one order nobody waits in a circle.
    Members who have not begun get their place here, so that it is held too.
    """
    if connection.dialect.name == "sqlite":  # under the write lock
        return
    members = select(membership.c.project_id, membership.c.user_id).where(membership.c.project_id == project_id)
    missing = insert_postgresql(place).from_select(["project_id", "user_id"], members.order_by(membership.c.user_id))
    connection.execute(missing.on_conflict_do_nothing())
    whose = select(place.c.user_id).where(place.c.project_id == project_id).order_by(place.c.user_id)
    connection.execute(whose.with_for_update()).all()


def rewind(connection: Connection, project_id: int) -> None:
    """Resets the queue cursors of all members: new slots or a new order must be seen from the start.

    To be the last statement of a transaction that changes slots: on PostgreSQL it waits for picks in progress, and
    picks wait for it. New rows of slots need no `hold_places`, as nobody can wait for what they do not see.
    """
    connection.execute(
        update(place).where(place.c.project_id == project_id).values(cursor_rank=QUEUE_START, cursor_slot=0)
    )


def _slots_by_comparison(
    connection: Connection, project_id: int, comparison_ids: Sequence[int] | None
) -> Iterator[tuple[Row, list[Row]]]:
    """Each comparison (id, overlap, priority, gold, excluded) with its work slots (id, group, state, rank)."""
    query = (
        select(
            comparison.c.id,
            comparison.c.overlap,
            comparison.c.priority,
            comparison.c.gold,
            comparison.c.excluded,
            slot.c.id.label("slot_id"),
            slot.c.group_name,
            slot.c.state,
            slot.c.rank,
        )
        .outerjoin(slot, (slot.c.comparison_id == comparison.c.id) & (slot.c.kind == "work"))
        .where(comparison.c.project_id == project_id)
        .order_by(comparison.c.id, slot.c.id)
    )
    if comparison_ids is not None:
        query = query.where(comparison.c.id.in_(comparison_ids))
    for _, group in groupby(connection.execute(query).all(), key=lambda row: row.id):
        rows = list(group)
        yield rows[0], [row for row in rows if row.slot_id is not None]


def free_slots(connection: Connection, project_id: int, slot_ids: Sequence[int]) -> int:
    """Takes reservations from slots: they are anybody's of their group again; returns how many were reserved.

    Open ones may lie behind somebody's cursor then, so that the caller gives them back or rewinds.
    """
    query = select(slot.c.id, slot.c.group_name).where(slot.c.id.in_(slot_ids), slot.c.group_name.startswith(RESERVED))
    rows = connection.execute(query.with_for_update()).all()
    if rows:
        design = Design.from_dict(connection.execute(_DESIGN, {"of_project": project_id}).scalar_one())
        members = member_groups(connection, project_id)
        change = update(slot).where(slot.c.id == bindparam("of_slot")).values(group_name=bindparam("new_group"))
        values = [{"of_slot": row.id, "new_group": base_group(row.group_name, design, members)} for row in rows]
        connection.execute(change, values)
    return len(rows)


def free_reserved(connection: Connection, project_id: int, user_id: int) -> int:
    """Frees all that is reserved for a person who leaves the project or changes groups; how many slots it was."""
    hold_places(connection, project_id)
    query = select(slot.c.id).where(slot.c.project_id == project_id, slot.c.group_name == reserved_for(user_id))
    freed = 0
    for slot_ids in batches(connection.execute(query).scalars().all()):
        freed += free_slots(connection, project_id, slot_ids)
    if freed:
        rewind(connection, project_id)
    return freed
