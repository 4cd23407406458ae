"""Time on task without idle time, leases renewed while somebody works, and an edit that a reload interrupts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from annotate_app.protocol.collection_design import Design
from annotate_app.store.base.database import Database
from annotate_app.store.schema import tables

pytestmark = pytest.mark.browser


def leased_until(url: str) -> list[float]:
    """When the leases of the database end."""
    database = Database(url)
    with database.read() as connection:
        found = connection.execute(select(tables.slot.c.leased_until).where(tables.slot.c.state == 1)).scalars().all()
    database.close()
    return list(found)


@pytest.fixture
def desk_on_a_clock(start_server: Callable, sqlite_url: str, open_desk: Callable) -> Callable:
    """Opens the labeling page with a clock that only the test moves on: `desk.page.clock.run_for(ms)`."""

    def open_page() -> Any:
        desk = open_desk(start_server(sqlite_url, "--no-worker").url)
        desk.page.clock.install()
        desk.page.reload()
        desk.wait()
        return desk

    return open_page


@pytest.mark.slow
def test_idle_time_is_no_time_on_task(
    desk_on_a_clock: Callable, labeling_project: Callable, judgments_of: Callable, pairs: Callable
) -> None:
    """A key, then 20 s without one, then 5 minutes with the limit at 30 s, and a key: 20 + 30 s, not 320."""
    project = labeling_project(pairs(4), design=Design(overlap=1, idle_s=30))
    desk = desk_on_a_clock()
    desk.press("1")
    desk.page.clock.run_for(20_000)
    desk.press("2")
    desk.page.clock.run_for(300_000)
    desk.judge("3", "Enter")
    [judgment] = judgments_of(project)
    assert 50 <= judgment.seconds < 60


@pytest.mark.slow
def test_a_lease_is_renewed_every_minute_while_somebody_works_and_not_when_nobody_does(
    desk_on_a_clock: Callable, labeling_project: Callable, sqlite_url: str, pairs: Callable
) -> None:
    labeling_project(pairs(4), design=Design(overlap=1, lease_s=600))
    desk = desk_on_a_clock()

    def pass_time(seconds: int) -> float:
        """When the leases end after that long; what was sent has arrived."""
        desk.page.clock.run_for(seconds * 1000)
        desk.page.wait_for_timeout(2000)
        return max(leased_until(sqlite_url))

    first = pass_time(70)  # the pair came within this minute, which is a sign of life
    assert pass_time(130) == first  # no key for two minutes
    desk.press("1")
    second = pass_time(10)
    assert second > first
    desk.press("2")
    assert pass_time(40) == second  # at work, but within the minute
    assert pass_time(30) > second


@pytest.mark.slow
def test_an_edit_and_what_was_changed_in_it_survive_a_reload(
    new_desk: Callable, judgments_of: Callable, pairs: Callable
) -> None:
    desk = new_desk(pairs(6))
    desk.judge("1", "Enter")
    desk.judge("2", "Enter")
    desk.press("e")
    desk.page.get_by_role("dialog").get_by_role("button", name="Left much better").click()
    expect(desk.page.locator(".banner")).to_be_visible()
    desk.press("6", "n")
    desk.page.keyboard.type("on second thoughts")
    desk.press("Escape")
    words = desk.shown.inner_text()
    desk.page.reload()
    desk.wait()
    expect(desk.page.locator(".banner")).to_be_visible()
    assert desk.shown.inner_text() == words
    assert desk.checked() == ["Right better"]
    assert desk.page.locator("textarea").input_value() == "on second thoughts"
    desk.page.wait_for_timeout(500)  # an Enter as soon as a pair comes is taken for a double press
    desk.press("Enter")
    expect(desk.page.locator(".banner")).to_be_hidden()
    expect(desk.status).to_have_text("Saved")
    second, edited = judgments_of(desk.project)
    assert (edited.strength, edited.rationale) == (2, "on second thoughts")
    assert edited.choice != edited.shown_left
    assert second.choice == second.shown_left
    desk.page.reload()
    desk.wait()
    expect(desk.page.locator(".banner")).to_be_hidden()
    assert desk.checked() == []


@pytest.mark.slow
def test_an_edit_left_by_escape_or_in_another_tab_does_not_come_back(
    start_server: Callable, sqlite_url: str, labeling_project: Callable, open_desk: Callable, pairs: Callable
) -> None:
    labeling_project(pairs(6))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    desk.judge("1", "Enter")
    desk.press("e")
    desk.page.get_by_role("dialog").get_by_role("button", name="Left much better").click()
    expect(desk.page.locator(".banner")).to_be_visible()
    second = type(desk)(page=desk.page.context.new_page())
    second.page.goto(server.url)
    second.wait()
    expect(second.page.locator(".banner")).to_be_hidden()
    desk.press("Escape")
    expect(desk.page.locator(".banner")).to_be_hidden()
    desk.page.reload()
    desk.wait()
    expect(desk.page.locator(".banner")).to_be_hidden()
