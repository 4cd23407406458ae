"""Tables about people as CSV: time and pay, visits by a crowd link, fields. A text never runs as a formula."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from datetime import datetime

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


def iso_time(at: float, zone: str = "UTC") -> str:
    """A unix time in a zone, to the second; empty for 0, unknown."""
    return datetime.fromtimestamp(at, named_zone(zone)).isoformat(timespec="seconds") if at else ""


def _cell(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return guard(value) if isinstance(value, str) else value
