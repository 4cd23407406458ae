"""Time at work and what is paid for it.

Time worked is paid: every answer counts with the active seconds that it took, checks, repeats, the qualification round,
skips and answers that were undone or changed later among them; an edit adds its own seconds. Imported
judgments are nobody's time. `judgments` counts what stands and is no skip. An amount is rounded once, for the payment.

The seconds are the browser's word. Where somebody's seconds of a day are more than the time between the start of the
first answer and the last, the surplus is shown as `beyond_clock_s`; nothing is taken off by itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
from sqlalchemy import Connection, func, select, update

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design, check_hourly_rate
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database
from annotate_app.store.base.rights import require_member
from annotate_app.store.schema import tables
from annotate_app.times import Period

_judgment = tables.judgment.c


@dataclass(frozen=True, kw_only=True)
class PersonPay:
    """Somebody's time in a period.

    Attributes:
        judgments: that stand and are no skips; `answers` are all that took time, skips and undone ones too.
        seconds: active ones; `by_day` has them by day of the period.
        median_s: seconds of the answer in the middle, NaN without any.
        rate: for an hour; `own_rate` is that of the person alone, None where the project's counts.
        amount: of the payment, rounded to two decimals.
        first_at, last_at: unix time of the first and the last answer.
        beyond_clock_s: seconds that are more than the clock allows for.
    """

    user_id: int
    name: str
    origin: str
    group: str
    judgments: int
    answers: int
    seconds: float
    median_s: float
    rate: float
    own_rate: float | None
    currency: str
    amount: float
    first_at: float
    last_at: float
    beyond_clock_s: float
    by_day: Mapping[date, float]

    @property
    def minutes(self) -> float:
        return self.seconds / 60

    def as_dict(self) -> dict[str, object]:
        """Plain values, without the days."""
        values = asdict(self) | {"minutes": self.minutes}
        return {name: value for name, value in values.items() if name != "by_day"}


def payment(seconds: float, rate: float) -> float:
    """What active seconds come to at a rate for an hour: rounded half up to two decimals, once."""
    exact = Decimal(str(seconds)) * Decimal(str(rate)) / 3600
    return float(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


class Pay:
    """Reads time and pay, and sets the rate of a person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def people(self, actor: Actor, project_id: int, period: Period) -> list[PersonPay]:
        """Everybody who worked in a period, and members who did not, by name. Lead or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading time and pay", "lead")
            design, own_rates = _rates(connection, project_id)
            accounts = {row.id: row for row in connection.execute(_accounts(project_id))}
            work = _read_work(connection, project_id, period)
        people = []
        for user_id in sorted(accounts, key=lambda user_id: accounts[user_id].name):
            answers = work.get(user_id, [])
            if answers or accounts[user_id].is_member:
                people.append(_person(accounts[user_id], answers, period, design, own_rates.get(user_id)))
        return people

    def set_rate(self, actor: Actor, project_id: int, user_id: int, rate: float | None) -> None:
        """Sets what an hour of one member is worth; None goes back to the project's rate. Lead or above.

        Raises:
            ValueError: if it is no rate, or the person is no member.
        """
        if rate is not None:
            check_hourly_rate(rate)
        columns = tables.membership.c
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "setting a rate", "lead")
            chosen = (columns.project_id == project_id, columns.user_id == user_id)
            if not connection.execute(update(tables.membership).where(*chosen).values(hourly_rate=rate)).rowcount:
                raise ValueError(f"user {user_id} is not a member of project {project_id}")
            name = connection.execute(select(tables.user.c.name).where(tables.user.c.id == user_id)).scalar_one()
            audit.record(connection, actor, "rate", project_id=project_id, subject=name, detail={"hourly_rate": rate})


def own_rate(connection: Connection, project_id: int, user_id: int, design: Design) -> float:
    """What an hour of one member is worth."""
    columns = tables.membership.c
    query = select(columns.hourly_rate).where(columns.project_id == project_id, columns.user_id == user_id)
    rate = connection.execute(query).scalar()
    return design.hourly_rate if rate is None else rate


def _rates(connection: Connection, project_id: int) -> tuple[Design, dict[int, float]]:
    """The project's design, and the rates of people who have one of their own."""
    design = connection.execute(select(tables.project.c.design).where(tables.project.c.id == project_id)).scalar_one()
    columns = tables.membership.c
    query = select(columns.user_id, columns.hourly_rate).where(
        columns.project_id == project_id, columns.hourly_rate.is_not(None)
    )
    return Design.from_dict(design), {row.user_id: row.hourly_rate for row in connection.execute(query)}


def _accounts(project_id: int):  # noqa: ANN202 (a select)
    """Accounts of people who may have worked here, not those that only files name."""
    member, account = tables.membership.c, tables.user.c
    joined = (member.user_id == account.id) & (member.project_id == project_id)
    return (
        select(
            account.id,
            account.name,
            account.origin,
            func.coalesce(member.group_name, "").label("group"),
            member.user_id.is_not(None).label("is_member"),
        )
        .outerjoin(tables.membership, joined)
        .where(account.origin != "imported")
    )


def _read_work(connection: Connection, project_id: int, period: Period) -> dict[int, list[tuple[float, float, bool]]]:
    """By person, of each row: when, how many seconds, and whether it is a judgment that stands."""
    query = (
        select(_judgment.user_id, _judgment.created_at, _judgment.seconds, _judgment.choice, _judgment.newest)
        .where(
            _judgment.project_id == project_id,
            _judgment.kind != "import",
            _judgment.choice != "withdrawn",
            _judgment.created_at >= period.start,
            _judgment.created_at < period.end,
        )
        .order_by(_judgment.id)
    )
    work: dict[int, list[tuple[float, float, bool]]] = defaultdict(list)
    for row in connection.execute(query):
        work[row.user_id].append((row.created_at, row.seconds, row.newest and row.choice != "skip"))
    return work


def _person(account, answers, period: Period, design: Design, own_rate: float | None) -> PersonPay:  # noqa: ANN001 (rows)
    days: dict[date, list[tuple[float, float, bool]]] = defaultdict(list)
    for answer in answers:
        days[period.day_of(answer[0])].append(answer)
    seconds = math.fsum(answer[1] for answer in answers)
    rate = design.hourly_rate if own_rate is None else own_rate
    return PersonPay(
        user_id=account.id,
        name=account.name,
        origin=account.origin,
        group=account.group,
        judgments=sum(answer[2] for answer in answers),
        answers=len(answers),
        seconds=seconds,
        median_s=float(np.median([answer[1] for answer in answers])) if answers else math.nan,
        rate=rate,
        own_rate=own_rate,
        currency=design.currency,
        amount=payment(seconds, rate),
        first_at=min((answer[0] for answer in answers), default=0.0),
        last_at=max((answer[0] for answer in answers), default=0.0),
        beyond_clock_s=math.fsum(_beyond_clock(day) for day in days.values()),
        by_day={day: math.fsum(answer[1] for answer in parts) for day, parts in days.items()},
    )


def _beyond_clock(answers: list[tuple[float, float, bool]]) -> float:
    """Seconds of a day that are more than the time from the start of its first answer to its last."""
    first_at, first_s, _ = answers[0]
    on_the_clock = max(answer[0] for answer in answers) - (first_at - first_s)
    return max(0.0, math.fsum(answer[1] for answer in answers) - on_the_clock)
