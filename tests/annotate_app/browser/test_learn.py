"""Every lesson in a browser: an annotator opens it, moves its slider by a key and answers its question."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from annotate_app.access import Actor
from annotate_app.lessons.catalogue.catalogue import LESSONS
from annotate_app.lessons.lesson import Choice, Lesson
from annotate_app.lessons.tables import table

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"


def settle(page: Page, lesson: Lesson) -> None:
    """Waits until the page has drawn all of the lesson, and nothing is left of what stood there before."""
    expect(page.get_by_role("link", name=lesson.papers[-1].title)).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=60_000)
    expect(page.locator("[data-stale=true]")).to_have_count(0)


def figures_of(lesson: Lesson, values: dict[str, float]) -> list[str]:
    """What the first table should hold."""
    return [text for row in table(lesson.move(values).figures) for text in row.values()]


def move_first(page: Page, lesson: Lesson) -> dict[str, float]:
    """Moves the first slider by a key, or takes the last of its options; says where the sliders stand then."""
    first = lesson.sliders[0]
    if isinstance(first, Choice):
        page.get_by_role("radiogroup", name=first.label).get_by_text(first.options[-1], exact=True).click()
        return lesson.defaults() | {first.name: len(first.options) - 1}
    to = first.default + (first.step if first.default < first.high else -first.step)
    handle = page.get_by_role("slider", name=first.label)
    handle.focus()
    handle.press("ArrowRight" if to > first.default else "ArrowLeft")
    return lesson.defaults() | {first.name: to}


def answer(page: Page, lesson: Lesson) -> None:
    """Gives the right answer and asks whether it is."""
    right = lesson.question.answer()
    form = page.get_by_test_id("stForm")
    if lesson.question.choices:
        form.get_by_text(str(right), exact=True).click()
    else:
        form.get_by_role("spinbutton").fill(f"{right:.4f}")
        form.get_by_role("spinbutton").press("Tab")
    form.get_by_role("button", name="Check").press("Enter")


@pytest.mark.slow
def test_an_annotator_goes_through_all_lessons(
    start_server: Callable, sqlite_url: str, add_account: Callable[..., Actor], chromium: Browser
) -> None:
    pytest.importorskip("torch")
    add_account("anna")
    server = start_server(sqlite_url, "--no-worker")
    page = chromium.new_context(viewport={"width": 1400, "height": 900}, locale="en-GB").new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/learn?lesson={LESSONS[0].key}")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    for place, lesson in enumerate(LESSONS):
        expect(page.get_by_role("heading", name=lesson.title, exact=True)).to_be_visible(timeout=120_000)
        settle(page, lesson)
        assert f"lesson={lesson.key}" in page.url
        figures = page.get_by_test_id("stTable").first.locator("tbody td")
        expect(figures).to_have_text(figures_of(lesson, lesson.defaults()))
        expect(figures).to_have_text(figures_of(lesson, move_first(page, lesson)))
        settle(page, lesson)
        expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
        answer(page, lesson)
        expect(page.get_by_text("Right.", exact=True)).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
        if place + 1 < len(LESSONS):
            page.get_by_role("button", name="Next", exact=True).press("Enter")
    assert errors == []
    page.context.close()
