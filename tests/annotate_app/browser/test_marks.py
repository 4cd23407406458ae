"""Marking words and writing a response anew, in a real browser: by mouse and by keyboard, rendered and as written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from annotate_app.access import Actor
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.protocol.rubric import Flag, Rubric
from annotate_app.store.store import Store
from rewardkit.data.files import read_rows
from rewardkit.data.records import Comparison, Message

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ADMIN = Actor.command_line()
MARKED = (
    "So un**believ**able 😀, it *is*: `so so` &amp; $x^2$.\n\n"
    "| a | b |\n|---|---|\n| one | **two** words |\n\nقال **الرجل** نعم."
)
SELECT = """([side, first, last]) => {
  const host = [...document.querySelectorAll("*")].find((node) => node.shadowRoot?.querySelector(".labeler"));
  const scope = host ? host.shadowRoot : document;
  const body = scope.querySelector(`.layer.shown .pane.${side} .text`);
  const walker = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  const nodes = []; let all = "";
  while (walker.nextNode()) { nodes.push([walker.currentNode, all.length]); all += walker.currentNode.data; }
  const start = all.indexOf(first), end = all.indexOf(last, start) + last.length;
  const holder = (place) => nodes.findLast(([, from]) => from <= place);
  const at = (place) => [holder(place)[0], place - holder(place)[1]];
  const selection = scope.getSelection ? scope.getSelection() : getSelection();
  selection.setBaseAndExtent(...at(start), ...at(end));
}"""
PAINTED = """(name) => [...(CSS.highlights.get(name) ?? [])].map((range) => range.toString())"""


@pytest.fixture
def marking() -> Rubric:
    """A rubric with two flags of words, one of responses, and an edited answer."""
    return Rubric(
        title="Mark what is wrong",
        guidelines="Mark **words**.",
        flags=(
            Flag(name="false", label="False", spans=True),
            Flag(name="unsafe", label="Unsafe"),
            Flag(name="unclear", label="Unclear", spans=True),
        ),
        edit="optional",
    )


def comparisons(count: int) -> list[Comparison]:
    return [
        Comparison(
            id=f"c{number}",
            prompt=(Message(role="user", content=f"Question {number}?"),),
            completion_a=MARKED,
            completion_b=MARKED,
        )
        for number in range(count)
    ]


def select(page: Page, side: str, first: str, last: str) -> None:
    """Selects from the start of some words to the end of others, as a mouse does."""
    page.evaluate(SELECT, [side, first, last])
    expect(page.locator(".spanmenu")).to_be_visible()


def spans(judgment) -> list[tuple[str, str]]:
    return [(span.flag, MARKED[span.start : span.end]) for span in judgment.spans]


def test_marks_made_in_the_rendered_view_are_those_made_in_the_raw_view(
    new_desk: Callable, judgments_of: Callable, marking: Rubric
) -> None:
    desk = new_desk(comparisons(3), rubric=marking)
    page = desk.page

    def mark(side: str, words: list[tuple[str, str, str]]) -> None:
        for first, last, key in words:
            select(page, side, first, last)
            desk.press(key)
            expect(page.locator(".spanmenu")).to_be_hidden()

    mark("left", [("un", "believable 😀", "1"), ("two", "words", "2"), ("الرجل", "نعم", "1"), ("so so", "&", "2")])
    rendered = page.evaluate(PAINTED, "tb-mark-1")
    assert "".join(rendered) == "unbelievable 😀الرجل نعم"
    desk.press("m")
    assert page.evaluate(PAINTED, "tb-mark-1") == ["un**believ**able 😀", "الرجل** نعم"]
    mark(
        "right", [("un**believ", "able 😀", "1"), ("two", "words", "2"), ("الرجل", "نعم", "1"), ("so so", "&amp;", "2")]
    )
    desk.press("m")
    assert page.evaluate(PAINTED, "tb-mark-1") == [*rendered, *rendered]
    assert page.locator(".marks li").count() == 8
    page.reload()
    desk.wait()
    expect(page.locator(".layer.shown .marks li")).to_have_count(8)
    desk.judge("2", "Enter")
    (judgment,) = judgments_of(desk.project)
    left, right = ([replace(one, side="a") for one in judgment.spans if one.side == side] for side in ("a", "b"))
    assert left == right
    assert spans(judgment)[:4] == [
        ("false", "un**believ**able 😀"),
        ("unclear", "so so` &amp;"),
        ("unclear", "two** words"),
        ("false", "الرجل** نعم"),
    ]
    assert judgment.flags == {"a": ("false", "unclear"), "b": ("false", "unclear")}


def test_words_are_marked_extended_and_unmarked_by_keyboard_alone(
    new_desk: Callable, judgments_of: Callable, marking: Rubric
) -> None:
    desk = new_desk(comparisons(3), rubric=marking)
    page = desk.page
    desk.press("w", "ArrowRight", "1")  # "unbelievable"
    desk.press("ArrowRight", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "2")  # "it is"
    chips = page.locator(".layer.shown .pane.left .marks li")
    expect(chips).to_have_count(2)
    desk.press("w", "1", "ArrowDown", "2")  # "So" on the right, and a word of the next line
    expect(page.locator(".layer.shown .pane.right .marks li")).to_have_count(2)
    desk.press("Backspace")
    expect(page.locator(".layer.shown .pane.right .marks li")).to_have_count(1)
    desk.press("Escape")
    expect(page.locator(".spanmenu")).to_be_hidden()
    desk.judge("6", "Enter")  # a digit is an answer again
    (judgment,) = judgments_of(desk.project)
    left = judgment.shown_left
    on_left = [(span.flag, MARKED[span.start : span.end]) for span in judgment.spans if span.side == left]
    on_right = [(span.flag, MARKED[span.start : span.end]) for span in judgment.spans if span.side != left]
    assert on_left == [("false", "un**believ**able"), ("unclear", "it *is")]
    assert on_right == [("false", "So")]
    assert set(judgment.flags[left]) == {"false", "unclear"}
    assert judgment.flags["b" if left == "a" else "a"] == ("false",)
    desk.press("u")
    expect(chips).to_have_count(2)
    chips.first.get_by_role("button", name="Remove the mark False").click()
    expect(chips).to_have_count(1)


def test_an_edit_survives_a_reload_and_goes_out_as_a_demonstration_and_a_pair(
    new_desk: Callable, sqlite_url: str, judgments_of: Callable, marking: Rubric, tmp_path
) -> None:
    desk = new_desk(comparisons(3), rubric=marking)
    page = desk.page
    desk.press("6", "r")  # the right one is better, so it is the one to edit
    area = page.get_by_role("textbox", name="The right response as you would have it")
    expect(area).to_have_value(MARKED)
    area.fill("All of it anew: 😀 1, 2 and so on.")
    desk.press("Control+Enter")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.reload()
    desk.wait()
    expect(page.locator(".layer.shown .pane.right .edited")).to_be_visible()
    desk.press("r")
    expect(area).to_have_value("All of it anew: 😀 1, 2 and so on.")
    desk.press("Escape")
    page.wait_for_timeout(500)  # an Enter sooner after a pair came is taken for a double press
    desk.judge("Enter")
    (judgment,) = judgments_of(desk.project)
    side = judgment.choice
    assert side in ("a", "b")
    assert side != judgment.shown_left
    assert judgment.edited == {side: "All of it anew: 😀 1, 2 and so on."}
    store = Store.open(sqlite_url, migrate=False)
    for form in ("edited_sft", "edited_pairs"):
        export_rows(store, ADMIN, desk.project, tmp_path / f"{form}.jsonl", ExportOptions(form=form, layout="plain"))
    store.close()
    ((_, demonstration),) = read_rows(tmp_path / "edited_sft.jsonl")
    assert (demonstration["prompt"], demonstration["completion"]) == (
        f"Question {judgment.comparison_id[1:]}?",
        "All of it anew: 😀 1, 2 and so on.",
    )
    ((_, pair),) = read_rows(tmp_path / "edited_pairs.jsonl")
    assert (pair["chosen"], pair["rejected"], pair["p_chosen"]) == (demonstration["completion"], MARKED, 1.0)
    assert pair["source_chosen"] == "edited by a person"
