"""Looking through a project's comparisons: by text and by how far each is. Reading only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import ColumnElement, Connection, Text, cast, func, or_, select

from annotate_app.access import Actor
from annotate_app.store.base.database import Database
from annotate_app.store.base.pending import SLOT_STATE
from annotate_app.store.base.rights import require_member
from annotate_app.store.base.slots import BATCH, JUDGED
from annotate_app.store.projects.comparisons import ANSWER_A, ANSWER_B, Gold, read_comparison, select_comparisons
from annotate_app.store.schema import tables
from rewardkit.data.records import Comparison

State = Literal["any", "unjudged", "open", "complete", "gold", "decided"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One comparison in a list.

    Attributes:
        num_judged, num_wanted: its work slots; checks have none.
        overlap: judgments wanted where it is not the design's, else None.
        decided: whether an adjudicator has decided it.
    """

    comparison: Comparison
    num_judged: int
    num_wanted: int
    priority: float
    overlap: int | None
    gold: Gold | None
    decided: bool


class Browsing:
    """Lists comparisons with their progress; leads and above."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self,
        actor: Actor,
        project_id: int,
        *,
        text: str = "",
        state: State = "any",
        keys: Sequence[str] = (),
        offset: int = 0,
        limit: int = 50,
    ) -> list[Listed]:
        """Comparisons in the order they came. Lead or above.

        Args:
            keys: ids to choose from; empty for all.
            text: what the id, the conversation or a completion holds, letters' case aside; empty for all.
            state: `unjudged` nobody has judged it, `open` a judgment is missing, `complete` none is, `gold` a check,
                `decided` adjudicated.
            offset: how many to pass over.
            limit: how many to give at most.
        """
        if state not in STATES:
            raise ValueError(f"state is {state!r}, allowed are {', '.join(STATES)}")
        extra = tables.comparison.c
        query = select_comparisons(project_id).add_columns(extra.priority, extra.overlap, extra.gold)
        chosen = [tables.comparison.c.key.in_(keys)] if keys else []
        query = query.where(*_holds(text), *_is_in(state), *chosen).offset(offset).limit(limit)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "looking through comparisons", "lead")
            rows = connection.execute(query).all()
            ids = [row.comparison_id for row in rows]
            slots, decided = _count_slots(connection, ids), _decided(connection, ids)
        return [
            Listed(
                comparison=read_comparison(row),
                num_judged=slots.get(row.comparison_id, (0, 0))[0],
                num_wanted=slots.get(row.comparison_id, (0, 0))[1],
                priority=row.priority,
                overlap=row.overlap,
                gold=None if row.gold is None else Gold(**row.gold),
                decided=row.comparison_id in decided,
            )
            for row in rows
        ]

    def iterate(self, actor: Actor, project_id: int, state: State = "any") -> Iterator[Comparison]:
        """All comparisons in a state, in the order they came, read as they are asked for. Lead or above."""
        query = select_comparisons(project_id).where(*_is_in(state)).execution_options(yield_per=BATCH)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading comparisons", "lead")
            for row in connection.execute(query):
                yield read_comparison(row)

    def stamp(self, actor: Actor, project_id: int) -> tuple[int, int]:
        """Two numbers that change whenever votes, comparisons, gold answers or the design do. Adjudicator or above.

        Judgments are only ever appended and everything else is audited, so the newest id of each will do; both are read
        from the end of an index, however large the project is. Decisions of adjudicators are left out.
        """
        audited = tables.audit.c
        judgment = select(func.max(tables.judgment.c.id))
        change = (
            select(audited.id)
            .where(audited.project_id == project_id, audited.action != "adjudicate")
            .order_by(audited.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading figures", "adjudicator")
            return connection.execute(judgment).scalar() or 0, connection.execute(change).scalar() or 0


def _holds(text: str) -> list[ColumnElement[bool]]:
    if not text:
        return []
    places = (tables.comparison.c.key, cast(tables.prompt.c.messages, Text), ANSWER_A.c.text, ANSWER_B.c.text)
    return [or_(*(column.icontains(text, autoescape=True) for column in places))]


def _is_in(state: State) -> list[ColumnElement[bool]]:
    slot, key = tables.slot.c, tables.comparison.c.id
    work = select(slot.id).where(slot.comparison_id == key, slot.kind == "work")
    judged, missing = work.where(SLOT_STATE == JUDGED).exists(), work.where(SLOT_STATE != JUDGED).exists()
    match state:
        case "any":
            return []
        case "unjudged":
            return [work.exists(), ~judged]
        case "open":
            return [missing]
        case "complete":
            return [work.exists(), ~missing]
        case "gold":
            return [tables.comparison.c.gold_use != ""]
        case "decided":
            return [select(tables.adjudication.c.id).where(tables.adjudication.c.comparison_id == key).exists()]


def _count_slots(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Judged and wanted work slots by comparison."""
    slot = tables.slot.c
    query = select(slot.comparison_id, SLOT_STATE, func.count()).where(slot.comparison_id.in_(ids), slot.kind == "work")
    counts: dict[int, tuple[int, int]] = {}
    for key, state, count in connection.execute(query.group_by(slot.comparison_id, SLOT_STATE)):
        judged, wanted = counts.get(key, (0, 0))
        counts[key] = (judged + (count if state == JUDGED else 0), wanted + count)
    return counts


def _decided(connection: Connection, ids: Sequence[int]) -> set[int]:
    columns = tables.adjudication.c
    return set(connection.scalars(select(columns.comparison_id).where(columns.comparison_id.in_(ids))))
