"""Time and pay: the period in the address, the figures, and a person's own rate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.store.store import Store
from annotate_app.times import Period

pytestmark = pytest.mark.slow

ADMIN = Actor.command_line()
DEMO_DAYS = {"pay-period": "dates", "pay-from": date(2023, 10, 1), "pay-to": date(2023, 12, 1)}


def test_the_page_shows_what_the_store_counts(pages_store: Store, open_page: Callable[..., AppTest]) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    period = Period(first=date(2023, 10, 1), last=date(2023, 12, 1), zone="UTC")
    people = pages_store.pay.people(ADMIN, project.id, period)
    test = open_page("pay", **DEMO_DAYS)
    metrics = {item.label: item.value for item in test.metric}
    assert metrics["Judgments"] == f"{sum(one.judgments for one in people):,}"
    assert metrics["Active hours"] == f"{sum(one.seconds for one in people) / 3600:,.1f}"
    assert metrics["Amount"] == "0.00"
    busiest = max(people, key=lambda one: one.seconds)
    assert test.dataframe[0].value.iloc[0]["person"] == busiest.name
    test.selectbox(key="pay-rate-person").select_index(people.index(busiest))
    test.number_input(key="pay-rate-value").set_value(60.0)
    next(button for button in test.button if button.label == "Set rate").click().run()
    assert not test.exception
    assert {item.label: item.value for item in test.metric}["Amount"] == f"{busiest.seconds / 60:,.2f}"


def test_a_period_without_work_says_so(open_page: Callable[..., AppTest]) -> None:
    test = open_page("pay", **{"pay-period": "day", "pay-day": date(2020, 1, 1)})
    assert [item.value for item in test.info] == ["Nobody worked in this period."]
    assert "Wednesday, 1 January 2020, days of UTC" in test.caption[0].value


def test_the_page_is_for_leads(open_page: Callable[..., AppTest]) -> None:
    test = open_page("pay", "addy")
    assert [item.value for item in test.error] == ["This page is not yours to see."]
