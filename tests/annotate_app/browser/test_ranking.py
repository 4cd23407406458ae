"""Ranking in a real browser: by keyboard, by drag, by touch, undone and after a reload."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Flag, Rubric
from rewardkit.data.records import Comparison, Judgment, Message, Response
from rewardkit.data.records import places as by_place

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ADMIN = Actor.command_line()
RANKED = Rubric(
    title="Which replies help more?",
    guidelines="Read all replies. The best one comes first.",
    question="Put the replies in an order, best first.",
    task="rank",
    both_bad=True,
    flags=(Flag(name="unsafe", label="Unsafe"),),
)
NAMES = ("alpha", "bravo", "charlie", "delta")


def rankings(count: int) -> list[Comparison]:
    """Comparisons r0, r1, ... of four responses that name themselves."""
    return [
        Comparison(
            id=f"r{number}",
            prompt=(Message(role="user", content=f"Question {number}: where is my parcel?"),),
            completion_a=f"It is on its way, {number} alpha.",
            completion_b=f"Please send us **the order number** for {number} bravo.",
            source_a="model-a",
            source_b="model-b",
            further=(
                Response(text=f"Nobody knows {number}, charlie.\n\n" + "A long line of text. " * 60, source="model-c"),
                Response(text=f"Ask the courier about {number}, delta.", source="model-d"),
            ),
        )
        for number in range(count)
    ]


def on_screen(page: Page) -> list[str]:
    """The names of the responses in the order of their cards."""
    texts = [card.inner_text() for card in page.locator(".layer.shown .card .text").all()]
    return [next(name for name in NAMES if name in text) for text in texts]


def key_of(page: Page, name: str) -> str:
    """The number key of a response."""
    return str(on_screen(page).index(name) + 1)


def places(page: Page) -> list[list[str]]:
    """The order as the strip shows it, by the names of the responses."""
    shown = on_screen(page)
    return [
        [shown["ABCD".index(chip.inner_text().strip())] for chip in place.locator(".chip").all()]
        for place in page.locator(".order .place").all()
    ]


def drag_to(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 12, start[1] + 4)
    page.mouse.move(*end, steps=5)
    page.mouse.up()


def middle(locator) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def of(judgments: list[Judgment], key: str) -> Judgment:
    return next(judgment for judgment in judgments if judgment.comparison_id == key)


def question(page: Page) -> str:
    return "r" + re.search(r"Question (\d+)", page.locator(".layer.shown").inner_text())[1]  # type: ignore[index]


def test_four_responses_are_ranked_by_keyboard_by_drag_undone_and_reloaded(
    new_desk: Callable, judgments_of: Callable, screenshots: Path
) -> None:
    desk = new_desk(
        rankings(6), rubric=RANKED, design=Design(overlap=1, target=6), viewport={"width": 1440, "height": 900}
    )
    page = desk.page
    # By keyboard: charlie first, alpha and bravo tied behind it, delta left out.
    first = question(page)
    desk.press(key_of(page, "charlie"), key_of(page, "alpha"), key_of(page, "bravo"), "=")
    assert [sorted(tied) for tied in places(page)] == [["charlie"], ["alpha", "bravo"]]
    expect(page.locator(".note")).to_contain_text("Not ranked")
    page.screenshot(path=screenshots / "rank-1440.png")
    # A reload keeps the draft.
    page.reload()
    desk.wait()
    assert [sorted(tied) for tied in places(page)] == [["charlie"], ["alpha", "bravo"]]
    page.wait_for_timeout(500)  # an Enter as soon as a pair comes is taken for a double press
    desk.judge("Enter")
    [judgment] = judgments_of(desk.project)
    assert (judgment.comparison_id, judgment.ranks) == (first, (2, 2, 1, None))
    assert (judgment.choice, judgment.strength) == ("tie", 0)
    # Undone, it comes back with its order, and is changed: the last one taken back, moved, untied.
    desk.press("u")
    expect(page.locator(".order .place")).to_have_count(2)
    assert question(page) == first
    desk.press("Backspace", key_of(page, "delta"), key_of(page, "bravo"), "ArrowLeft", "ArrowLeft")
    shown = places(page)
    desk.judge("Enter")
    again = of(judgments_of(desk.project), first)
    stored = [NAMES[index] for tied in by_place(again.ranks) for index in tied]
    assert stored == [name for tied in shown for name in tied]
    assert set(again.shown) == {0, 1, 2, 3}
    # By drag: a chip into the empty order, one before it, one onto it; then out again.
    second = question(page)
    chip = {name: page.locator(f".chip[data-response='{int(key_of(page, name)) - 1}']") for name in NAMES}
    drag_to(page, middle(chip["bravo"]), middle(page.locator(".order .slot").last))
    assert places(page) == [["bravo"]]
    drag_to(page, middle(chip["delta"]), middle(page.locator(".order .slot").first))
    assert places(page) == [["delta"], ["bravo"]]
    drag_to(page, middle(chip["alpha"]), middle(page.locator(".order .place").nth(1)))
    assert [sorted(tied) for tied in places(page)] == [["delta"], ["alpha", "bravo"]]
    card = page.locator(f".layer.shown .card[data-response='{int(key_of(page, 'charlie')) - 1}'] h2")
    drag_to(page, middle(card), middle(page.locator(".order .slot").last))
    assert [sorted(tied) for tied in places(page)] == [["delta"], ["alpha", "bravo"], ["charlie"]]
    page.locator(f".card[data-response='{int(key_of(page, 'delta')) - 1}'] .flagging").first.click()
    desk.judge("Enter")
    dragged = of(judgments_of(desk.project), second)
    assert dragged.ranks == (2, 2, 3, 1)
    assert dict(dragged.flags) == {"d": ("unsafe",)}
    # All bad, and the history in words.
    third = question(page)
    desk.judge("b", "Enter")
    assert of(judgments_of(desk.project), third).choice == "both_bad"
    desk.press("e")
    expect(page.locator("dialog[open] .choices")).to_contain_text(" = ")


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_the_screen_fits_and_the_best_is_one_key(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    judgments_of: Callable,
    screenshots: Path,
    width: int,
    height: int,
) -> None:
    best = replace(RANKED, task="best", question="Which reply is the best?")
    project = labeling_project(rankings(4), rubric=best, design=Design(overlap=1, target=4))
    phone = width < 500
    desk = open_desk(
        start_server(sqlite_url, "--no-worker").url,
        viewport={"width": width, "height": height},
        **({"has_touch": True, "is_mobile": True} if phone else {}),
    )
    page = desk.page
    first = question(page)
    name = on_screen(page)[2]
    if phone:
        page.locator(".layer.shown .card .take").nth(2).tap()
    else:
        desk.press("3")
    expect(page.locator(".note")).to_contain_text("C is the best")
    page.screenshot(path=screenshots / f"best-{width}.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    desk.judge("Enter")
    [judgment] = judgments_of(project)
    assert judgment.comparison_id == first
    assert judgment.ranks == tuple(1 if one == name else None for one in NAMES)
    # A refusal in one line where nothing is chosen.
    desk.press("n")
    page.keyboard.type("because")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".hint")).to_contain_text("Choose the best response first")


def test_a_finger_drags_on_a_phone(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    judgments_of: Callable,
    screenshots: Path,
) -> None:
    project = labeling_project(rankings(3), rubric=RANKED, design=Design(overlap=1, target=3))
    url = start_server(sqlite_url, "--no-worker").url
    desk = open_desk(url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = desk.page
    chip = page.locator(".pool .chip").nth(1)
    chip.scroll_into_view_if_needed()
    start, end = middle(chip), middle(page.locator(".order .slot").last)
    touch = page.context.new_cdp_session(page)
    for kind, (x, y) in (("touchStart", start), ("touchMove", (start[0] + 12, start[1])), ("touchMove", end)):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert places(page) == [[on_screen(page)[1]]]
    page.locator(".form .chip").first.scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "rank-390.png")
    desk.judge("Enter")
    [judgment] = judgments_of(project)
    assert sorted(rank for rank in judgment.ranks if rank) == [1]
