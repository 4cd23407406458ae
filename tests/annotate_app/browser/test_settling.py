"""Settling disagreement and writing the rubric in a real browser, on the screen of a small laptop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import load_protocol
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ADMIN = Actor.command_line()
LAPTOP = {"width": 1280, "height": 720}


@pytest.fixture
def desk_project(sqlite_url: str, add_account: Callable[..., Actor], pairs: Callable[[int], list[Comparison]]) -> int:
    """The shipped protocol with three criteria; on c0 two people are at opposite ends, on c1 nearly."""
    lead = add_account("lea", "lead")
    store = Store.open(sqlite_url, migrate=False)
    project = store.projects.create(
        ADMIN, "desk", rubric_text=load_protocol("support_desk").rubric_text, design=Design(overlap=2, min_votes=2)
    )
    alike = [replace(pair, completion_b=f"{pair.completion_a} And sorry.") for pair in pairs(2)]
    store.comparisons.add(ADMIN, project.id, [*alike, pairs(3)[2]])
    store.projects.add_member(ADMIN, project.id, lead.user_id)
    votes = [("c0", "x", "a", 3), ("c0", "y", "b", 3), ("c1", "x", "a", 1), ("c1", "y", "b", 1)]
    store.judgments.import_many(
        ADMIN,
        project.id,
        [
            Judgment(comparison_id=key, annotator=name, choice=choice, strength=strength, criteria={"tone": 0})  # type: ignore[arg-type]
            for key, name, choice, strength in votes
        ],
    )
    store.close()
    return project.id


@pytest.fixture
def open_page(
    chromium: Browser, start_server: Callable, sqlite_url: str, desk_project: int
) -> Iterator[Callable[[str], Page]]:
    """Signs in as the lead and opens a page: `open_page("rubric")`."""
    server = start_server(sqlite_url, "--no-worker")
    context = chromium.new_context(viewport=LAPTOP)  # type: ignore[arg-type]

    def open_at(path: str) -> Page:
        page = context.new_page()
        page.goto(f"{server.url}/{path}")
        page.get_by_label("Name").fill("lea")
        page.get_by_label("Password", exact=True).fill("correct horse battery")
        page.get_by_role("button", name="Sign in").click()
        return page

    yield open_at
    context.close()


def test_the_decision_is_in_view_and_made_by_a_key(
    open_page: Callable[[str], Page], sqlite_url: str, desk_project: int
) -> None:
    page = open_page("adjudicate")
    expect(page.get_by_text("1 of 2: c0")).to_be_visible(timeout=30_000)  # the most contested first
    buttons = page.get_by_test_id("stFormSubmitButton")
    expect(buttons).to_have_count(9)
    lowest = max(box["y"] + box["height"] for box in (button.bounding_box() for button in buttons.all()) if box)
    assert lowest <= LAPTOP["height"]
    page.keyboard.press("d")
    expect(page.locator(".reader mark").first).to_be_visible()
    page.keyboard.press("g")
    expect(page.get_by_role("dialog").get_by_text("What makes a reply better")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    group = page.get_by_role("radiogroup").filter(has_text="tone")
    (group if group.count() else page.get_by_test_id("stButtonGroup").filter(has_text="tone")).get_by_text(
        "B better"
    ).click()
    page.keyboard.press("2")
    expect(page.get_by_text("1 of 1: c1")).to_be_visible()
    with Store.open(sqlite_url, migrate=False) as store:
        decision = store.judgments.adjudications(ADMIN, desk_project)["c0"]
    assert (decision.choice, decision.strength, dict(decision.criteria)) == ("a", 2, {"tone": 1})


def test_a_rubric_is_written_by_fields_and_tried_on_pairs_of_ones_own(
    open_page: Callable[[str], Page], sqlite_url: str, desk_project: int
) -> None:
    page = open_page("rubric")
    title = page.get_by_label("Title", exact=True)
    expect(title).to_have_value("Which reply should the desk send?", timeout=30_000)
    title.fill("Which reply goes out?")
    title.press("Enter")
    expect(page.get_by_role("button", name="Save as version 2")).to_be_enabled(timeout=15_000)
    page.get_by_test_id("stButtonGroup").get_by_text("Try it").click()
    shown = page.locator(".layer.shown")
    expect(shown).to_contain_text("Question 0", timeout=15_000)
    page.keyboard.press("?")
    expect(page.locator("dialog[open] h2").first).to_have_text("Which reply goes out?")
    page.keyboard.press("Escape")
    for key in ("1", "1", "1", "1"):
        page.keyboard.press(key)
    page.wait_for_timeout(450)
    page.keyboard.press("Enter")
    expect(shown).to_contain_text("Question 1")
    expect(page.get_by_text("Nothing was.")).to_be_visible()
    page.get_by_test_id("stButtonGroup").get_by_text("By form").click()
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.get_by_text("Version 2 is in use")).to_be_visible()
    with Store.open(sqlite_url, migrate=False) as store:
        assert store.projects.rubric(ADMIN, desk_project).rubric.title == "Which reply goes out?"
        assert len(list(store.judgments.iterate(ADMIN, desk_project))) == 4, "trying stores nothing"
