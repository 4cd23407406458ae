"""Judging steps in a real browser: by keyboard, the first wrong one by one key, undone, reloaded, filled in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric
from rewardkit.data.records import Comparison, Judgment, Message

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ADMIN = Actor.command_line()
STEPPED = Rubric(
    title="Which step is wrong?", guidelines="Read the steps in order.", question="Is each step right?", task="steps"
)
STEPS = ("2 + 3 is **5**.", "Twice that is 11.", "11 minus 1 is 10.", "So the answer is 10.")
SCORED = 3


def answers() -> list[Comparison]:
    """Answers s0 to s3 in four steps, the last of them with a model's scores."""
    text = "\n".join(STEPS)
    return [
        Comparison(
            id=f"s{number}",
            prompt=(Message(role="user", content=f"Question {number}: 2 + 3, twice that, minus 1?"),),
            completion_a=text,
            completion_b=text,
            steps=STEPS,
            step_scores=(0.97, 0.5, 0.1, 0.2) if number == SCORED else (),
        )
        for number in range(SCORED + 1)
    ]


def question(page: Page) -> str:
    return "s" + re.search(r"Question (\d+)", page.locator(".layer.shown").inner_text())[1]  # type: ignore[index]


def labels(page: Page) -> list[str]:
    return [str(step.get_attribute("data-label")) for step in page.locator(".layer.shown .step").all()]


def of(judgments: list[Judgment], key: str) -> Judgment:
    return next(judgment for judgment in judgments if judgment.comparison_id == key)


def test_steps_are_judged_by_keyboard_undone_reloaded_and_filled_in_by_a_model(
    new_desk: Callable, judgments_of: Callable, screenshots: Path
) -> None:
    desk = new_desk(
        answers(), rubric=STEPPED, design=Design(overlap=1, target=4), viewport={"width": 1280, "height": 720}
    )
    page = desk.page
    # Key by key: right, neutral, and the first wrong one by F, behind which all are wrong.
    assert question(page) == "s0"
    desk.press("1", "2", "f")
    assert labels(page) == ["right", "neutral", "wrong", "wrong"]
    expect(page.locator(".note")).to_have_text("First wrong step 3 of 4")
    page.screenshot(path=screenshots / "steps-1280.png")
    page.reload()  # keeps the draft
    desk.wait()
    assert labels(page) == ["right", "neutral", "wrong", "wrong"]
    page.wait_for_timeout(500)  # an Enter as soon as an answer comes is taken for a double press
    desk.judge("Enter")
    assert of(judgments_of(desk.project), "s0").step_labels == (1.0, 0.5, 0.0, 0.0)
    # Undone, it comes back; the second step is the first wrong one, so that the first is right and the rest follows.
    desk.press("u")
    expect(page.locator(".layer.shown .step[data-label='neutral']")).to_have_count(1)
    assert question(page) == "s0"
    desk.press("ArrowDown", "f")
    assert labels(page) == ["right", "wrong", "wrong", "wrong"]
    desk.judge("Enter")
    assert of(judgments_of(desk.project), "s0").step_labels == (1.0, 0.0, 0.0, 0.0)
    # What lies before the first wrong step needs a label; what lies behind it does not.
    desk.press("1", "ArrowDown", "3", "Enter")
    expect(page.locator(".hint")).to_contain_text("Step 2 has no label yet")
    desk.press("1", "Backspace", "3")
    assert labels(page) == ["right", "right", "wrong", "open"]
    desk.press("n")
    page.keyboard.type("11 is no 2 * 5")
    page.keyboard.press("Escape")
    desk.judge("Enter")
    second = of(judgments_of(desk.project), "s1")
    assert (second.step_labels, second.rationale) == ((1.0, 1.0, 0.0, None), "11 is no 2 * 5")
    # All that is left is right, by A; a click labels one step.
    page.locator(".layer.shown .step").nth(1).locator(".label.neutral").click()
    desk.press("a")
    desk.judge("Enter")
    assert of(judgments_of(desk.project), "s2").step_labels == (1.0, 0.5, 1.0, 1.0)
    # A model's scores are filled in, said to be, and can be changed before they are submitted.
    assert labels(page) == ["right", "neutral", "wrong", "wrong"]
    expect(page.locator(".note")).to_contain_text("A model filled these labels in")
    expect(page.locator(".layer.shown .guess").first).to_have_text("Model: 97 % right")
    desk.press("ArrowDown", "1", "Enter")
    expect(page.locator(".count")).to_contain_text("4 of 4")
    expect(page.locator(".status")).to_have_text("Saved")
    assert of(judgments_of(desk.project), "s3").step_labels == (1.0, 1.0, 0.0, 0.0)
