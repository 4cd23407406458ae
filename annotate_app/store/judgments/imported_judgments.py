"""Judgments made elsewhere: matched to comparisons and people, each counted once however often it comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, or_, select, update

from annotate_app.protocol.leases import check_against_texts
from annotate_app.store.base.answers import read_ranking
from annotate_app.store.base.database import bulk_execute, bulk_insert, read_pairs
from annotate_app.store.base.slots import JUDGED, OPEN, batches, reserved_for
from annotate_app.store.judgments.staged import StagedJudgment
from annotate_app.store.people.accounts import insert_user
from annotate_app.store.projects.comparisons import keys_to_ids, read_comparison, select_comparisons
from annotate_app.store.projects.stepped import stepped_keys
from annotate_app.store.schema import tables

Pair = tuple[int, int]  # database ids of a comparison and of a user


@dataclass(slots=True)
class _New:
    """A judgment that is new, and where it goes."""

    pair: Pair
    event_id: str
    staged: StagedJudgment
    slot_id: int | None = None
    newest: bool = True


def import_batch(
    connection: Connection,
    project_id: int,
    batch: Sequence[StagedJudgment],
    import_id: int | None = None,
    later: list[int] | None = None,
) -> int:
    """Appends what is new; returns the number of rows appended.

    Not new is a judgment that was imported before, or whose annotator has judged the comparison in this project
    already: what people did here stands. Of several answers of an imported annotator the one with the latest time
    counts, of equal times the one that came last; the others are kept as earlier ones.

    Args:
        connection: in a write transaction.
        project_id: of the project.
        batch: what comes.
        import_id: of an import in parts, which shows its judgments at its end.
        later: gets the ids of the judgments that the import supersedes then (`supersede`).

    Raises:
        ValueError: if a comparison is not in the project, marked words lie outside of their response, or there is not a
            label for each step.
    """
    comparison_ids = keys_to_ids(connection, project_id, {judgment.comparison_id for judgment in batch})
    user_ids = _user_ids(connection, {judgment.annotator for judgment in batch})
    _check_texts(connection, project_id, batch)
    standing = _standing(connection, comparison_ids.values(), user_ids.values())
    event_ids = [f"import-{project_id}-{judgment.digest}" for judgment in batch]
    column = tables.judgment.c.event_id
    seen = set(connection.execute(select(column).where(column.in_(event_ids))).scalars())
    superseded: list[int] = []
    rows: list[_New] = []
    newest: dict[Pair, _New] = {}
    for event_id, judgment in zip(event_ids, batch, strict=True):
        if judgment.comparison_id not in comparison_ids:
            raise ValueError(f"there is no comparison {judgment.comparison_id!r} in the project")
        if event_id in seen:
            continue
        seen.add(event_id)
        pair = (comparison_ids[judgment.comparison_id], user_ids[judgment.annotator])
        row, before, rival = _New(pair, event_id, judgment), standing.get(pair), newest.get(pair)
        if rival is not None:
            row.slot_id = rival.slot_id
            row.newest = judgment.created_at >= rival.staged.created_at
            rival.newest = not row.newest
        elif before is not None:
            if before.kind != "import" or before.says(judgment):
                continue
            row.slot_id = before.slot_id
            row.newest = judgment.created_at >= before.created_at
            if row.newest:
                shown = superseded if later is None else later
                (superseded if before.import_id == import_id else shown).append(before.judgment_id)
        if row.newest:
            newest[pair] = row
        rows.append(row)
    supersede(connection, superseded)
    return _append(connection, project_id, rows, import_id)


def supersede(connection: Connection, judgment_ids: Sequence[int]) -> None:
    """Takes the mark of the newest from judgments."""
    for ids in batches(judgment_ids):
        connection.execute(update(tables.judgment).where(tables.judgment.c.id.in_(ids)).values(newest=False))


@dataclass(frozen=True, slots=True)
class _Standing:
    """The judgment that counts now for a pair; `created_at` is 0 where its time is unknown."""

    judgment_id: int
    slot_id: int | None
    kind: str
    answer: tuple[object, ...]
    created_at: float
    import_id: int | None

    def says(self, judgment: StagedJudgment) -> bool:
        """Whether it says the same already: the same answer, given no later than this one (exports round times)."""
        later = judgment.timed and judgment.created_at >= self.created_at + 1
        return not later and self.answer == judgment.answer()


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
        (row["comparison_id"], row["user_id"]): _Standing(
            row["id"], row["slot_id"], row["kind"], _answer(dict(row)), row["created_at"], row["import_id"]
        )
        for row in connection.execute(query.order_by(columns.id)).mappings()
    }


def _check_texts(connection: Connection, project_id: int, batch: Sequence[StagedJudgment]) -> None:
    """Holds marked words, edits and labels of steps against the texts of their comparisons, which only they need."""
    bare = {one.comparison_id: one for one in batch if one.choice != "skip" and not one.step_labels}
    for key in stepped_keys(connection, project_id, bare):
        raise ValueError(f"judgment of {key!r} by {bare[key].annotator!r} has no step_labels, its answer is in steps")
    marked = [judgment for judgment in batch if judgment.spans or judgment.edited or judgment.step_labels]
    for part in batches(sorted({judgment.comparison_id for judgment in marked})):
        query = select_comparisons(project_id).where(tables.comparison.c.key.in_(part))
        texts = {row.key: read_comparison(row) for row in connection.execute(query)}
        for judgment in marked:
            if judgment.comparison_id not in texts:
                continue
            try:
                check_against_texts(judgment.marks(), texts[judgment.comparison_id])
            except ValueError as error:
                who = f"judgment of {judgment.comparison_id!r} by {judgment.annotator!r}"
                raise ValueError(f"{who}: {error}") from error


def _answer(row: Mapping[Any, Any]) -> tuple[object, ...]:
    names = ("choice", "strength", "criteria", "flags", "rationale", "reason", "spans", "edited")
    return *(row[name] for name in names), read_ranking(row["ranking"], "ranks"), tuple(row["step_labels"] or ())


def _user_ids(connection: Connection, names: set[str]) -> dict[str, int]:
    columns = tables.user.c
    user_ids = read_pairs(connection, select(columns.name, columns.id).where(columns.name.in_(names)))
    for name in sorted(names - user_ids.keys()):
        user = insert_user(connection, name, role="annotator", origin="imported")
        user_ids[name] = user.id
    return user_ids


def _append(connection: Connection, project_id: int, rows: Sequence[_New], import_id: int | None) -> int:
    if not rows:
        return 0
    slots = _fill_slots(connection, project_id, [row for row in rows if row.slot_id is None])
    values = []
    for row in rows:
        slot_id = slots[row.pair] if row.slot_id is None else row.slot_id
        values.append((project_id, *row.pair, slot_id, "import", row.event_id, row.newest, import_id, *row.staged[4:]))
    bulk_insert(connection, tables.judgment, JUDGMENT_COLUMNS, values)
    return len(rows)


JUDGMENT_COLUMNS = (
    *("project_id", "comparison_id", "user_id", "slot_id", "kind", "event_id", "newest", "import_id"),
    *StagedJudgment._fields[4:],
)
_TAKE = (
    f"UPDATE slot SET state = {JUDGED}, token = NULL, leased_at = NULL, leased_until = NULL, user_id = ?, "
    "shown_left = ? WHERE id = ?"
)


def _fill_slots(connection: Connection, project_id: int, rows: Sequence[_New]) -> dict[Pair, int]:
    """Marks a slot judged for each pair: the one its annotator holds, an open one of their group, or an extra one.

    A skip fills no slot that others wait for: it gets an extra one.
    """
    sides = {row.pair: row.staged.shown_left for row in sorted(rows, key=lambda row: row.newest)}
    slot = tables.slot.c
    users = {user_id for _, user_id in sides}
    query = select(slot.id, slot.comparison_id, slot.user_id, slot.group_name).where(
        slot.comparison_id.in_({comparison_id for comparison_id, _ in sides}),
        slot.kind == "work",
        or_(slot.state == OPEN, slot.user_id.in_(users)),
    )
    held: dict[Pair, int] = {}
    free: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for slot_id, comparison_id, user_id, group in connection.execute(
        query.order_by(slot.rank, slot.id).with_for_update()
    ):
        if user_id is None:
            free[comparison_id].append((group, slot_id))
        else:
            held[comparison_id, user_id] = slot_id
    groups = _groups(connection, project_id, users)
    filled: dict[Pair, int] = {}
    skipped = {row.pair for row in rows if row.newest and row.staged.choice == "skip"}
    for pair in sides:
        if pair in skipped:
            continue
        slot_id = held.get(pair)
        if slot_id is None:
            own = (reserved_for(pair[1]), groups.get(pair[1], ""), "")
            fitting = [open_slot for open_slot in free[pair[0]] if open_slot[0] in own]
            if not fitting:
                continue
            free[pair[0]].remove(fitting[0])
            slot_id = fitting[0][1]
        filled[pair] = slot_id
    bulk_execute(connection, _TAKE, [(pair[1], sides[pair], slot_id) for pair, slot_id in filled.items()])
    return filled | _extra_slots(connection, project_id, [pair for pair in sides if pair not in filled], sides)


def _groups(connection: Connection, project_id: int, users: set[int]) -> dict[int, str]:
    columns = tables.membership.c
    query = select(columns.user_id, columns.group_name).where(
        columns.project_id == project_id, columns.user_id.in_(users)
    )
    return read_pairs(connection, query)


def _extra_slots(
    connection: Connection, project_id: int, pairs: list[Pair], sides: Mapping[Pair, str]
) -> dict[Pair, int]:
    """Judged slots of kind import, for judgments beyond what the design asks for."""
    if not pairs:
        return {}
    columns = ("project_id", "comparison_id", "user_id", "shown_left", "kind", "group_name", "state", "rank")
    rows = [(project_id, *pair, sides[pair], "import", "", JUDGED, 0.0) for pair in pairs]
    bulk_insert(connection, tables.slot, columns, rows)
    slot = tables.slot.c
    query = select(slot.comparison_id, slot.user_id, slot.id).where(
        slot.comparison_id.in_({pair[0] for pair in pairs}), slot.kind == "import"
    )
    return {(row.comparison_id, row.user_id): row.id for row in connection.execute(query) if row.user_id is not None}
