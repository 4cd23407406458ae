"""Judgments: reading them, taking in those made elsewhere, and an expert's decision where they disagree.

A judgment is appended, never edited: `newest` marks the one of each slot that counts. Those made here are written by
`work`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import IO, Literal, get_args

from sqlalchemy import Connection, insert, select

from annotate_app.access import AccessError, Actor
from annotate_app.store.base import audit
from annotate_app.store.base.answers import plain_criteria, read_criteria, read_judgment, read_spans, select_judgments
from annotate_app.store.base.database import Database
from annotate_app.store.base.pending import import_in_parts, write_alone
from annotate_app.store.base.rights import checked_content, lock_design, require_member
from annotate_app.store.base.slots import BATCH
from annotate_app.store.judgments.imported_judgments import import_batch, supersede
from annotate_app.store.judgments.judgment_feed import FeedPage, read_feed
from annotate_app.store.judgments.simulated import SimulatedAnswer, insert_simulated
from annotate_app.store.judgments.staged import stage_judgments, staged_batches
from annotate_app.store.judgments.votes import read_votes
from annotate_app.store.projects.comparisons import Added, keys_to_ids
from annotate_app.store.projects.further import find_item
from annotate_app.store.schema import tables
from annotate_app.votes import COLLECTED_KINDS, Votes
from rewardkit.data.records import Judgment, Span

DecisionChoice = Literal["a", "b", "tie", "both_bad", "discard"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An expert's answer for a comparison that people disagree on; `discard` keeps it out of training data.

    Attributes:
        strength: degree of the preference, 1 or more for a and b, else 0.
        user, created_at: who decided and when (unix seconds); filled in by the store.
    """

    choice: DecisionChoice
    strength: int = 0
    criteria: Mapping[str, int | tuple[int, int]] = field(default_factory=dict)
    rationale: str = ""
    user: str = ""
    created_at: float = 0.0

    def __post_init__(self) -> None:
        if self.choice not in get_args(DecisionChoice):
            raise ValueError(f"choice is {self.choice!r}, allowed are {', '.join(get_args(DecisionChoice))}")
        if (self.choice in ("a", "b")) != (self.strength > 0):
            raise ValueError(
                f"strength is {self.strength} with choice {self.choice!r}: a and b take 1 or more, the others 0"
            )


