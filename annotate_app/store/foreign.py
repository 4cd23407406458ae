"""Judgments made elsewhere: matched to comparisons and people, each counted once however often it comes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from annotate_app.store import tables
from annotate_app.store.accounts import insert_user
from annotate_app.store.answers import plain_criteria
from annotate_app.store.comparisons import keys_to_ids
from annotate_app.store.database import read_pairs
from annotate_app.store.rights import checked_content, checked_text
from annotate_app.store.slots import JUDGED, OPEN
from rewardkit.data import Judgment, content_id

Pair = tuple[int, int]  # database ids of a comparison and of a user


def import_batch(connection: Connection, project_id: int, batch: Sequence[Judgment]) -> int:
    """Appends what is new; returns the number of rows appended.

    Not new is a judgment that was imported before, or whose annotator has judged the comparison in this project
    already: what people did here stands. Another answer by the same imported annotator supersedes the earlier one.

    Raises:
        ValueError: if a comparison is not in the project, or a text cannot be stored.
    """
    comparison_ids = keys_to_ids(connection, project_id, {judgment.comparison_id for judgment in batch})
    user_ids = _user_ids(connection, {judgment.annotator for judgment in batch})
    standing = _standing(connection, comparison_ids.values(), user_ids.values())
    rows: dict[str, dict[str, object]] = {_event_id(project_id, each): {} for each in batch}
    column = tables.judgment.c.event_id
    known = set(connection.execute(select(column).where(column.in_(rows))).scalars())
    superseded: list[int] = []
    newest: dict[Pair, dict[str, object]] = {}
    for judgment in batch:
        if judgment.comparison_id not in comparison_ids:
            raise ValueError(f"there is no comparison {judgment.comparison_id!r} in the project")
        event_id = _event_id(project_id, judgment)
        if event_id in known:
            continue
        known.add(event_id)
        pair = (comparison_ids[judgment.comparison_id], user_ids[judgment.annotator])
        row = judgment_row(project_id, pair, event_id, judgment)
        before = standing.get(pair)
        if before is not None and (before.kind != "import" or before.answer == _answer(row)):
            continue
        if before is not None:
            superseded.append(before.judgment_id)
            row["slot_id"] = before.slot_id
            del standing[pair]
        if pair in newest:
            newest[pair]["newest"] = False
            row["slot_id"] = newest[pair]["slot_id"]
        rows[event_id] = newest[pair] = row
    return _append(connection, project_id, [row for row in rows.values() if row], superseded)


@dataclass(frozen=True, slots=True)
class _Standing:
    """The judgment that counts now for a pair."""

    judgment_id: int
    slot_id: int | None
    kind: str
    answer: tuple[object, ...]


def _standing(connection: Connection, comparison_ids: Iterable[int], user_ids: Iterable[int]) -> dict[Pair, _Standing]:
    columns = tables.judgment.c
    query = select(tables.judgment).where(
        columns.comparison_id.in_(list(comparison_ids)),
        columns.user_id.in_(list(user_ids)),
        columns.newest,
        columns.choice != "withdrawn",
        columns.kind != "repeat",
    )
    return {
        (row["comparison_id"], row["user_id"]): _Standing(row["id"], row["slot_id"], row["kind"], _answer(dict(row)))
        for row in connection.execute(query).mappings()
    }


def _answer(row: Mapping[Any, Any]) -> tuple[object, ...]:
    return tuple(row[name] for name in ("choice", "strength", "criteria", "flags", "rationale", "reason"))


def _user_ids(connection: Connection, names: set[str]) -> dict[str, int]:
    columns = tables.user.c
    found = read_pairs(connection, select(columns.name, columns.id).where(columns.name.in_(names)))
    for name in sorted(names - found.keys()):
        user = insert_user(connection, name, role="annotator", origin="imported")
        found[name] = user.id
    return found


def _event_id(project_id: int, judgment: Judgment) -> str:
    parts = (
        judgment.comparison_id,
        judgment.annotator,
        judgment.choice,
        judgment.strength,
        plain_criteria(judgment.criteria),
        {side: list(names) for side, names in judgment.flags.items()},
        judgment.rationale,
        judgment.reason,
        judgment.created_at,
    )
    return f"import-{project_id}-{content_id(*parts)}"


def judgment_row(project_id: int, pair: Pair, event_id: str, judgment: Judgment) -> dict[str, object]:
    """A judgment made elsewhere as a row, still without its slot; raises ValueError for texts that cannot be stored."""
    place = f"judgment of {judgment.comparison_id!r} by {judgment.annotator!r}"
    checked_content(judgment.rationale, f"{place}, rationale")
    checked_text(judgment.reason, f"{place}, reason", 200, empty=True)
    if not 0 <= judgment.seconds < float("inf"):
        raise ValueError(f"{place}: seconds is {judgment.seconds}, allowed is 0 or more")
    return {
        "project_id": project_id,
        "comparison_id": pair[0],
        "user_id": pair[1],
        "slot_id": None,
        "kind": "import",
        "event_id": event_id,
        "choice": judgment.choice,
        "strength": judgment.strength,
        "criteria": plain_criteria(judgment.criteria),
        "flags": {side: list(names) for side, names in judgment.flags.items()},
        "rationale": judgment.rationale,
        "reason": judgment.reason,
        "seconds": judgment.seconds,
        "shown_left": judgment.shown_left,
        "rubric_version": judgment.rubric_version,
        "newest": True,
        "created_at": judgment.created_at or time.time(),
    }


def _append(connection: Connection, project_id: int, rows: list[dict[str, object]], superseded: list[int]) -> int:
    if not rows:
        return 0
    slots = _fill_slots(connection, project_id, [row for row in rows if row["slot_id"] is None])
    for row in rows:
        if row["slot_id"] is None:
            row["slot_id"] = slots[row["comparison_id"], row["user_id"]]  # type: ignore[index]
    connection.execute(update(tables.judgment).where(tables.judgment.c.id.in_(superseded)).values(newest=False))
    connection.execute(insert(tables.judgment), rows)
    return len(rows)


def _fill_slots(connection: Connection, project_id: int, rows: list[dict[str, object]]) -> dict[Pair, int]:
    """Marks a slot judged for each pair: the one its annotator holds, an open one of their group, or an extra one.

    A skip fills no slot that others wait for: it gets an extra one.
    """
    sides: dict[Pair, object] = {(row["comparison_id"], row["user_id"]): row["shown_left"] for row in rows}  # type: ignore[misc]
    slot = tables.slot.c
    users = {user_id for _, user_id in sides}
    query = select(slot.id, slot.comparison_id, slot.user_id, slot.group_name).where(
        slot.comparison_id.in_({comparison_id for comparison_id, _ in sides}),
        slot.kind == "work",
        or_(slot.state == OPEN, slot.user_id.in_(users)),
    )
    held: dict[Pair, int] = {}
    free: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for row in connection.execute(query.order_by(slot.rank, slot.id).with_for_update()):
        if row.user_id is None:
            free[row.comparison_id].append((row.group_name, row.id))
        else:
            held[row.comparison_id, row.user_id] = row.id
    groups = _groups(connection, project_id, users)
    filled: dict[Pair, int] = {}
    skipped = {(row["comparison_id"], row["user_id"]) for row in rows if row["newest"] and row["choice"] == "skip"}
    for comparison_id, user_id in sides:
        if (comparison_id, user_id) in skipped:
            continue
        found = held.get((comparison_id, user_id))
        if found is None:
            fitting = [each for each in free[comparison_id] if each[0] in ("", groups.get(user_id, ""))]
            if not fitting:
                continue
            free[comparison_id].remove(fitting[0])
            found = fitting[0][1]
        filled[comparison_id, user_id] = found
    taken = [{"of_slot": slot_id, "by_user": pair[1], "side": sides[pair]} for pair, slot_id in filled.items()]
    if taken:
        change = update(tables.slot).where(slot.id == bindparam("of_slot"))
        values = {"state": JUDGED, "token": None, "leased_at": None, "leased_until": None}
        values |= {"user_id": bindparam("by_user"), "shown_left": bindparam("side")}
        connection.execute(change.values(**values), taken)
    return filled | _extra_slots(connection, project_id, [pair for pair in sides if pair not in filled], sides)


def _groups(connection: Connection, project_id: int, users: set[int]) -> dict[int, str]:
    columns = tables.membership.c
    query = select(columns.user_id, columns.group_name).where(
        columns.project_id == project_id, columns.user_id.in_(users)
    )
    return read_pairs(connection, query)


def _extra_slots(
    connection: Connection, project_id: int, pairs: list[Pair], sides: Mapping[Pair, object]
) -> dict[Pair, int]:
    """Judged slots of kind import, for judgments beyond what the design asks for."""
    if not pairs:
        return {}
    common = {"project_id": project_id, "kind": "import", "group_name": "", "state": JUDGED, "rank": 0.0}
    rows = [common | {"comparison_id": pair[0], "user_id": pair[1], "shown_left": sides[pair]} for pair in pairs]
    connection.execute(insert(tables.slot), rows)
    slot = tables.slot.c
    query = select(slot.comparison_id, slot.user_id, slot.id).where(
        slot.comparison_id.in_({pair[0] for pair in pairs}), slot.kind == "import"
    )
    return {(row.comparison_id, row.user_id): row.id for row in connection.execute(query) if row.user_id is not None}
