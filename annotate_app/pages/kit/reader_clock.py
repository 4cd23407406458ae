"""Times as the reader's own clock shows them: all pages use the time zone of the browser."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


def reader_zone() -> tzinfo:
    """The time zone of the reader's browser, UTC where it names none that is known here."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def zone_name() -> str:
    """The name of the zone, as `Europe/Berlin`; said once where times are shown."""
    return str(reader_zone())


def reader_time(at: float) -> datetime:
    """A unix time on the reader's clock."""
    return datetime.fromtimestamp(at, reader_zone())


def minute_of(at: float) -> str:
    """A unix time to the minute, `2026-11-30 09:45`."""
    return f"{reader_time(at):%Y-%m-%d %H:%M}"
