"""Formats times and durations for people."""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo


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