class Judgments:
    """Stores judgments and decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def iterate(
        self, actor: Actor, project_id: int, *, annotator: str | None = None, excluded: bool = False
    ) -> Iterator[Judgment]:
        """The judgments that count, oldest first: anybody's for adjudicators and above, else only one's own.

        Args:
            annotator: only this person's.
            excluded: whether those on excluded comparisons are among them.
        """
        query = select_judgments(project_id).execution_options(yield_per=BATCH)
        if not excluded:
            query = query.where(~tables.comparison.c.excluded)
        if annotator is not None:
            query = query.where(tables.user.c.name == annotator)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading judgments")
            if not actor.is_at_least("adjudicator"):
                if annotator is not None and annotator != actor.name:
                    raise AccessError(f"reading the judgments of {annotator} asks for the role adjudicator")
                query = query.where(tables.judgment.c.user_id == actor.user_id)
            with connection.execute(query) as rows:
                for row in rows:
                    yield read_judgment(row)

    def feed(self, actor: Actor, project_id: int, *, after: int = 0, limit: int = 100) -> FeedPage:
        """All that was said behind a cursor, edits and undos too; see `judgment_feed`. One's own below adjudicator."""
        return read_feed(self._database, actor, project_id, after, limit)

    def of_comparison(self, actor: Actor, project_id: int, key: str) -> list[Judgment]:
        """The judgments of one comparison that count, oldest first; of a pair or step of it those of the whole.

        Adjudicator or above.
        """
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading judgments", "adjudicator")
            whole = keys_to_ids(connection, project_id, [key]).get(key) or find_item(connection, project_id, key)[0]
            query = select_judgments(project_id).where(tables.comparison.c.id == whole)
            return [read_judgment(row) for row in connection.execute(query)]

    def votes(
        self,
        actor: Actor,
        project_id: int,
        *,
        since: float = 0.0,
        until: float = float("inf"),
        excluded: bool = False,
    ) -> Votes:
        """The judgments that count, as columns. Adjudicator or above; sources only for leads and above.

        Args:
            since, until: unix times between which they were made.
            excluded: whether those on excluded comparisons, and these comparisons, are among them.
        """
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading votes", "adjudicator")
            sources = actor.is_at_least("lead")
            return read_votes(connection, project_id, since, until, with_sources=sources, excluded=excluded)

    def spans(self, actor: Actor, project_id: int) -> dict[tuple[str, str], tuple[Span, ...]]:
        """The words marked in collected judgments that count, by comparison id and annotator. Adjudicator or above."""
        columns = tables.judgment.c
        query = select_judgments(project_id).where(columns.spans.is_not(None), columns.kind.in_(COLLECTED_KINDS))
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading marked words", "adjudicator")
            return {(row.key, row.name): read_spans(row.spans) for row in connection.execute(query)}

    def import_many(self, actor: Actor, project_id: int, judgments: Iterable[Judgment]) -> Added:
        """Imports judgments made elsewhere, all or none; see `imported_judgments.import_batch`. Lead or above.

        Annotators without an account get one that never signs in (origin `imported`). A judgment fills an open slot of
        its comparison where there is one.

        Raises:
            ValueError: if a comparison is not in the project.
        """
        with stage_judgments(judgments) as staged:
            return self.import_staged(actor, project_id, staged)

    def import_staged(self, actor: Actor, project_id: int, staged: IO[bytes]) -> Added:
        """Imports judgments staged by `staged.stage_judgments`, as `import_many` does. Lead or above."""
        batches = staged_batches(staged)
        first = list(islice(batches, 2))
        batches = chain(first, batches)
        num_added = num_seen = 0
        if not self._database.divides or len(first) < 2:
            with write_alone(self._database, project_id) as connection:
                require_member(connection, actor, project_id, "importing judgments", "lead")
                lock_design(connection, project_id)
                for batch in batches:
                    num_added += import_batch(connection, project_id, batch)
                    num_seen += len(batch)
                return _end_import(connection, actor, project_id, num_added, num_seen)
        superseded: list[int] = []
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "importing judgments", "lead")
        with import_in_parts(self._database, project_id) as parts:
            for batch in batches:
                with parts.part() as connection:
                    num_added += import_batch(connection, project_id, batch, parts.id, superseded)
                    num_seen += len(batch)
            with parts.part(last=True) as connection:
                require_member(connection, actor, project_id, "importing judgments", "lead")
                supersede(connection, superseded)
                return _end_import(connection, actor, project_id, num_added, num_seen)

    def add_simulated(self, actor: Actor, project_id: int, answers: Sequence[SimulatedAnswer]) -> int:
        """Stores what simulated members answered, all or none; see `simulated.insert_simulated`. Lead or above.

        Raises:
            ValueError: if the project does not say that it is simulated, or an answer does not fit it.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "simulating judgments", "lead")
            lock_design(connection, project_id)
            num_added = insert_simulated(connection, project_id, answers)
            audit.record(
                connection, actor, "judgments simulate", project_id=project_id, detail={"num_added": num_added}
            )
        return num_added

    def adjudicate(self, actor: Actor, project_id: int, key: str, decision: Decision) -> None:
        """Settles a comparison, a pair of a ranking, or a step; the newest decision counts, earlier ones are kept.

        Adjudicator or above.
        """
        checked_content(decision.rationale, "rationale")
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "adjudicating", "adjudicator")
            comparison_id, pair = find_item(connection, project_id, key)
            if comparison_id is None:
                raise ValueError(f"there is no comparison {key!r} in the project")
            connection.execute(
                insert(tables.adjudication).values(
                    project_id=project_id,
                    comparison_id=comparison_id,
                    pair=pair,
                    user_id=actor.user_id,
                    choice=decision.choice,
                    strength=decision.strength,
                    criteria=plain_criteria(decision.criteria),
                    rationale=decision.rationale,
                    created_at=time.time(),
                )
            )
            detail = {"choice": decision.choice, "strength": decision.strength}
            audit.record(connection, actor, "adjudicate", project_id=project_id, subject=key, detail=detail)

    def adjudications(self, actor: Actor, project_id: int, *, excluded: bool = False) -> dict[str, Decision]:
        """The newest decision of each settled comparison, by comparison id. Adjudicator or above.

        Args:
            excluded: whether those on excluded comparisons are among them.
        """
        columns = tables.adjudication.c
        query = (
            select(tables.adjudication, tables.comparison.c.key, tables.user.c.name)
            .join(tables.comparison, tables.comparison.c.id == columns.comparison_id)
            .outerjoin(tables.user, tables.user.c.id == columns.user_id)
            .where(columns.project_id == project_id, *([] if excluded else [~tables.comparison.c.excluded]))
            .order_by(columns.id)
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading decisions", "adjudicator")
            rows = connection.execute(query).all()
        return {
            f"{row.key}#{row.pair}" if row.pair else row.key: Decision(
                choice=row.choice,
                strength=row.strength,
                criteria=read_criteria(row.criteria),
                rationale=row.rationale,
                user=row.name or "command line",
                created_at=row.created_at,
            )
            for row in rows
        }


def _end_import(connection: Connection, actor: Actor, project_id: int, num_added: int, num_seen: int) -> Added:
    added = Added(num_added=num_added, num_existing=num_seen - num_added)
    if num_added:
        detail = {"num_added": num_added, "num_existing": added.num_existing}
        audit.record(connection, actor, "judgments import", project_id=project_id, detail=detail)
    return added
