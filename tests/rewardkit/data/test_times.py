"""Times and durations as files write them: every unit and form reads as the same moment, what is none is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from rewardkit.data.conversations import RowError
from rewardkit.data.times import read_duration, read_time, stored_duration, stored_time

AT = 1_719_863_342  # 2024-07-01 19:49:02 UTC


@pytest.mark.parametrize(
    "value",
    [
        AT,
        str(AT),
        "1.719863342e9",
        AT * 1_000,
        f"{AT}000.0",
        AT * 1_000_000,
        AT * 1_000_000_000,
        str(AT * 1_000_000_000),
        "2024-07-01T19:49:02Z",
        "2024-07-01 19:49:02",
        "2024-07-01T21:49:02+02:00",
        "2024-07-01T15:49:02-0400",
        "20240701T194902Z",
        "2024-07-01 19:49:02 UTC",
        "2024-07-01 19:49:02.000000000+00:00",
        " 2024-07-01T19:49:02 ",
        "Mon, 01 Jul 2024 19:49:02 GMT",
        "Mon, 1 Jul 2024 21:49:02 +0200",
        "01 Jul 2024 19:49:02 +0000",
        "Mon Jul 01 12:49:02 PDT 2024",
        "Mon Jul  1 19:49:02 2024",
        datetime(2024, 7, 1, 19, 49, 2),
        datetime(2024, 7, 1, 19, 49, 2, tzinfo=UTC),
        pd.Timestamp("2024-07-01 19:49:02"),
        pd.Timestamp("2024-07-01 21:49:02+02:00"),
    ],
)
def test_every_unit_and_form_is_the_same_moment(value: object) -> None:
    assert read_time(value, "created_at") == AT


@pytest.mark.parametrize("value", [20240701, "20240701", "20240701.0", "2024-07-01", "2024-W27-1"])
def test_a_day_is_its_midnight_in_utc(value: object) -> None:
    assert read_time(value, "created_at") == 1_719_792_000


def test_fractions_of_a_second_stay() -> None:
    assert read_time("2024-07-01T19:49:02.250", "created_at") == AT + 0.25
    assert read_time(AT * 1_000 + 250, "created_at") == AT + 0.25


@pytest.mark.parametrize(
    "value",
    [
        *(0, "0", 0.0, -1, "-1719863342", -AT * 1_000, 12.5, "93.2"),  # counts of seconds are no times
        *(45474.8257, "45474", 20249999, 2024, 1_719_863),  # a spreadsheet's days, no day, a year, thousands of seconds
        *(float("nan"), float("inf"), "nan", "inf", "-inf", "NaT", pd.NaT, 1e30, 10**40, "1e400"),
        *(True, False, "true", "yesterday", "19:49:02", "2024-07", "[]", [], {}),
        *("07/01/2024 19:49", "01.07.2024", "Jul 1, 2024, 7:49 PM", "Mon, 01 Jul 2024 19:49:02 XYZ"),
        *("2024-13-01", "2024-02-30", "2024-07-01T25:00:00", "1899-12-30", "1970-01-01", "0001-01-01"),
        *(32_503_680_000, 32_503_680_000_000, "9999-12-31", "3024-07-01T00:00:00Z", datetime.max, 20990101),
        "Mon, 01 Foo 2024 19:49:02 GMT",
    ],
)
def test_what_is_no_time_of_a_judgment_is_refused(value: object) -> None:
    with pytest.raises(RowError, match=r"field created_at is .*: allowed are unix seconds") as caught:
        read_time(value, "created_at")
    assert caught.value.reason == "bad_number"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((0, 0.0), ("4.5", 4.5), (86_400, 86_400.0), (timedelta(minutes=2), 120.0)),
        *(("0:01:30", 90.0), ("01:02:03.5", 3723.5), ("0 days 00:00:12.250000", 12.25)),
        *(("1500 ms", 1.5), ("90s", 90.0), ("2 min", 120.0), ("1 hour", 3600.0)),
    ],
)
def test_durations_are_seconds_or_spans(value: object, seconds: float) -> None:
    assert read_duration(value, "seconds") == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(-1, "-0.5", 86_401, 250_000, float("nan"), "inf", 1e300, 10**40, True, False),
        *("soon", "1:30", "0:61:00", "5 weeks", "2 days 00:00:00", AT, [], timedelta(days=-1)),
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(RowError, match=r"field seconds is .*: allowed are seconds, 0 to 86400"):
        read_duration(value, "seconds")


@pytest.mark.parametrize("value", [AT * 1_000, 1e30, -1.0, float("nan"), float("inf"), "soon", b"", None])
def test_what_a_database_holds_that_is_no_time_is_unknown(value: object) -> None:
    assert stored_time(value) == 0.0
    assert stored_time(AT) == stored_time(float(AT)) == AT


@pytest.mark.parametrize("value", [1e30, -1.0, float("nan"), float("inf"), "soon", None])
def test_what_a_database_holds_that_is_no_duration_is_none(value: object) -> None:
    assert stored_duration(value) == 0.0
    assert stored_duration(4.5) == 4.5
