"""The labeling page gives the screen to the texts, on laptop, desktop and phone; what it says ends with its pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from annotate_app.protocol.protocol import load_protocol
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FOCUSED = """() => {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at.textContent;
}"""


def support_desk(pairs: Callable) -> tuple[list, Rubric]:
    """The shipped protocol with three criteria, and pairs whose prompt and answers are long."""
    prompt = "I ordered a grinder on Monday, it is not here, and your colleague said it would be. " * 12
    long = [
        replace(pair, prompt=(replace(pair.prompt[0], content=prompt),), completion_a="A line.\n\n" * 80)
        for pair in pairs(6)
    ]
    return long, load_protocol("support_desk").rubric


@pytest.mark.parametrize(("width", "height", "share"), [(1280, 720, 0.5), (1440, 900, 0.6)])
def test_the_answers_get_half_of_a_laptops_window_and_three_fifths_of_a_desktops(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    pairs: Callable,
    width: int,
    height: int,
    share: float,
) -> None:
    long, rubric = support_desk(pairs)
    labeling_project(long, rubric=rubric)
    server = start_server(sqlite_url, "--no-worker")
    for locale in ("en-GB", "de-DE"):
        desk = open_desk(server.url, viewport={"width": width, "height": height}, locale=locale)
        for side in ("left", "right"):
            box = desk.shown.locator(f".pane.{side} .text").bounding_box()
            assert box
            assert box["height"] >= share * height
        form = desk.page.locator(".form").bounding_box()
        assert form
        assert form["y"] + form["height"] <= height
        tops = {row.bounding_box()["y"] for row in desk.page.locator(".row:not(.overall)").all()}  # type: ignore[index]
        assert len(tops) == 1  # three criteria, one row
        assert desk.page.locator("textarea").bounding_box()["height"] < 36  # type: ignore[index]
        desk.press("n")
        assert desk.page.locator("textarea").bounding_box()["height"] > 50  # type: ignore[index]
        desk.press("Escape")
        before = desk.shown.locator(".pane.left").bounding_box()
        desk.page.wait_for_timeout(500)
        desk.press("Enter")
        expect(desk.page.locator(".hint")).not_to_be_empty()
        assert desk.shown.locator(".pane.left").bounding_box() == before  # a notice moves nothing


def test_the_sidebar_is_folded_while_labeling_one_key_unfolds_it_and_other_pages_keep_it(
    new_desk: Callable, pairs: Callable
) -> None:
    desk = new_desk(pairs(6))
    sidebar = desk.page.get_by_test_id("stSidebar")
    expect(sidebar).to_be_hidden()
    desk.press(".")
    expect(sidebar).to_be_visible()
    desk.press("Control+Enter")  # the desk still has the keys
    desk.press(".")
    expect(sidebar).to_be_hidden()
    desk.page.get_by_role("button", name="Menu").click()
    sidebar.get_by_role("link", name="My work").click()
    expect(desk.page.get_by_role("heading", name="My work")).to_be_visible(timeout=30_000)
    expect(sidebar).to_be_visible()
    sidebar.get_by_role("link", name="Label").click()
    desk.wait()
    expect(sidebar).to_be_hidden()
    desk.page.go_back()
    expect(desk.page.get_by_role("heading", name="My work")).to_be_visible(timeout=30_000)
    expect(sidebar).to_be_visible()


def test_on_a_phone_each_pair_starts_at_its_top_submit_is_in_reach_and_no_key_is_named(
    start_server: Callable, sqlite_url: str, labeling_project: Callable, open_desk: Callable, pairs: Callable
) -> None:
    long, rubric = support_desk(pairs)
    labeling_project(long, rubric=replace(rubric, criteria=()))
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    desk = open_desk(start_server(sqlite_url, "--no-worker").url, **phone)
    page = desk.page
    submit = page.get_by_role("button", name="Submit")
    for _ in range(2):
        scroll = page.evaluate("() => { const main = document.querySelector('.stMain'); return main.scrollTop; }")
        assert scroll == 0
        box = submit.bounding_box()
        assert box
        assert box["y"] + box["height"] <= 844
        token = desk.token
        page.get_by_role("radio", name="Right much better").tap()
        page.evaluate("document.querySelector('.stMain').scrollTop = 400")
        submit.tap()
        expect(desk.shown).not_to_have_attribute("data-token", token)
    assert [key for key in page.locator("kbd").all() if key.is_visible()] == []
    assert "Ctrl" not in (page.locator("textarea").get_attribute("placeholder") or "")


def test_what_is_told_ends_with_its_pair_and_enter_presses_what_has_the_focus(
    new_desk: Callable, judgments_of: Callable, pairs: Callable, aspects: Rubric
) -> None:
    desk = new_desk(pairs(8), rubric=aspects)
    hint = desk.page.locator(".hint")
    desk.page.wait_for_timeout(500)
    desk.press("1", "Enter")
    expect(hint).to_have_text("Still to answer: Which one solves the problem better?")
    token = desk.token
    desk.press("s", "1")
    expect(desk.shown).not_to_have_attribute("data-token", token)
    expect(hint).to_be_empty()
    desk.page.get_by_role("button", name="Differences").focus()
    desk.press("Enter")
    expect(desk.page.get_by_role("button", name="Differences")).to_have_attribute("aria-pressed", "true")
    desk.press("Space")
    expect(desk.page.get_by_role("button", name="Differences")).to_have_attribute("aria-pressed", "false")
    desk.press("f")
    flag = desk.page.get_by_role("dialog").get_by_role("group", name="Flags of the left").get_by_role("button").first
    flag.focus()
    desk.press("Enter")
    expect(desk.page.get_by_role("dialog")).to_be_visible()
    expect(desk.shown.locator(".pane.left .flag")).to_have_text("Unsafe")
    desk.press("Escape")
    overall = desk.page.get_by_role("radiogroup", name="Which response is better?")
    desk.press("ArrowDown", "ArrowUp")  # into the question by keys
    assert "much better" in desk.page.evaluate(FOCUSED)
    desk.press("Enter")
    expect(overall.get_by_role("radio", name="Left much better")).to_have_attribute("aria-checked", "true")
    desk.press("q", "1")
    desk.judge("Control+Enter")
    assert [judgment.choice == "skip" for judgment in judgments_of(desk.project)] == [True, False]


def test_unrelated_answers_are_said_to_be_so_and_arabic_stands_right_to_left(
    new_desk: Callable, pairs: Callable
) -> None:
    arabic = (
        "**TCP** بروتوكول موثوق لنقل البيانات بين الأجهزة\n\n- **HTTP** بروتوكول لنقل صفحات الويب\n"
        "- UDP is fast\n\n```python\nprint(1)\n```"
    )
    desk = new_desk([replace(pair, completion_a=arabic, completion_b=arabic) for pair in pairs(1)] + pairs(3)[1:])
    seen = set()
    for _ in range(3):
        text = desk.shown.locator(".pane.left .rich")
        if "TCP" in desk.shown.inner_text():
            seen.add("arabic")
            directions = "(e) => [e.dir, ...[...e.querySelectorAll('p, ul, li, pre')].map(b => b.dir)]"
            assert text.evaluate(directions) == ["rtl", "rtl", "rtl", "rtl", "ltr", "ltr"]
            right = "e.querySelector('p strong').getBoundingClientRect().right"
            assert (
                text.evaluate(f"(e) => e.getBoundingClientRect().right - {right}") <= 1
            )  # the Latin word stands at the right edge
        else:
            seen.add("english")
            desk.press("d")
            expect(desk.page.locator(".hint")).to_contain_text("hardly anything in common")
            expect(desk.shown.locator("mark")).to_have_count(0)
            expect(desk.shown.locator(".rich")).not_to_have_count(0)
            desk.press("d")
            expect(desk.page.locator(".hint")).to_be_empty()
        desk.press("4", "Enter")
        desk.page.wait_for_timeout(700)
    assert seen == {"arabic", "english"}


def test_a_qualification_round_counts_its_own_items(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    pairs: Callable,
) -> None:
    from annotate_app.access import Actor
    from annotate_app.protocol.collection_design import Design
    from annotate_app.store.projects.comparisons import Gold

    project = labeling_project(pairs(6), design=Design(overlap=1, target=38, qualification_items=2))
    with Store.open(sqlite_url, migrate=False) as store:
        for key in ("c0", "c1"):
            store.comparisons.set_gold(Actor.command_line(), project, key, Gold(choice="tie", use="qualification"))
    desk = open_desk(start_server(sqlite_url, "--no-worker").url)
    count = desk.page.locator(".count")
    expect(count).to_have_text("Qualification round · 0 of 2 judged")
    desk.judge("4", "Enter")
    expect(count).to_have_text("Qualification round · 1 of 2 judged")
    desk.judge("4", "Enter")
    expect(count).to_have_text("2 of 38 judged")
