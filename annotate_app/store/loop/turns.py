"""Turns of the loop: what was asked for, how each stage stands, and which pairs were chosen by which rule."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from annotate_app.access import Actor
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.rights import checked_text, require_member
from annotate_app.store.base.slots import JUDGED, OPEN, batches
from annotate_app.store.projects.comparisons import keys_to_ids
from annotate_app.store.schema import loop_tables, tables

Stage = Literal["write", "choose", "judge", "learn", "align", "check"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In order: the policy writes candidates, pairs are chosen from them, people and judges judge, a reward model learns
from all votes so far, a policy is aligned with it, and people check the policy blindly."""

StageState = Literal["waiting", "running", "people", "done", "failed", "skipped"]
"""`people` waits for people, for days where it has to; `failed` holds what was cancelled or lost too."""
TurnState = Literal["open", "done", "stopped"]


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """How a stage of a turn stands.

    Attributes:
        job_id: the newest job that worked on it; None where none did.
        adopted: whether it was done by hand and taken over.
        tries: how often it was begun.
        result: what it left, by name; empty before.
        started_at, ended_at: unix seconds, None before.
    """

    stage: Stage
    state: StageState = "waiting"
    job_id: int | None = None
    adopted: bool = False
    tries: int = 0
    result: Mapping[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One time round the loop.

    Attributes:
        number: from 1 within the project. The policy that turn 1 writes with is turn 0's.
        parent: number of the turn whose policy and reward model it begins from; None for the first.
        plan: what was asked for.
        stages: in the order of STAGES.
    """

    id: int
    project_id: int
    number: int
    parent: int | None
    plan: Mapping[str, Any]
    state: TurnState
    created_by: str
    created_at: float
    ended_at: float | None
    stages: tuple[StageRecord, ...]

    def stage(self, name: Stage) -> StageRecord:
        """One stage."""
        return self.stages[STAGES.index(name)]


@dataclass(frozen=True, kw_only=True)
class TurnPair:
    """A pair of a turn: its comparison, the rule that chose it, and how many judgments it has and still waits for."""

    key: str
    rule: str
    num_judged: int
    num_wanted: int


class Turns:
    """Stores turns. For leads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, actor: Actor, project_id: int, plan: Mapping[str, Any], parent: int | None = None) -> Turn:
        """Opens the project's next turn, all of its stages waiting.

        Args:
            parent: number of the turn that it begins from.

        Raises:
            ValueError: if a turn is open already, or the project has no such parent.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "opening a turn", "lead")
            # Two servers at once: the second waits here, then finds the turn of the first.
            connection.execute(select(tables.project.c.id).where(tables.project.c.id == project_id).with_for_update())
            rows = connection.execute(select(loop_tables.turn).where(loop_tables.turn.c.project_id == project_id)).all()
            if open_turn := next((row for row in rows if row.state == "open"), None):
                raise ValueError(f"turn {open_turn.number} is open: finish or stop it first")
            parents = {row.number: row.id for row in rows}
            if parent is not None and parent not in parents:
                raise ValueError(f"parent is {parent}, turns are {', '.join(map(str, sorted(parents))) or 'none'}")
            number = max(parents, default=0) + 1
            turn_id = insert_row(
                connection,
                loop_tables.turn,
                project_id=project_id,
                number=number,
                parent_id=None if parent is None else parents[parent],
                plan=dict(plan),
                state="open",
                created_by=actor.name,
                created_at=time.time(),
            )
            stages = [
                {"turn_id": turn_id, "stage": stage, "state": "waiting", "adopted": False, "tries": 0, "result": {}}
                for stage in STAGES
            ]
            connection.execute(insert(loop_tables.turn_stage), stages)
            _record(connection, actor, project_id, number, "turn add", {"parent": parent})
            return _read_turns(connection, project_id, number)[0]

    def list(self, actor: Actor, project_id: int) -> list[Turn]:
        """The turns of a project in their order."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading turns", "lead")
            return _read_turns(connection, project_id)

    def get(self, actor: Actor, project_id: int, number: int) -> Turn:
        """One turn.

        Raises:
            ValueError: if the project has no such turn.
        """
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading a turn", "lead")
            return _one(connection, project_id, number)

    def open_projects(self) -> list[int]:
        """Ids of the projects that have an open turn; for the worker."""
        query = select(loop_tables.turn.c.project_id).where(loop_tables.turn.c.state == "open").distinct()
        with self._database.read() as connection:
            return sorted(connection.execute(query).scalars())

    @contextmanager
    def locked(self, actor: Actor, project_id: int, number: int) -> Iterator[Turn]:
        """A turn that nobody else changes until the block ends; what the block stores is one transaction with it.

        Raises:
            ValueError: if the project has no such turn.
        """
        with self._database.together(), self._database.write() as connection:
            require_member(connection, actor, project_id, "changing a turn", "lead")
            turn = loop_tables.turn.c
            mine = select(turn.id).where(turn.project_id == project_id, turn.number == number)
            connection.execute(mine.with_for_update())
            yield _one(connection, project_id, number)

    def update_stage(
        self,
        actor: Actor,
        turn_id: int,
        stage: Stage,
        *,
        state: StageState,
        job_id: int | None = None,
        result: Mapping[str, Any] | None = None,
        adopted: bool = False,
        begins: bool = False,
    ) -> None:
        """Says how a stage stands now, inside a block of `locked` where two may do it at once.

        Args:
            job_id: of the job that works on it; None leaves the one that is there, but a stage that waits has none.
            result: what it left; None leaves what is there, but a stage that waits or begins has none.
            begins: whether it is begun now, once more.
        """
        now, columns = time.time(), loop_tables.turn_stage.c
        values: dict[str, Any] = {"state": state, "adopted": adopted}
        if state == "waiting":
            values |= {"job_id": None, "result": {}, "started_at": None, "ended_at": None}
        elif begins:
            values |= {"tries": columns.tries + 1, "started_at": now, "ended_at": None, "result": {}}
        if state in ("done", "failed", "skipped"):
            values["ended_at"] = now
        if job_id is not None:
            values["job_id"] = job_id
        if result is not None:
            values["result"] = dict(result)
        with self._database.write() as connection:
            project_id, number = _project_of(connection, actor, turn_id)
            chosen = (columns.turn_id == turn_id, columns.stage == stage)
            connection.execute(update(loop_tables.turn_stage).where(*chosen).values(**values))
            detail = {"stage": stage, "state": state} | ({"job": job_id} if job_id else {})
            _record(
                connection, actor, project_id, number, "turn stage", detail | ({"adopted": True} if adopted else {})
            )

    def end(self, actor: Actor, turn_id: int, state: TurnState) -> None:
        """Says that a turn is done or stopped, or open again."""
        with self._database.write() as connection:
            project_id, number = _project_of(connection, actor, turn_id)
            ended_at = None if state == "open" else time.time()
            change = update(loop_tables.turn).where(loop_tables.turn.c.id == turn_id)
            connection.execute(change.values(state=state, ended_at=ended_at))
            _record(connection, actor, project_id, number, f"turn {state}", {})

    def add_pairs(self, actor: Actor, turn_id: int, rules: Mapping[str, str]) -> int:
        """Records pairs of a turn, each comparison with the rule that chose it; the number of new ones.

        Raises:
            ValueError: if a comparison is not in the project, or a rule is no name.
        """
        for rule in set(rules.values()):
            checked_text(rule, "rule", 32)
        with self._database.write() as connection:
            project_id, number = _project_of(connection, actor, turn_id)
            pair = loop_tables.turn_pair.c
            there = set(connection.execute(select(pair.comparison_id).where(pair.turn_id == turn_id)).scalars())
            num_added = 0
            for part in batches(list(rules)):
                ids = keys_to_ids(connection, project_id, part)
                if missing := next((key for key in part if key not in ids), ""):
                    raise ValueError(f"there is no comparison {missing!r} in the project")
                rows = [
                    {"turn_id": turn_id, "comparison_id": ids[key], "rule": rules[key]}
                    for key in part
                    if ids[key] not in there
                ]
                if rows:
                    connection.execute(insert(loop_tables.turn_pair), rows)
                num_added += len(rows)
            _record(connection, actor, project_id, number, "turn pairs", {"num": num_added})
        return num_added

    def pairs(self, actor: Actor, turn_id: int) -> list[TurnPair]:
        """The pairs of a turn with their judgments that count, in the order in which they came into the project."""
        with self._database.read() as connection:
            project_id, _ = _project_of(connection, actor, turn_id)
            pair, comparison, slot = loop_tables.turn_pair.c, tables.comparison.c, tables.slot.c
            work = (slot.comparison_id == comparison.id, slot.kind == "work")
            judged = select(func.count()).where(*work, slot.state == JUDGED).scalar_subquery()
            wanted = select(func.count()).where(*work, slot.state != JUDGED).scalar_subquery()
            query = (
                select(comparison.key, pair.rule, judged.label("num_judged"), wanted.label("num_wanted"))
                .join(tables.comparison, comparison.id == pair.comparison_id)
                .where(pair.turn_id == turn_id, comparison.project_id == project_id, ~comparison.excluded)
                .order_by(comparison.id)
            )
            return [TurnPair(**row) for row in connection.execute(query).mappings()]

    def open_slots(self, actor: Actor, project_id: int, keys: Collection[str]) -> dict[str, int]:
        """By comparison id, the judgments that are still wanted of it, and that nobody is at; without those at 0."""
        comparison, slot = tables.comparison.c, tables.slot.c
        counts: dict[str, int] = {}
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading progress", "lead")
            for part in batches(sorted(keys)):
                query = (
                    select(comparison.key, func.count())
                    .join(tables.slot, slot.comparison_id == comparison.id)
                    .where(comparison.project_id == project_id, comparison.key.in_(part))
                    .where(slot.kind == "work", slot.state == OPEN)
                    .group_by(comparison.key)
                )
                counts |= {key: count for key, count in connection.execute(query)}
        return counts

    def withdraw_pairs(self, actor: Actor, turn_id: int) -> int:
        """Takes the pairs of a turn back; the number of comparisons that are deleted.

        Deleted is what the turn brought into the project (its meta says `turn`) and nobody has touched: no judgment,
        no vote of a judge, no lease, no check, no round, no other turn. All others stay as comparisons of the project.
        """
        pair = loop_tables.turn_pair.c
        with self._database.write() as connection:
            project_id, number = _project_of(connection, actor, turn_id)
            idle = [row.id for row in connection.execute(_untouched(turn_id)) if row.meta.get("turn") == number]
            connection.execute(delete(loop_tables.turn_pair).where(pair.turn_id == turn_id))
            for ids in batches(idle):
                connection.execute(delete(tables.slot).where(tables.slot.c.comparison_id.in_(ids)))
                connection.execute(delete(tables.comparison).where(tables.comparison.c.id.in_(ids)))
            _record(connection, actor, project_id, number, "turn pairs withdrawn", {"num": len(idle)})
            return len(idle)


