"""Blind rounds: two sources of answers before people who do not know whose answer is whose."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, func, insert, select

from annotate_app.access import Actor
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row, read_pairs
from annotate_app.store.base.rights import checked_text, require_member
from annotate_app.store.base.slots import JUDGED, batches
from annotate_app.store.projects.comparisons import keys_to_ids
from annotate_app.store.schema import loop_tables, tables

LONGEST_SOURCE = 200


@dataclass(frozen=True, kw_only=True)
class Round:
    """A blind round.

    Attributes:
        one, other: sources of the answers; the rate is that of `one`.
        turn_id: database id of the turn that it checks; None for one that belongs to no turn.
        detail: how the answers were written, by which job, and a note.
        num_pairs: comparisons in it.
    """

    id: int
    project_id: int
    one: str
    other: str
    turn_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    created_by: str
    created_at: float
    num_pairs: int


class Rounds:
    """Stores which comparisons are a round, and of whom; their votes are judgments like all others. For leads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        actor: Actor,
        project_id: int,
        *,
        one: str,
        other: str,
        comparisons: Sequence[str],
        turn_id: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Round:
        """Records a round of comparisons that are in the project already.

        Raises:
            ValueError: if the sources are the same or unnamed, there is no comparison, or one is not in the project.
        """
        for name, source in (("one", one), ("other", other)):
            checked_text(source, name, LONGEST_SOURCE)
        if one == other:
            raise ValueError(f"a round holds {one!r} against itself, allowed are two sources")
        keys = list(dict.fromkeys(comparisons))
        if not keys:
            raise ValueError("comparisons is empty: a round has one pair or more")
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "recording a blind round", "lead")
            _require_turn(connection, project_id, turn_id)
            ids: dict[str, int] = {}
            for part in batches(keys):
                ids |= keys_to_ids(connection, project_id, part)
            if missing := next((key for key in keys if key not in ids), ""):
                raise ValueError(f"there is no comparison {missing!r} in the project")
            values = {"project_id": project_id, "one": one, "other": other, "turn_id": turn_id}
            round_id = insert_row(
                connection,
                loop_tables.blind_round,
                **values,
                detail=dict(detail or {}),
                created_by=actor.name,
                created_at=time.time(),
            )
            for part in batches(keys):
                rows = [{"round_id": round_id, "comparison_id": ids[key]} for key in part]
                connection.execute(insert(loop_tables.blind_pair), rows)
            counts: dict[str, object] = {"one": one, "other": other, "num": len(keys)}
            audit.record(
                connection, actor, "round add", project_id=project_id, subject=f"round {round_id}", detail=counts
            )
            row = connection.execute(_select(loop_tables.blind_round.c.id == round_id)).mappings().one()
            return Round(**row)

    def list(self, actor: Actor, project_id: int) -> list[Round]:
        """The rounds of a project, newest first."""
        query = _select(loop_tables.blind_round.c.project_id == project_id)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading blind rounds", "lead")
            return [Round(**row) for row in connection.execute(query).mappings()]

    def get(self, actor: Actor, project_id: int, round_id: int) -> Round:
        """One round.

        Raises:
            ValueError: if the project has no such round.
        """
        chosen = (loop_tables.blind_round.c.project_id == project_id, loop_tables.blind_round.c.id == round_id)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading a blind round", "lead")
            row = connection.execute(_select(*chosen)).mappings().first()
        if row is None:
            raise ValueError(f"there is no round {round_id} in the project")
        return Round(**row)

    def all_keys(self, actor: Actor, project_id: int) -> dict[int, tuple[str, ...]]:
        """By number of the round, the ids of its comparisons: one query for all rounds of a project."""
        pair, comparison, round = loop_tables.blind_pair.c, tables.comparison.c, loop_tables.blind_round.c
        query = (
            select(pair.round_id, comparison.key)
            .join(tables.comparison, comparison.id == pair.comparison_id)
            .join(loop_tables.blind_round, round.id == pair.round_id)
            .where(round.project_id == project_id, ~comparison.excluded)
            .order_by(pair.round_id, comparison.id)
        )
        by_round: dict[int, list[str]] = {}
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading blind rounds", "lead")
            for number, key in connection.execute(query):
                by_round.setdefault(number, []).append(key)
        return {number: tuple(keys) for number, keys in by_round.items()}

    def progress(self, actor: Actor, round_id: int) -> tuple[int, int]:
        """Judgments that a round has, and that are still wanted of its pairs.

        Raises:
            ValueError: if there is no such round.
        """
        keys = self.keys(actor, round_id)
        pair, slot = loop_tables.blind_pair.c, tables.slot.c
        query = (
            select(slot.state, func.count())
            .join(loop_tables.blind_pair, pair.comparison_id == slot.comparison_id)
            .join(tables.comparison, tables.comparison.c.id == pair.comparison_id)
            .where(pair.round_id == round_id, slot.kind == "work", ~tables.comparison.c.excluded)
            .group_by(slot.state)
        )
        with self._database.read() as connection:
            counts = read_pairs(connection, query)
        judged = counts.pop(JUDGED, 0)
        return (judged, sum(counts.values())) if keys else (0, 0)

    def keys(self, actor: Actor, round_id: int) -> tuple[str, ...]:
        """The ids of a round's comparisons, in the order in which they came into the project."""
        pair, comparison = loop_tables.blind_pair.c, tables.comparison.c
        project = select(loop_tables.blind_round.c.project_id).where(loop_tables.blind_round.c.id == round_id)
        query = (
            select(comparison.key)
            .join(loop_tables.blind_pair, pair.comparison_id == comparison.id)
            .where(pair.round_id == round_id, ~comparison.excluded)
            .order_by(comparison.id)
        )
        with self._database.read() as connection:
            project_id = connection.execute(project).scalar()
            if project_id is None:
                actor.require("admin", "reading a blind round")
                raise ValueError(f"there is no round {round_id}")
            require_member(connection, actor, project_id, "reading a blind round", "lead")
            return tuple(connection.execute(query).scalars())


def _select(*chosen: Any) -> Select:
    pair = loop_tables.blind_pair.c
    counted = select(func.count()).where(pair.round_id == loop_tables.blind_round.c.id).scalar_subquery()
    query = select(loop_tables.blind_round, counted.label("num_pairs")).where(*chosen)
    return query.order_by(loop_tables.blind_round.c.id.desc())


def _require_turn(connection: Any, project_id: int, turn_id: int | None) -> None:
    turn = loop_tables.turn.c
    mine = select(turn.id).where(turn.id == turn_id, turn.project_id == project_id)
    if turn_id is not None and connection.execute(mine).first() is None:
        raise ValueError(f"there is no turn with the id {turn_id} in the project")
