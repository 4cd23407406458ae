"""Judges that are no people, and their votes: a table of their own, so that no figure about people counts them.

Adding a judge that runs code or calls another machine asks for an admin; a lead adds models that runs of the project
made. What a judge is asked is `annotate_app.judges`, what it answers with is `alignment.judges`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Row, Select, func, select, update

from alignment.judges.spec import JudgeSpec
from annotate_app.access import AccessError, Actor
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.pending import write_alone
from annotate_app.store.base.rights import checked_text, lock_design, require_member
from annotate_app.store.loop.judge_votes import JudgeVote, VoteTable, insert_votes, read_vote, read_vote_table
from annotate_app.store.loop.moved_votes import move_votes
from annotate_app.store.schema import loop_tables, tables

Asked = tuple[str, str, int]  # comparison id, what was shown first, sample


@dataclass(frozen=True, kw_only=True)
class ExampleSet:
    """Comparisons that a judge was shown as examples: `number` of them asked for, drawn by `seed`."""

    keys: tuple[str, ...]
    number: int
    seed: int
    rubric_version: int


@dataclass(frozen=True, kw_only=True)
class JudgeRow:
    """A judge of a project.

    Attributes:
        example_sets: by their hash, the comparisons that it was shown as examples so far.
        num_votes: answers that are kept, refusals and unreadable ones among them.
    """

    id: int
    project_id: int
    name: str
    spec: JudgeSpec
    archived: bool
    created_by: str
    created_at: float
    example_sets: Mapping[str, ExampleSet] = field(default_factory=dict)
    num_votes: int = 0


class Judges:
    """Stores judges and their votes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, actor: Actor, project_id: int, name: str, spec: JudgeSpec) -> JudgeRow:
        """Adds a judge: by an admin where it is an endpoint or a function, by a lead else.

        Raises:
            ValueError: if the project has a judge of that name.
            AccessError: for a lead too, if its model is not in the folder of a run of the project.
        """
        checked_text(name, "name of the judge", 120)
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "adding a judge", "lead")
            if spec.needs_admin:
                actor.require("admin", f"adding a judge of the kind {spec.kind}")
            elif spec.target and not actor.is_at_least("admin"):
                _require_run(connection, project_id, spec.target)
            if _find(connection, project_id, name) is not None:
                raise ValueError(f"the project has a judge {name!r} already; a changed judge takes another name")
            judge_id = insert_row(
                connection,
                loop_tables.judge,
                project_id=project_id,
                name=name,
                spec=spec.as_dict(),
                archived=False,
                created_by=actor.name,
                created_at=time.time(),
            )
            audit.record(connection, actor, "judge add", project_id=project_id, subject=name, detail=spec.as_dict())
            return _judge(connection.execute(_select().where(loop_tables.judge.c.id == judge_id)).one())

    def list(self, actor: Actor, project_id: int, *, archived: bool = True) -> list[JudgeRow]:
        """The judges of a project in the order they came, archived ones only where asked for. Lead or above."""
        query = _select().where(loop_tables.judge.c.project_id == project_id)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "listing judges", "lead")
            rows = [_judge(row) for row in connection.execute(query)]
        return [row for row in rows if archived or not row.archived]

    def get(self, actor: Actor, project_id: int, name: str) -> JudgeRow:
        """One judge by its name. Lead or above.

        Raises:
            ValueError: if there is none.
        """
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading a judge", "lead")
            row = _find(connection, project_id, name)
            if row is None:
                names = connection.execute(
                    select(loop_tables.judge.c.name)
                    .where(loop_tables.judge.c.project_id == project_id)
                    .order_by(loop_tables.judge.c.id)
                ).scalars()
                raise ValueError(f"the project has no judge {name!r}; it has {', '.join(names) or 'none'}")
        return _judge(row)

    def archive(self, actor: Actor, project_id: int, name: str, *, archived: bool = True) -> None:
        """Puts a judge away, or takes it back; its votes stay. Lead or above."""
        judge = self.get(actor, project_id, name)
        with self._database.write() as connection:
            connection.execute(
                update(loop_tables.judge).where(loop_tables.judge.c.id == judge.id).values(archived=archived)
            )
            action = "judge archive" if archived else "judge take back"
            audit.record(connection, actor, action, project_id=project_id, subject=name)

    def from_annotator(self, actor: Actor, project_id: int, annotator: str, name: str) -> JudgeRow:
        """Moves the judgments of an imported annotator out of people's figures, to a judge of this name. Lead or above.

        Raises:
            ValueError: if the project has no judgments of such an annotator, or a judge of that name already.
        """
        with self._database.together():
            judge = self.add(actor, project_id, name, JudgeSpec(kind="imported", model=annotator))
            with write_alone(self._database, project_id) as connection:
                lock_design(connection, project_id)
                detail = {"annotator": annotator, "num_moved": move_votes(connection, project_id, annotator, judge.id)}
                audit.record(
                    connection, actor, "judge from annotator", project_id=project_id, subject=name, detail=detail
                )
            return self.get(actor, project_id, name)

    def note_examples(self, judge_id: int, examples_hash: str, examples: ExampleSet) -> None:
        """For a run: keeps which comparisons a judge is shown, so that an interrupted run goes on with the same."""
        with self._database.write() as connection:
            chosen = loop_tables.judge.c.id == judge_id
            stored = connection.execute(select(loop_tables.judge.c.spec).where(chosen).with_for_update()).scalar_one()
            known = dict(stored.get(_EXAMPLES) or {})
            known[examples_hash] = {**vars(examples), "keys": list(examples.keys)}
            connection.execute(update(loop_tables.judge).where(chosen).values(spec={**stored, _EXAMPLES: known}))

    def add_votes(self, judge_id: int, rows: Sequence[JudgeVote]) -> int:
        """For a run: keeps answers, on disk when this returns; an answer that is kept already is passed over.

        Returns:
            How many were new.

        Raises:
            ValueError: if there is no such judge, or a comparison is not in its project; nothing is kept then.
        """
        with self._database.write() as connection:
            return insert_votes(connection, judge_id, rows)

    def asked(self, judge_id: int, rubric_version: int, examples: str = "") -> set[Asked]:
        """For a run: what needs no asking any more, under a version of the rubric and a set of examples."""
        columns = loop_tables.judge_vote.c
        query = (
            select(tables.comparison.c.key, columns.shown_first, columns.sample)
            .join(tables.comparison, tables.comparison.c.id == columns.comparison_id)
            .where(columns.judge_id == judge_id, columns.rubric_version == rubric_version, columns.examples == examples)
        )
        with self._database.read() as connection:
            return {(row[0], row[1], row[2]) for row in connection.execute(query)}

    def votes(self, actor: Actor, project_id: int, judge_id: int | None = None) -> list[JudgeVote]:
        """All votes of one judge or of all, in the order they came. Lead or above."""
        return list(self.iterate(actor, project_id, judge_id))

    def iterate(
        self, actor: Actor, project_id: int, judge_id: int | None = None, *, key: str = ""
    ) -> Iterator[JudgeVote]:
        """As `votes`, one after another; `key` takes those of one comparison alone."""
        columns = loop_tables.judge_vote.c
        query = (
            select(loop_tables.judge_vote, tables.comparison.c.key, loop_tables.judge.c.name)
            .join(tables.comparison, tables.comparison.c.id == columns.comparison_id)
            .join(loop_tables.judge, loop_tables.judge.c.id == columns.judge_id)
            .where(columns.project_id == project_id)
            .order_by(columns.id)
            .execution_options(yield_per=1000)
        )
        if judge_id is not None:
            query = query.where(columns.judge_id == judge_id)
        if key:
            query = query.where(tables.comparison.c.key == key)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading the votes of judges", "lead")
            with connection.execute(query) as rows:
                for row in rows:
                    yield read_vote(row)

    def vote_table(self, actor: Actor, project_id: int, judge_id: int | None = None) -> VoteTable:
        """All votes of one judge or of all, as columns: quick at a hundred thousand. Lead or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading the votes of judges", "lead")
            return read_vote_table(connection, project_id, judge_id)


_EXAMPLES = "example_sets"


def _select() -> Select:
    votes = loop_tables.judge_vote.c
    num_votes = select(func.count()).where(votes.judge_id == loop_tables.judge.c.id).scalar_subquery()
    return select(loop_tables.judge, num_votes.label("num_votes")).order_by(loop_tables.judge.c.id)


def _find(connection: Connection, project_id: int, name: str) -> Row | None:
    columns = loop_tables.judge.c
    return connection.execute(_select().where(columns.project_id == project_id, columns.name == name)).first()


def _judge(row: Row) -> JudgeRow:
    stored = dict(row.spec)
    sets = stored.pop(_EXAMPLES, None) or {}
    return JudgeRow(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        spec=JudgeSpec.from_dict(stored),
        archived=row.archived,
        created_by=row.created_by,
        created_at=row.created_at,
        example_sets={key: ExampleSet(**{**one, "keys": tuple(one["keys"])}) for key, one in sets.items()},
        num_votes=row.num_votes,
    )


def _require_run(connection: Connection, project_id: int, target: str) -> None:
    """Lets a model through that lies in the folder of a run of the project."""
    folder = Path(target).resolve()
    jobs = select(tables.job.c.run_dir).where(tables.job.c.project_id == project_id, tables.job.c.run_dir != "")
    for run_dir in connection.execute(jobs).scalars():
        if folder.is_relative_to(Path(run_dir).resolve()):
            return
    raise AccessError("adding a judge by a folder that no run of this project made asks for the role admin")
