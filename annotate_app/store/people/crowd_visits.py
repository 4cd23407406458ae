"""Rows of visits by crowd links: who works under one now, how far they are, and what became of everybody.

Stored are the outcomes `working`, `completed` and `over_quota`. The others follow when they are read: `screened_out`
from the state of the member (failed or paused), `dropped_out` from how long ago the last judgment was, `started` where
there is none yet. A judgment counts for a visit if its pair was first answered in it, it stands and is no skip.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

from sqlalchemy import Connection, Row, Select, and_, case, exists, func, or_, select, update

from annotate_app.access import Actor
from annotate_app.store.base import audit
from annotate_app.store.schema import tables
from annotate_app.store.schema.door_tables import crowd_link, crowd_visit

Outcome = Literal["started", "working", "completed", "screened_out", "over_quota", "dropped_out"]
OUTCOMES: tuple[Outcome, ...] = ("started", "working", "completed", "screened_out", "over_quota", "dropped_out")
SCREENED_OUT = ("failed", "paused")

_judgment = tables.judgment.c
_earlier = tables.judgment.alias("earlier").c


@dataclass(kw_only=True)
class VisitAtWork:
    """A visit under which somebody works now: judgments given and judgments asked for."""

    visit_id: int
    link_id: int
    target: int
    done: int
    skipped: int


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What became of somebody who opened a link; times are unix time, 0 where there is none.

    Attributes:
        person: name of the account, empty for who was not let in.
        parameters: what else the address held, such as the study and the session.
        judgments: of the visit that count; `seconds` are active ones of all its answers.
    """

    link_id: int
    platform_id: str
    person: str
    outcome: Outcome
    judgments: int
    seconds: float
    started_at: float
    last_at: float
    ended_at: float
    parameters: Mapping[str, str]

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class VisitSummary:
    """What became of the people of a link.

    Attributes:
        counts: people by outcome.
        let_in: all but those who came over quota.
        median_minutes: active ones of who completed, NaN without any.
        hourly: what the reward for completing comes to in an hour of that; NaN where there is none.
    """

    counts: Mapping[Outcome, int]
    let_in: int
    median_minutes: float
    hourly: float

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def summarize(visits: Sequence[Visit], reward: float) -> VisitSummary:
    """Counts visits, and what the reward comes to by the hour."""
    counts: dict[Outcome, int] = {name: sum(visit.outcome == name for visit in visits) for name in OUTCOMES}
    minutes = [visit.seconds / 60 for visit in visits if visit.outcome == "completed"]
    middle = median(minutes) if minutes else math.nan
    return VisitSummary(
        counts=counts,
        let_in=len(visits) - counts["over_quota"],
        median_minutes=middle,
        hourly=reward / middle * 60 if reward and middle > 0 else math.nan,
    )


def _of_visit() -> tuple:
    """Conditions under which a judgment was made in a visit, by the person and in the project of the link."""
    before = exists(
        select(_earlier.id).where(
            _earlier.slot_id == _judgment.slot_id,
            _earlier.user_id == _judgment.user_id,
            _earlier.created_at < crowd_visit.c.started_at,
        )
    )
    return (
        _judgment.user_id == crowd_visit.c.user_id,
        _judgment.project_id == crowd_link.c.project_id,
        _judgment.kind != "import",
        _judgment.created_at >= crowd_visit.c.started_at,
        or_(crowd_visit.c.ended_at.is_(None), _judgment.created_at <= crowd_visit.c.ended_at),
        ~before,
    )


_COUNTS = case((and_(_judgment.newest, _judgment.choice.not_in(("skip", "withdrawn"))), 1), else_=0)
_SKIPS = case((and_(_judgment.newest, _judgment.choice == "skip"), 1), else_=0)


def _tallies() -> Select:
    return (
        select(
            crowd_visit.c.id,
            func.sum(_COUNTS).label("done"),
            func.sum(_SKIPS).label("skipped"),
            func.sum(_judgment.seconds).label("seconds"),
            func.max(_judgment.created_at).label("last_at"),
        )
        .select_from(crowd_visit)
        .join(crowd_link, crowd_link.c.id == crowd_visit.c.link_id)
        .join(tables.judgment, and_(*_of_visit()))
        .group_by(crowd_visit.c.id)
    )