def _untouched(turn_id: int) -> Select:
    """The comparisons of a turn that nothing else refers to."""
    comparison, pair, slot = tables.comparison.c, loop_tables.turn_pair.c, tables.slot.c
    another = loop_tables.turn_pair.alias("another").c
    uses = (
        select(tables.judgment.c.id).where(tables.judgment.c.comparison_id == comparison.id),
        select(loop_tables.judge_vote.c.id).where(loop_tables.judge_vote.c.comparison_id == comparison.id),
        select(tables.adjudication.c.id).where(tables.adjudication.c.comparison_id == comparison.id),
        select(slot.id).where(slot.comparison_id == comparison.id, slot.state != OPEN),
        select(loop_tables.blind_pair.c.round_id).where(loop_tables.blind_pair.c.comparison_id == comparison.id),
        select(another.turn_id).where(another.comparison_id == comparison.id, another.turn_id != turn_id),
    )
    of_turn = comparison.id.in_(select(pair.comparison_id).where(pair.turn_id == turn_id))
    return select(comparison.id, comparison.meta).where(
        of_turn, comparison.gold.is_(None), *(~use.exists() for use in uses)
    )


def open_turn(turns: Collection[Turn]) -> Turn | None:
    """The one that is open, if any."""
    return next((turn for turn in turns if turn.state == "open"), None)


