"""Judgments in the order they were stored, for what follows them: page after page, none passed over.

Everything that was ever said is in the feed: an edit is a row of its own that `replaces` an earlier one, an undo a row
with the choice `withdrawn`. A row with a smaller number never appears behind one that was given out: see `settled`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Row, Select, func, select

from annotate_app.access import Actor
from annotate_app.store.base.answers import read_criteria
from annotate_app.store.base.database import Database
from annotate_app.store.base.pending import JUDGMENT_SHOWN
from annotate_app.store.base.rights import require_member
from annotate_app.store.base.settled import settled_until
from annotate_app.store.schema import tables

MOST_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class FedJudgment:
    """One row of the feed, in content space.

    Attributes:
        id: its number, the cursor behind it.
        choice: of `rewardkit.data.records.CHOICES`, or `withdrawn`: an undo.
        counts: whether it counts now: the newest of its person and comparison, and not withdrawn.
        replaces: number of the row of the same person, comparison and kind that it took the place of, None for none.
        kind: work, gold, repeat, qualification or import; empty for annotators, who are not told what is a check.
    """

    id: int
    comparison_id: str
    annotator: str
    choice: str
    strength: int
    criteria: Mapping[str, int | tuple[int, int]]
    flags: Mapping[str, tuple[str, ...]]
    rationale: str
    reason: str
    seconds: float
    shown_left: str
    kind: str
    rubric_version: int
    created_at: float
    counts: bool
    replaces: int | None
    ranking: object = None
    spans: object = None
    edited: object = None
    step_labels: object = None


@dataclass(frozen=True, kw_only=True)
class FeedPage:
    """A page of the feed; `after` is the cursor behind it, `more` whether rows are known to follow."""

    judgments: list[FedJudgment]
    after: int
    more: bool


def read_feed(database: Database, actor: Actor, project_id: int, after: int, limit: int) -> FeedPage:
    """The rows behind a cursor, oldest first: everybody's for adjudicators and above, else only one's own."""
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit is {limit}, allowed is 1 to {MOST_ROWS}")
    with database.read() as connection:
        require_member(connection, actor, project_id, "reading judgments")
    until = settled_until(database, after)
    query = _select(project_id, after, until).limit(limit + 1)
    if not actor.is_at_least("adjudicator"):
        query = query.where(tables.judgment.c.user_id == actor.user_id)
    with database.read() as connection:
        require_member(connection, actor, project_id, "reading judgments")
        rows = connection.execute(query).all()
    page = [_read(row, actor) for row in rows[:limit]]
    more = len(rows) > limit
    # At the end the cursor passes over the rows of other projects, so that the next reader does not read them again.
    return FeedPage(judgments=page, after=page[-1].id if more else max(after, until), more=more)


def _select(project_id: int, after: int, until: int) -> Select:
    columns, earlier = tables.judgment.c, tables.judgment.alias("earlier")
    replaced = (
        select(func.max(earlier.c.id))
        .where(
            earlier.c.comparison_id == columns.comparison_id,
            earlier.c.user_id == columns.user_id,
            earlier.c.kind == columns.kind,
            earlier.c.id < columns.id,
        )
        .scalar_subquery()
    )
    return (
        select(tables.judgment, tables.comparison.c.key, tables.user.c.name, replaced.label("replaces"))
        .join(tables.comparison, tables.comparison.c.id == columns.comparison_id)
        .join(tables.user, tables.user.c.id == columns.user_id)
        .where(columns.project_id == project_id, columns.id > after, columns.id <= until, JUDGMENT_SHOWN)
        .order_by(columns.id)
    )


def _read(row: Row, actor: Actor) -> FedJudgment:
    return FedJudgment(
        id=row.id,
        comparison_id=row.key,
        annotator=row.name,
        choice=row.choice,
        strength=row.strength,
        criteria=read_criteria(row.criteria),
        flags={side: tuple(names) for side, names in row.flags.items()},
        rationale=row.rationale,
        reason=row.reason,
        seconds=row.seconds,
        shown_left=row.shown_left,
        kind=row.kind if actor.is_at_least("adjudicator") else "",
        rubric_version=row.rubric_version,
        created_at=row.created_at,
        counts=row.newest and row.choice != "withdrawn",
        replaces=row.replaces,
        ranking=row.ranking,
        spans=row.spans,
        edited=row.edited,
        step_labels=row.step_labels,
    )