def visit_at_work(connection: Connection, project_id: int, user_id: int) -> VisitAtWork | None:
    """The newest open visit of somebody in a project; None where there is none."""
    query = (
        select(crowd_visit.c.id, crowd_visit.c.link_id, crowd_link.c.target)
        .join(crowd_link, crowd_link.c.id == crowd_visit.c.link_id)
        .where(
            crowd_visit.c.user_id == user_id,
            crowd_link.c.project_id == project_id,
            crowd_visit.c.outcome == "working",
        )
        .order_by(crowd_visit.c.seen_at.desc(), crowd_visit.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    tally = connection.execute(_tallies().where(crowd_visit.c.id == row.id)).first()
    done, skipped = (tally.done, tally.skipped) if tally else (0, 0)
    return VisitAtWork(visit_id=row.id, link_id=row.link_id, target=row.target, done=done, skipped=skipped)


def complete(connection: Connection, project_id: int, user_id: int, name: str, visit: VisitAtWork) -> None:
    """Writes down that a visit has given what was asked for; its member gets no more work."""
    now = time.time()
    connection.execute(
        update(crowd_visit).where(crowd_visit.c.id == visit.visit_id).values(outcome="completed", ended_at=now)
    )
    member = tables.membership.c
    connection.execute(
        update(tables.membership)
        .where(member.project_id == project_id, member.user_id == user_id)
        .values(state="completed", state_since=now)
    )
    actor = Actor(user_id=user_id, name=name, role="annotator")
    detail = {"link": visit.link_id, "judgments": visit.done}
    audit.record(connection, actor, "crowd completed", project_id=project_id, subject=name, detail=detail)


def read_visits(connection: Connection, project_id: int, link_id: int | None = None) -> list[Visit]:
    """Everybody who opened a link of a project, the newest first."""
    member = tables.membership.c
    query = (
        select(
            crowd_visit,
            tables.user.c.name.label("person"),
            member.state,
            crowd_link.c.dropout_minutes,
        )
        .select_from(crowd_visit)
        .join(crowd_link, crowd_link.c.id == crowd_visit.c.link_id)
        .outerjoin(tables.user, tables.user.c.id == crowd_visit.c.user_id)
        .outerjoin(tables.membership, and_(member.user_id == crowd_visit.c.user_id, member.project_id == project_id))
        .where(crowd_link.c.project_id == project_id)
        .order_by(crowd_visit.c.started_at.desc(), crowd_visit.c.id.desc())
    )
    tallies = _tallies().where(crowd_link.c.project_id == project_id)
    if link_id is not None:
        query, tallies = query.where(crowd_link.c.id == link_id), tallies.where(crowd_link.c.id == link_id)
    tally = {row.id: row for row in connection.execute(tallies)}
    return [_visit(row, tally.get(row.id)) for row in connection.execute(query)]


def _visit(row: Row, tally: Row | None) -> Visit:
    done = tally.done if tally else 0
    last_at = float(tally.last_at) if tally else 0.0
    return Visit(
        link_id=row.link_id,
        platform_id=row.platform_id,
        person=row.person or "",
        outcome=_outcome(row, done, last_at),
        judgments=done,
        seconds=float(tally.seconds) if tally else 0.0,
        started_at=row.started_at,
        last_at=last_at,
        ended_at=row.ended_at or 0.0,
        parameters=row.parameters,
    )


def _outcome(row: Row, done: int, last_at: float) -> Outcome:
    if row.outcome in ("completed", "over_quota"):
        return row.outcome
    if row.state in SCREENED_OUT:
        return "screened_out"
    quiet = max(row.seen_at, last_at) < time.time() - 60.0 * row.dropout_minutes
    if row.state is None or quiet:
        return "dropped_out"
    return "working" if done else "started"


def places_taken(connection: Connection, project_id: int, link_id: int, but: str) -> int:
    """How many people hold a place of a link: they completed or are at it; one platform id is left out."""
    held: tuple[Outcome, ...] = ("started", "working", "completed")
    visits = read_visits(connection, project_id, link_id)
    return sum(visit.outcome in held and visit.platform_id != but for visit in visits)
