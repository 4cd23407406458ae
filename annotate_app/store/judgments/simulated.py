"""Judgments of simulated annotators, stored as if they had been made here: on work slots, as checks and as repeats."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, insert, select, update

from annotate_app.store.base.answers import directions, plain_criteria, plain_ranking, plain_spans
from annotate_app.store.base.slots import JUDGED, OPEN, batches
from annotate_app.store.judgments.staged import check_texts
from annotate_app.store.projects.comparisons import keys_to_ids
from annotate_app.store.schema import tables
from rewardkit.data.records import Judgment

Kind = Literal["work", "gold", "repeat", "qualification"]


@dataclass(frozen=True, kw_only=True)
class SimulatedAnswer:
    """A judgment and the kind of slot it was given on; one of a kind per annotator and comparison."""

    judgment: Judgment
    kind: Kind = "work"


def insert_simulated(connection: Connection, project_id: int, answers: Sequence[SimulatedAnswer]) -> int:
    """Appends the answers; returns their number. Work takes open slots, checks and repeats get slots of their own.

    A skip takes no slot: as for people, the pair stays open for others.

    Raises:
        ValueError: if the project does not say that it is simulated, a comparison is not in it, an annotator is not a
            simulated member of it, or a comparison has fewer open slots than work answers.
    """
    columns = tables.project.c
    if not connection.execute(select(columns.simulated).where(columns.id == project_id)).scalar():
        raise ValueError(f"project {project_id} is not marked as simulated, so it takes no simulated judgments")
    user_ids = _simulated_members(connection, project_id)
    comparison_ids = keys_to_ids(connection, project_id, {answer.judgment.comparison_id for answer in answers})
    rows: list[dict[str, object]] = []
    for answer in answers:
        judgment = answer.judgment
        if judgment.comparison_id not in comparison_ids:
            raise ValueError(f"there is no comparison {judgment.comparison_id!r} in the project")
        if judgment.annotator not in user_ids:
            raise ValueError(f"{judgment.annotator!r} is not a simulated member of the project")
        pair = (comparison_ids[judgment.comparison_id], user_ids[judgment.annotator])
        event_id = f"simulated-{project_id}-{pair[0]}-{pair[1]}-{answer.kind}"
        rows.append(_judgment_row(project_id, pair, event_id, judgment) | {"kind": answer.kind})
    _take_open_slots(connection, [row for row in rows if row["kind"] == "work" and row["choice"] != "skip"])
    _make_slots(connection, [row for row in rows if row["kind"] != "work" or row["choice"] == "skip"])
    for part in batches(rows):
        connection.execute(insert(tables.judgment), list(part))
    return len(rows)


def _simulated_members(connection: Connection, project_id: int) -> dict[str, int]:
    account, member = tables.user.c, tables.membership.c
    query = select(account.name, account.id).join(tables.membership, member.user_id == account.id)
    rows = connection.execute(query.where(member.project_id == project_id, account.origin == "simulated"))
    return {row.name: row.id for row in rows}


def _take_open_slots(connection: Connection, rows: list[dict[str, object]]) -> None:
    slot = tables.slot.c
    free: defaultdict[object, list[int]] = defaultdict(list)
    for part in batches(sorted({int(str(row["comparison_id"])) for row in rows})):
        query = select(slot.id, slot.comparison_id).where(
            slot.comparison_id.in_(part), slot.kind == "work", slot.state == OPEN, slot.group_name == ""
        )
        for open_slot in connection.execute(query.order_by(slot.rank.desc(), slot.id.desc()).with_for_update()):
            free[open_slot.comparison_id].append(open_slot.id)
    taken = []
    for row in rows:
        if not free[row["comparison_id"]]:
            raise ValueError(f"comparison {row['comparison_id']} has no open slot left for a simulated answer")
        row["slot_id"] = free[row["comparison_id"]].pop()
        taken.append({"of_slot": row["slot_id"], "by_user": row["user_id"], "side": row["shown_left"]})
    change = (
        update(tables.slot)
        .where(slot.id == bindparam("of_slot"))
        .values(state=JUDGED, user_id=bindparam("by_user"), shown_left=bindparam("side"))
    )
    for part in batches(taken):
        connection.execute(change, list(part))


def _make_slots(connection: Connection, rows: list[dict[str, object]]) -> None:
    slot = tables.slot.c
    made = [
        {name: row[name] for name in ("project_id", "comparison_id", "user_id", "shown_left")}
        | {
            "kind": "skipped" if row["choice"] == "skip" else row["kind"],
            "state": JUDGED,
            "group_name": "",
            "rank": 0.0,
        }
        for row in rows
    ]
    for part in batches(made):
        connection.execute(insert(tables.slot), list(part))
    users = {row["user_id"] for row in rows}
    query = select(slot.id, slot.comparison_id, slot.user_id, slot.kind).where(slot.user_id.in_(users))
    slot_ids = {(row.comparison_id, row.user_id, row.kind): row.id for row in connection.execute(query)}
    for row in rows:
        if row["choice"] != "skip":
            row["slot_id"] = slot_ids[row["comparison_id"], row["user_id"], row["kind"]]  # type: ignore[index]


def _judgment_row(project_id: int, pair: tuple[int, int], event_id: str, judgment: Judgment) -> dict[str, object]:
    """A simulated judgment as a row, still without its slot; raises ValueError for texts that cannot be stored."""
    check_texts(judgment)
    criteria = plain_criteria(judgment.criteria)
    return {
        "project_id": project_id,
        "comparison_id": pair[0],
        "user_id": pair[1],
        "slot_id": None,
        "kind": "work",
        "event_id": event_id,
        "choice": judgment.choice,
        "strength": judgment.strength,
        "criteria": criteria,
        "directions": directions(criteria),
        "flags": {side: list(names) for side, names in judgment.flags.items()},
        "spans": plain_spans(judgment.spans),
        "edited": dict(judgment.edited) or None,
        "ranking": plain_ranking(judgment),
        "step_labels": list(judgment.step_labels) or None,
        "rationale": judgment.rationale,
        "reason": judgment.reason,
        "seconds": judgment.seconds,
        "shown_left": judgment.shown_left,
        "rubric_version": judgment.rubric_version,
        "newest": True,
        "created_at": judgment.created_at or time.time(),
    }
