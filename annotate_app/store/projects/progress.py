"""How far a project is: slots by state, judgments by day and by member. Counted in the database."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection, Integer, case, cast, func, select, text

from annotate_app.store.base.answers import MADE_AT, SPENT_S
from annotate_app.store.base.database import read_pairs
from annotate_app.store.base.pending import COMPARISON_COUNTED, JUDGMENT_SHOWN, SLOT_SHOWN_OF_MANY, SLOT_STATE
from annotate_app.store.base.slots import JUDGED, LEASED
from annotate_app.store.schema import tables


@dataclass(frozen=True, kw_only=True)
class MemberProgress:
    """One annotator's newest judgments: their number, the active seconds in them, the unix time of the last (or 0)."""

    user_id: int
    name: str
    num_judgments: int
    seconds: float
    last_at: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Figures of a project. Excluded comparisons are in none but those of the work that people did.

    Attributes:
        num_comparisons: all, gold items included.
        num_complete: those with all judgments that the design asks for.
        slots_wanted, slots_judged, slots_leased: work slots; checks are not counted.
        at_work: names of those who hold a pair that has not run out, in order.
        judgments_by_day: (day in UTC, number of judgments that count today), oldest first; those of an unknown time are
            in none.
    """

    num_comparisons: int
    num_complete: int
    slots_wanted: int
    slots_judged: int
    slots_leased: int
    at_work: list[str]
    judgments_by_day: list[tuple[date, int]]
    by_member: list[MemberProgress]


def read_progress(connection: Connection, project_id: int) -> Progress:
    """Counts in one consistent state."""
    slot = tables.slot.c
    excluded = select(tables.comparison.c.id).where(tables.comparison.c.project_id == project_id, text(tables.EXCLUDED))
    counted = slot.comparison_id.not_in(excluded)
    work = (slot.project_id == project_id, slot.kind == "work", counted, SLOT_SHOWN_OF_MANY)
    states = read_pairs(connection, select(SLOT_STATE, func.count()).where(*work).group_by(SLOT_STATE))
    complete = (
        select(slot.comparison_id)
        .where(*work)
        .group_by(slot.comparison_id)
        .having(func.sum(case((SLOT_STATE == JUDGED, 0), else_=1)) == 0)
        .subquery()
    )
    chosen = (tables.comparison.c.project_id == project_id, COMPARISON_COUNTED)
    return Progress(
        num_comparisons=connection.execute(
            select(func.count()).select_from(tables.comparison).where(*chosen)
        ).scalar_one(),
        num_complete=connection.execute(select(func.count()).select_from(complete)).scalar_one(),
        slots_wanted=sum(states.values()),
        slots_judged=states.get(JUDGED, 0),
        slots_leased=states.get(LEASED, 0),
        at_work=_at_work(connection, project_id),
        judgments_by_day=_by_day(connection, project_id),
        by_member=_by_member(connection, project_id),
    )


def _at_work(connection: Connection, project_id: int) -> list[str]:
    slot, name = tables.slot.c, tables.user.c.name
    query = select(name).distinct().join(tables.slot, slot.user_id == tables.user.c.id).order_by(name)
    live = (slot.project_id == project_id, slot.state == LEASED, slot.leased_until > time.time())
    return list(connection.scalars(query.where(*live)))


def _counted(project_id: int):  # noqa: ANN202 (SQL conditions)
    columns = tables.judgment.c
    return (columns.project_id == project_id, columns.newest, columns.choice != "withdrawn", JUDGMENT_SHOWN)


def _by_day(connection: Connection, project_id: int) -> list[tuple[date, int]]:
    days = MADE_AT / 86_400.0
    # SQLite's CAST cuts the fraction off, PostgreSQL's rounds; floor is not in every SQLite.
    day = cast(days, Integer) if connection.dialect.name == "sqlite" else cast(func.floor(days), Integer)
    query = select(day.label("day"), func.count()).where(*_counted(project_id), MADE_AT > 0).group_by(day).order_by(day)
    return [(datetime.fromtimestamp(number * 86_400, UTC).date(), count) for number, count in connection.execute(query)]


def _by_member(connection: Connection, project_id: int) -> list[MemberProgress]:
    columns, account = tables.judgment.c, tables.user.c
    query = (
        select(
            account.id.label("user_id"),
            account.name,
            func.count().label("num_judgments"),
            func.sum(SPENT_S).label("seconds"),
            func.max(MADE_AT).label("last_at"),
        )
        .join(tables.user, account.id == columns.user_id)
        .where(*_counted(project_id))
        .group_by(account.id, account.name)
        .order_by(account.name)
    )
    return [MemberProgress(**row) for row in connection.execute(query).mappings()]
