"""Time at work and pay: what counts, in whose days, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import update

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.people.pay import payment
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from annotate_app.times import Period

ADMIN = Actor.command_line()
ALL = Period(first=date(2026, 11, 1), last=date(2026, 11, 30), zone="UTC")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def date_rows(store: Store, times: list[str]) -> None:
    """Sets when the judgments were made, in the order in which they were."""
    with store.database.write() as connection:
        for number, text in enumerate(times, 1):
            chosen = update(tables.judgment).where(tables.judgment.c.id == number)
            connection.execute(chosen.values(created_at=at(text)))


def test_all_time_worked_is_paid_and_an_amount_is_rounded_once(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor], answer: Callable
) -> None:
    project = make_project(store)
    store.projects.update(ADMIN, project.id, design=replace(project.design, hourly_rate=10.0, currency="EUR"))
    anna = make_actor(store, "annotator", "anna", project)
    lease = store.work.lease(anna, project.id, count=1)[0]
    lease = answer(store, anna, project, lease, "a", seconds=10.0, lease_count=1).leases[0]  # is undone
    undone = store.work.undo(anna, project.id)
    assert undone is not None
    answer(store, anna, project, undone, "b", seconds=20.0, lease_count=1)
    lease = store.work.lease(anna, project.id, count=1)[0]
    answer(store, anna, project, lease, "skip", seconds=7.0, lease_count=1)
    (first, *_) = [own for own in store.work.history(anna, project.id) if own.judgment.choice == "b"]
    edit, _ = store.work.reopen(anna, project.id, first.judgment_id)
    answer(store, anna, project, edit, "a", seconds=5.5, lease_count=1)
    # ids 1 answer, 2 its tombstone, 3 the answer instead, 4 the skip, 5 the edit: 10 + 20 + 7 + 5.5 = 42.5 s
    date_rows(store, [f"2026-11-30T10:0{minute}:00" for minute in range(5)])
    (person,) = [one for one in store.pay.people(ADMIN, project.id, ALL) if one.name == "anna"]
    assert (person.judgments, person.answers, person.seconds) == (1, 4, 42.5)
    assert person.median_s == 8.5  # of 5.5, 7, 10, 20
    assert person.amount == 0.12  # 42.5 / 3600 * 10 = 0.11806; by row: 0.03 + 0.06 + 0.02 + 0.02 = 0.13
    own = store.work.own_day(anna, project.id, at("2026-11-30T00:00:00"))
    assert (own.num_pairs, own.active_s, own.earned) == (1, 42.5, "0.12 EUR")
    assert store.work.own_day(anna, project.id, at("2026-11-30T10:02:00")).active_s == 32.5


def test_a_rate_of_ones_own_goes_before_the_projects(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor], answer: Callable
) -> None:
    project = make_project(store)
    store.projects.update(ADMIN, project.id, design=replace(project.design, hourly_rate=12.0))
    anna, bob = (make_actor(store, "annotator", name, project) for name in ("anna", "bob"))
    for actor in (anna, bob):
        answer(store, actor, project, store.work.lease(actor, project.id, count=1)[0], seconds=300.0)
    date_rows(store, ["2026-11-30T10:10:00"] * 2)
    assert anna.user_id is not None
    store.pay.set_rate(ADMIN, project.id, anna.user_id, 30.0)
    amounts = {one.name: (one.rate, one.own_rate, one.amount) for one in store.pay.people(ADMIN, project.id, ALL)}
    assert amounts["anna"] == (30.0, 30.0, 2.5)
    assert amounts["bob"] == (12.0, None, 1.0)
    assert store.work.own_day(anna, project.id, 0.0).earned == "2.50"
    assert store.audit.list(ADMIN, project.id)[0].action == "rate"
    store.pay.set_rate(ADMIN, project.id, anna.user_id, None)
    assert store.work.own_day(anna, project.id, 0.0).earned == "1.00"
    store.projects.update(ADMIN, project.id, design=replace(project.design, hourly_rate=0.0))
    assert store.work.own_day(anna, project.id, 0.0).earned == ""
    for rate in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="allowed is 0 to 1,000,000"):
            store.pay.set_rate(ADMIN, project.id, anna.user_id, rate)
    with pytest.raises(ValueError, match="not a member"):
        store.pay.set_rate(ADMIN, project.id, 999, 1.0)


def test_days_are_those_of_the_zone(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor], answer: Callable
) -> None:
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    for seconds in (60.0, 120.0):
        answer(store, anna, project, store.work.lease(anna, project.id, count=1)[0], seconds=seconds)
    # 23:30 UTC is already the next day in Berlin, and still the same in New York
    date_rows(store, ["2026-11-29T23:30:00", "2026-11-30T12:00:00"])
    for zone, expected in (
        ("UTC", {date(2026, 11, 29): 60.0, date(2026, 11, 30): 120.0}),
        ("Europe/Berlin", {date(2026, 11, 30): 180.0}),
    ):
        period = Period(first=date(2026, 11, 1), last=date(2026, 11, 30), zone=zone)
        assert next(one for one in store.pay.people(ADMIN, project.id, period) if one.name == "anna").by_day == expected
    one_day = Period(first=date(2026, 11, 29), last=date(2026, 11, 29), zone="UTC")
    assert next(one for one in store.pay.people(ADMIN, project.id, one_day) if one.name == "anna").seconds == 60.0


def test_more_seconds_than_the_clock_allows_are_shown_and_not_taken_off(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor], answer: Callable
) -> None:
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    for seconds in (60.0, 3600.0):
        answer(store, anna, project, store.work.lease(anna, project.id, count=1)[0], seconds=seconds)
    date_rows(store, ["2026-11-30T10:00:00", "2026-11-30T10:02:00"])
    person = next(one for one in store.pay.people(ADMIN, project.id, ALL) if one.name == "anna")
    assert person.seconds == 3660.0
    assert person.beyond_clock_s == 3660.0 - 180.0  # from 09:59 to 10:02


def test_imported_judgments_are_nobodys_time(store: Store, make_project: Callable[..., Project]) -> None:
    from rewardkit.data.records import Judgment

    project = make_project(store)
    votes = [Judgment(comparison_id="c0", annotator="file", choice="tie", seconds=500.0, created_at=ALL.start + 5)]
    store.judgments.import_many(ADMIN, project.id, votes)
    assert store.pay.people(ADMIN, project.id, ALL) == []


def test_pay_is_for_leads(store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]) -> None:
    project = make_project(store)
    anna, eve = make_actor(store, "annotator", "anna", project), make_actor(store, "lead", "eve")
    for actor in (anna, eve):
        with pytest.raises(AccessError):
            store.pay.people(actor, project.id, ALL)
        with pytest.raises(AccessError):
            store.pay.set_rate(actor, project.id, 1, 1.0)


@pytest.mark.parametrize(
    ("seconds", "rate", "amount"), [(3600.0, 12.5, 12.5), (9.0, 1.0, 0.0), (18.0, 1.0, 0.01), (1.8, 10.0, 0.01)]
)
def test_a_payment_is_rounded_half_up(seconds: float, rate: float, amount: float) -> None:
    assert payment(seconds, rate) == amount


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hourly_rate": -1.0}, "hourly_rate is -1.0"),
        ({"hourly_rate": float("nan")}, "hourly_rate is nan"),
        ({"currency": "MORE THAN EIGHT"}, "currency is"),
        ({"currency": "E\nR"}, "currency is"),
    ],
)
def test_a_design_refuses_what_is_no_pay(values: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Design(**values)


def test_periods_are_whole_days_weeks_and_months() -> None:
    day = date(2026, 3, 29)  # clocks go forward in Berlin: 23 hours
    for length, first, last, hours in (
        ("day", day, day, 23),
        ("week", date(2026, 3, 23), day, 7 * 24 - 1),
        ("month", date(2026, 3, 1), date(2026, 3, 31), 31 * 24 - 1),
    ):
        period = Period.around(day, length, "Europe/Berlin")
        assert (period.first, period.last, (period.end - period.start) / 3600) == (first, last, hours)
    for zone in ("Europe/Nowhere", "../../etc/passwd", "", "\x00"):
        with pytest.raises(ValueError, match="time zone is"):
            Period(first=day, last=day, zone=zone)
    with pytest.raises(ValueError, match="before it begins"):
        Period(first=day, last=date(2026, 3, 28), zone="UTC")
