"""When a judgment was made and how long it took: as files write it, and as a database may hold it.

Files write times as unix seconds, as milliseconds and finer, and as text; which unit a number has is told by its size.
What cannot be meant is refused, since a wrong time would decide which of two answers is the newer one.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from rewardkit.data.conversations import RowError

DAY_S = 86_400.0
LAST_TIME = 4_102_444_800.0
"""1 January 2100: a database holds no time from then on, whatever the clock of the machine says."""
LONGEST_S = DAY_S
"""Longest time on one judgment that a file may say; beyond it the unit is another one, or a page was left open."""
LONGEST_STORED_S = 1e9

# Number from which on a unix time is in that unit: 1973 in it, and the year 5138 in the unit before.
UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))
TIMES = (
    "allowed are unix seconds (also ms, µs or ns), an ISO 8601 date and time (UTC where it names no zone) and an "
    "RFC 2822 date, after 1970 and not in the future"
)
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_ZONE = r"(?:GMT|UTC|UT|Z|[+-]\d{4}|[ECMP][SD]T)"
# `email.utils` reads more than it understands (7:49 PM as the morning), so only these two forms reach it:
# "Mon, 01 Jul 2024 19:49:02 +0000", and "Mon Jul 01 12:49:02 PDT 2024", as Mechanical Turk writes it.
_RFC_2822 = re.compile(rf"(?:[A-Z][a-z][a-z], )?\d\d? {_MONTH} \d{{4}} \d\d:\d\d(?::\d\d)? {_ZONE}")
_C_LIBRARY = re.compile(rf"[A-Z][a-z][a-z] {_MONTH} +\d\d? \d\d:\d\d:\d\d(?: {_ZONE})? \d{{4}}")
_COMPACT_DAY = re.compile(r"(?:19|20)\d{6}(?:\.0)?")

DURATIONS = f"allowed are seconds, 0 to {LONGEST_S:.0f} (one day), or a span such as 0:01:30, 90 s or 1500 ms"
_SPAN = re.compile(r"(?:(\d+) days?,? )?(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?")
_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|seconds?|min|minutes?|h|hours?)")
_UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def read_time(value: object, field: str) -> float:
    """Unix seconds, from a number of seconds, milliseconds, microseconds or nanoseconds, or from a date as text.

    A date without a zone is UTC. A number of eight digits that is a day (20240701) is read as that day.

    Raises:
        RowError: bad_number, for what is no time, or none at which a judgment can have been made: numbers that would
            lie before March 1973 (counts of seconds, days of a spreadsheet), 1970 itself and the future.
    """
    moment = _read_moment(value)
    if moment is None or not 0 < moment <= time.time() + DAY_S:
        raise RowError("bad_number", field, value, TIMES)
    return moment


def _read_moment(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, datetime):
        return _timestamp(value)
    text = str(value).strip()
    if _COMPACT_DAY.fullmatch(text):
        return _read_date(text.removesuffix(".0"))
    try:
        number = float(text)
    except ValueError:
        return _read_date(text)
    return next((number / size for least, size in UNITS if least <= number < math.inf), None)


def _read_date(text: str) -> float | None:
    try:
        if _RFC_2822.fullmatch(text) or _C_LIBRARY.fullmatch(text):
            return _timestamp(parsedate_to_datetime(text))
        return _timestamp(datetime.fromisoformat(re.sub(r" ?(?:UTC|GMT)$", "+00:00", text)))
    except ValueError:
        return None


def _timestamp(moment: datetime) -> float | None:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):  # the ends of the calendar, and the "not a time" of pandas
        return None


def read_duration(value: object, field: str) -> float:
    """Seconds, from a number of them or from a span as text; at most a day.

    Raises:
        RowError: bad_number, for anything else.
    """
    seconds = None if isinstance(value, bool) else _read_seconds(value)
    if seconds is None or not 0 <= seconds <= LONGEST_S:
        raise RowError("bad_number", field, value, DURATIONS)
    return seconds


def _read_seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    text = str(value).strip()
    if span := _SPAN.fullmatch(text):
        days, hours, minutes, seconds = (float(part or 0) for part in span.groups())
        if span[4] is None:  # "1:30" may be minutes or hours
            return None
        return days * DAY_S + hours * 3600 + minutes * 60 + seconds
    if measured := _WITH_UNIT.fullmatch(text):
        unit = measured[2]
        return float(measured[1]) * _UNIT_S[unit if unit == "ms" else unit[0]]
    try:
        return float(text)
    except ValueError:
        return None


def stored_time(value: object) -> float:
    """A time from a database as unix seconds; 0.0, which means unknown, for what is none."""
    return float(value) if isinstance(value, int | float) and 0 < value < LAST_TIME else 0.0


def stored_duration(value: object) -> float:
    """A duration from a database in seconds; 0.0 for what is none."""
    return float(value) if isinstance(value, int | float) and 0 < value <= LONGEST_STORED_S else 0.0