def _project_of(connection: Connection, actor: Actor, turn_id: int) -> tuple[int, int]:
    """The project of a turn and its number in it, for its leads.

    Raises:
        ValueError: if there is no such turn.
    """
    query = select(loop_tables.turn.c.project_id, loop_tables.turn.c.number).where(loop_tables.turn.c.id == turn_id)
    row = connection.execute(query).first()
    if row is None:
        actor.require("admin", "reading a turn")
        raise ValueError(f"there is no turn with the id {turn_id}")
    require_member(connection, actor, row.project_id, "changing a turn", "lead")
    return row.project_id, row.number


def _record(
    connection: Connection, actor: Actor, project_id: int, number: int, action: str, detail: Mapping[str, object]
) -> None:
    audit.record(connection, actor, action, project_id=project_id, subject=f"turn {number}", detail=detail)


def _one(connection: Connection, project_id: int, number: int) -> Turn:
    turns = _read_turns(connection, project_id, number)
    if not turns:
        numbers = (
            select(loop_tables.turn.c.number).where(loop_tables.turn.c.project_id == project_id).order_by("number")
        )
        there = ", ".join(map(str, connection.execute(numbers).scalars())) or "none"
        raise ValueError(f"there is no turn {number}, turns are {there}")
    return turns[0]


