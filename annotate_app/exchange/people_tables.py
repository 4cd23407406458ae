"""Tables about people as CSV: time and pay, visits by a crowd link, fields. A text never runs as a formula."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from annotate_app.store.people.crowd_visits import Visit
from annotate_app.store.people.pay import PersonPay
from annotate_app.times import Period, named_zone
from rewardkit.data.tables.csv_rows import guard

PAY_COLUMNS = (
    "person",
    "origin",
    "group",
    "judgments",
    "answers",
    "minutes",
    "median_seconds",
    "hourly_rate",
    "currency",
    "amount",
    "first_at",
    "last_at",
    "beyond_clock_minutes",
    "from",
    "to",
    "time_zone",
)


VISIT_COLUMNS = (
    "platform_id",
    "outcome",
    "person",
    "link",
    "judgments",
    "minutes",
    "started_at",
    "last_at",
    "ended_at",
)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV table; numbers that are not finite are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(guard, columns))
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def pay_csv(people: Sequence[PersonPay], period: Period) -> str:
    """Time and pay, one person a line; times are ISO in the period's zone."""
    return csv_text(PAY_COLUMNS, (_pay_row(person, period) for person in people))


def _pay_row(person: PersonPay, period: Period) -> tuple[object, ...]:
    return (
        person.name,
        person.origin,
        person.group,
        person.judgments,
        person.answers,
        round(person.minutes, 2),
        round(person.median_s, 1),
        person.rate,
        person.currency,
        f"{person.amount:.2f}",
        iso_time(person.first_at, period.zone),
        iso_time(person.last_at, period.zone),
        round(person.beyond_clock_s / 60, 2),
        period.first.isoformat(),
        period.last.isoformat(),
        period.zone,
    )


def fields_csv(fields: Mapping[str, Mapping[str, str]]) -> str:
    """Fields of people, one person a line."""
    names = sorted({name for values in fields.values() for name in values})
    return csv_text(
        ("person", *names), ([person, *(of.get(name, "") for name in names)] for person, of in fields.items())
    )


def visits_csv(visits: Sequence[Visit]) -> str:
    """Visits by crowd links, one a line; times are ISO in UTC, other parameters of the address have columns."""
    others = sorted({name for visit in visits for name in visit.parameters})
    return csv_text((*VISIT_COLUMNS, *others), (_visit_row(visit, others) for visit in visits))


def _visit_row(visit: Visit, others: Sequence[str]) -> tuple[object, ...]:
    times = (iso_time(at) for at in (visit.started_at, visit.last_at, visit.ended_at))
    minutes = round(visit.seconds / 60, 2)
    values = (visit.platform_id, visit.outcome, visit.person, visit.link_id, visit.judgments, minutes, *times)
    return (*values, *(visit.parameters.get(name, "") for name in others))


def iso_time(at: float, zone: str = "UTC") -> str:
    """A unix time in a zone, to the second; empty for 0, unknown."""
    return datetime.fromtimestamp(at, named_zone(zone)).isoformat(timespec="seconds") if at else ""


def _cell(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return guard(value) if isinstance(value, str) else value
