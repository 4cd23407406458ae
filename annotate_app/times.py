"""Formats times and durations for people, and cuts time into their days, weeks and months."""

from __future__ import annotations

import time
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as clock
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def ago(at: float) -> str:
    """Formats how long ago a unix time was, in one unit; 0 is an unknown time."""
    if not at:
        return "at an unknown time"
    return "just now" if time.time() - at < 5 else f"{duration(time.time() - at)} ago"


def duration(seconds: float) -> str:
    """A span in its largest fitting unit: `45 s`, `3 min`, `2 h`, `5 days`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0):.1f} s"


def stamp(at: float, zone: tzinfo = UTC) -> str:
    """A unix time as date and time in a zone; 0 is an unknown time."""
    return "unknown" if not at else datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


PERIODS = ("day", "week", "month")


@dataclass(frozen=True, kw_only=True)
class Period:
    """Whole days in a named time zone.

    Attributes:
        first, last: the days, both included.
        zone: name of the zone, such as Europe/Berlin.
    """

    first: date
    last: date
    zone: str

    def __post_init__(self) -> None:
        named_zone(self.zone)
        if self.last < self.first:
            raise ValueError(f"the period ends on {self.last}, before it begins on {self.first}")

    @classmethod
    def around(cls, day: date, length: str, zone: str) -> Period:
        """The day, the week from Monday, or the month that a day lies in."""
        match length:
            case "day":
                return cls(first=day, last=day, zone=zone)
            case "week":
                first = day - timedelta(days=day.weekday())
                return cls(first=first, last=first + timedelta(days=6), zone=zone)
            case "month":
                return cls(
                    first=day.replace(day=1), last=day.replace(day=monthrange(day.year, day.month)[1]), zone=zone
                )
            case _:
                raise ValueError(f"period is {length!r}, allowed are {', '.join(PERIODS)}")

    @property
    def start(self) -> float:
        """Unix time of its first moment."""
        return datetime.combine(self.first, clock.min, named_zone(self.zone)).timestamp()

    @property
    def end(self) -> float:
        """Unix time of the first moment after it."""
        return datetime.combine(self.last + timedelta(days=1), clock.min, named_zone(self.zone)).timestamp()

    def day_of(self, at: float) -> date:
        """The day that a unix time falls on."""
        return datetime.fromtimestamp(at, named_zone(self.zone)).date()


def named_zone(name: str) -> ZoneInfo:
    """The time zone of a name; a ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"time zone is {name[:60]!r}, allowed are names such as UTC or Europe/Berlin") from error


def today(zone: str) -> date:
    """The day that it is in a time zone."""
    return datetime.now(named_zone(zone)).date()


def read_day(text: str, name: str) -> date:
    """A day written as 2026-11-30; `name` says in an error what it was for."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{name} is {text[:40]!r}, allowed is a day such as 2026-11-30") from error