def _read_turns(connection: Connection, project_id: int, number: int | None = None) -> list[Turn]:
    """Turns with their stages, in one query."""
    parent = loop_tables.turn.alias("parent")
    query = (
        select(loop_tables.turn, parent.c.number.label("parent"), loop_tables.turn_stage)
        .join(loop_tables.turn_stage, loop_tables.turn_stage.c.turn_id == loop_tables.turn.c.id)
        .outerjoin(parent, parent.c.id == loop_tables.turn.c.parent_id)
        .where(loop_tables.turn.c.project_id == project_id)
        .order_by(loop_tables.turn.c.number)
    )
    if number is not None:
        query = query.where(loop_tables.turn.c.number == number)
    rows: dict[int, list[Row]] = {}
    for row in connection.execute(query):
        rows.setdefault(row.number, []).append(row)
    return [_turn(stages) for stages in rows.values()]


def _turn(rows: list[Row]) -> Turn:
    turn, stage, first = loop_tables.turn.c, loop_tables.turn_stage.c, rows[0]._mapping
    records = {
        row._mapping[stage.stage]: StageRecord(
            stage=row._mapping[stage.stage],
            state=row._mapping[stage.state],
            job_id=row._mapping[stage.job_id],
            adopted=row._mapping[stage.adopted],
            tries=row._mapping[stage.tries],
            result=row._mapping[stage.result],
            started_at=row._mapping[stage.started_at],
            ended_at=row._mapping[stage.ended_at],
        )
        for row in rows
    }
    return Turn(
        id=first[turn.id],
        project_id=first[turn.project_id],
        number=first[turn.number],
        parent=first["parent"],
        plan=first[turn.plan],
        state=first[turn.state],
        created_by=first[turn.created_by],
        created_at=first[turn.created_at],
        ended_at=first[turn.ended_at],
        stages=tuple(records[stage] for stage in STAGES),
    )
