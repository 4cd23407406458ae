"""How the labeling page looks and speaks: narrow screens, dark themes, focus, names for screen readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from annotate_app.protocol.rubric import Rubric

pytestmark = pytest.mark.browser

# The contrast of every text with what lies behind it (WCAG 2.2, 1.4.3), for elements that hold text of their own.
CONTRASTS = """() => {
  const root = [...document.querySelectorAll('*')].map(e => e.shadowRoot).find(r => r?.querySelector('.labeler'));
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const over = (colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    const colors = [];
    for (let at = node; at; at = at.parentElement ?? at.getRootNode().host)
      colors.unshift(getComputedStyle(at).backgroundColor);
    return colors;
  };
  return [...root.querySelectorAll('*')]
    .filter(e => !['SCRIPT', 'STYLE'].includes(e.tagName) && e.checkVisibility({ visibilityProperty: true }))
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .map(e => {
      const ground = behind(e);
      const [a, b] = [light(over(ground)), light(over([...ground, getComputedStyle(e).color]))].sort();
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return [e.className || e.tagName, e.textContent.trim().slice(0, 30), ratio];
    });
}"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(new_desk: Callable, pairs: Callable, aspects: Rubric, scheme: str) -> None:
    desk = new_desk(pairs(4), rubric=aspects, color_scheme=scheme)
    desk.press("f", "1", "Enter", "2", "1")
    found = desk.page.evaluate(CONTRASTS)
    assert len(found) > 30
    assert [item for item in found if item[2] < 4.5] == []
    ground = desk.page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert (int(ground[4:].split(",")[0]) < 100) == (scheme == "dark")


@pytest.mark.slow
def test_a_phone_shows_one_response_under_the_other_and_nothing_sticks_out(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    pairs: Callable,
    aspects: Rubric,
) -> None:
    labeling_project(pairs(4), rubric=aspects)
    desk = open_desk(
        start_server(sqlite_url, "--no-worker").url, viewport={"width": 390, "height": 844}, has_touch=True
    )
    left, right = (desk.shown.locator(f".pane.{side}").bounding_box() for side in ("left", "right"))
    assert left
    assert right
    assert right["y"] >= left["y"] + left["height"]
    assert left["width"] > 330
    form = desk.page.locator(".form")
    for button in form.get_by_role("radio").all():
        box = button.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["height"] >= 40  # a thumb
    token = desk.token
    desk.page.get_by_role("radio", name="Right much better").tap()
    form.get_by_role("radiogroup", name="Which one solves the problem better?").get_by_role("radio", name="Tie").tap()
    desk.page.get_by_role("button", name="Submit").tap()
    expect(desk.shown).not_to_have_attribute("data-token", token)
    expect(desk.status).to_have_text("Saved")


@pytest.mark.slow
def test_the_work_fits_the_window_and_each_pair_starts_at_its_top(new_desk: Callable, pairs: Callable) -> None:
    long = [
        replace(pair, completion_a="A line of it.\n\n" * 200, completion_b="Another.\n\n" * 200) for pair in pairs(4)
    ]
    desk = new_desk(long)
    submit = desk.page.get_by_role("button", name="Submit").bounding_box()
    assert submit
    assert submit["y"] + submit["height"] <= 860
    before = desk.page.locator(".pane.left").first.bounding_box()
    desk.press("Space", "PageDown")
    scrolled = "(e) => e.scrollTop"
    for side in ("left", "right"):
        assert desk.shown.locator(f".pane.{side} .text").evaluate(scrolled) > 100
    desk.judge("1", "Enter")
    for side in ("left", "right"):
        assert desk.shown.locator(f".pane.{side} .text").evaluate(scrolled) == 0
    assert desk.shown.locator(".pane.left").bounding_box() == before  # nothing moved


@pytest.mark.slow
def test_questions_are_radio_groups_with_names_and_focus_goes_in_order(
    new_desk: Callable, pairs: Callable, aspects: Rubric
) -> None:
    desk = new_desk(pairs(4), rubric=aspects)
    overall = desk.page.get_by_role("radiogroup", name="Which response is better?")
    expect(overall.get_by_role("radio")).to_have_count(8)  # seven steps and both bad
    expect(desk.page.get_by_role("radiogroup", name="How is the tone?, left response")).to_be_visible()
    expect(desk.page.get_by_role("region", name="Text of the left response").last).to_be_visible()
    expect(desk.status).to_have_attribute("aria-live", "polite")
    overall.get_by_role("radio", name="Left much better").focus()
    desk.press("ArrowRight")
    expect(overall.get_by_role("radio", name="Left much better")).to_have_attribute("aria-checked", "true")
    desk.press("ArrowRight")
    expect(overall.get_by_role("radio", name="Left better")).to_be_focused()
    expect(overall.get_by_role("radio", name="Left better")).to_have_attribute("aria-checked", "true")
    desk.press("Tab")
    focused = """() => {
      let at = document.activeElement;
      while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
      return [at.closest('.row').className.includes('overall'), getComputedStyle(at).outlineStyle];
    }"""
    assert desk.page.evaluate(focused) == [False, "solid"]
    desk.press("?")
    expect(desk.page.get_by_role("dialog", name="Which reply helps more?")).to_be_visible()
    desk.press("Escape")
    expect(desk.page.get_by_role("dialog")).to_have_count(0)
