"""Left and right, a and b: every answer turned by the side that stood left, and turned back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate_app.labeling.pair_payload import (
    LONGEST_TASK_S,
    describe_choice,
    excerpt,
    read_answer,
    read_seconds,
    screen_answer,
)
from annotate_app.protocol.assignment import Side
from annotate_app.protocol.leases import Lease
from annotate_app.protocol.rubric import Scale
from rewardkit.data.records import Comparison, Judgment, Message, Span

SAID = {
    "overall": -2,
    "criteria": {"helpful": 1, "tone": [4, 2]},
    "flags": {"left": ["unsafe"], "right": []},
    "rationale": " left wins ",
}


def answer_of(answer: object, shown_left: Side, *, skip: bool = False) -> Judgment:
    """The judgment that an event with this answer is read as."""
    comparison = Comparison(id="c", prompt=(), completion_a="A", completion_b="B")
    lease = Lease(token="1-x", comparison=comparison, shown_left=shown_left, leased_until=0.0)
    return read_answer({"kind": "skip" if skip else "submit", "answer": answer, "seconds": 3}, lease, "anna")


def test_an_excerpt_names_an_image_by_its_description() -> None:
    shown = f"See ![a cat](image:{'0' * 64}?3x2)\nand ![](image:{'1' * 64}), ![far](https://a.example/x.png)."
    assert excerpt((Message(role="user", content=shown),)) == (
        "See [image a cat] and [image], ![far](https://a.example/x.png)."
    )
    assert len(excerpt((Message(role="user", content="word " * 1000),))) <= 160


def test_left_is_a_where_a_stood_left() -> None:
    answer = answer_of(SAID, "a")
    assert (answer.choice, answer.strength) == ("a", 2)
    assert answer.criteria == {"helpful": 1, "tone": (4, 2)}
    assert answer.flags == {"a": ("unsafe",)}
    assert answer.rationale == "left wins"
    assert (answer.comparison_id, answer.annotator, answer.seconds, answer.shown_left) == ("c", "anna", 3.0, "a")


def test_left_is_b_where_b_stood_left() -> None:
    answer = answer_of(SAID, "b")
    assert (answer.choice, answer.strength) == ("b", 2)
    assert answer.criteria == {"helpful": -1, "tone": (2, 4)}
    assert answer.flags == {"b": ("unsafe",)}


@pytest.mark.parametrize(("overall", "expected"), [("tie", ("tie", 0)), (0, ("tie", 0)), ("both_bad", ("both_bad", 0))])
def test_answers_without_a_side_are_the_same_on_both(overall: object, expected: tuple[str, int]) -> None:
    for side in ("a", "b"):
        answer = answer_of({"overall": overall}, side)
        assert (answer.choice, answer.strength) == expected


def test_a_skip_keeps_its_reason_and_nothing_else_does() -> None:
    assert answer_of({"reason": "other", "overall": 3}, "a", skip=True).choice == "skip"
    assert answer_of({"reason": "other"}, "a", skip=True).reason == "other"
    assert answer_of({"overall": 1, "reason": "other"}, "a").reason == ""


@given(
    st.integers(-4, 4),
    st.dictionaries(st.sampled_from("xyz"), st.integers(-3, 3) | st.lists(st.integers(1, 5), min_size=2, max_size=2)),
    st.sampled_from("ab"),
)
def test_what_is_stored_shows_again_as_it_was_said(overall: int, criteria: dict, side: str) -> None:
    said = {"overall": overall or "tie", "criteria": criteria, "flags": {"left": ["u"], "right": ["v", "w"]}}
    judgment = answer_of(said, side)  # type: ignore[arg-type]
    assert screen_answer(judgment, side) == {**said, "rationale": ""}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "text",
        {},
        {"overall": None},
        {"overall": True},
        {"overall": 1.5},
        {"overall": [1]},
        {"overall": "a"},
        {"overall": 1, "criteria": []},
        {"overall": 1, "criteria": {"x": True}},
        {"overall": 1, "criteria": {"x": [1]}},
        {"overall": 1, "criteria": {"x": [1, "2"]}},
        {"overall": 1, "criteria": {"x": {}}},
        {"overall": 1, "flags": {"left": "unsafe"}},
        {"overall": 1, "flags": {"right": [1]}},
        {"overall": 1, "flags": {"left": [["unsafe"]]}},
        {"overall": 1, "rationale": 5},
    ],
)
def test_what_no_page_of_ours_says_is_refused_in_words(said: object) -> None:
    with pytest.raises(ValueError, match="allowed"):
        answer_of(said, "a")


def test_characters_that_no_column_takes_are_replaced() -> None:
    assert answer_of({"overall": 1, "rationale": "a\0b\ud83dc\U0001f600"}, "a").rationale == "a�b�c\U0001f600"


def test_seconds_are_brought_into_bounds() -> None:
    assert read_seconds(12.5) == 12.5
    assert read_seconds(-1) == 0
    assert read_seconds(10**9) == LONGEST_TASK_S
    for said in ("1", None, True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds"):
            read_seconds(said)


def test_choices_in_the_words_of_the_page() -> None:
    def words(choice: str, strength: int = 0, reason: str = "") -> str:
        judgment = Judgment(comparison_id="c", annotator="x", choice=choice, strength=strength, reason=reason)  # type: ignore[arg-type]
        return describe_choice(judgment, "b", Scale(steps=7))

    assert words("b", 3) == "Left much better"
    assert words("a", 1) == "Right slightly better"
    assert (words("tie"), words("both_bad"), words("skip", 0, "other")) == ("Tie", "Both bad", "Skipped: other")


def test_marks_and_edits_turn_with_their_sides_and_words_set_their_flag() -> None:
    said = SAID | {
        "spans": {"left": [[5, 9, "wrong"], [0, 2, "wrong"]], "right": [[1, 3, "vague"]]},
        "edited": {"right": " anew\n"},
    }
    judgment = answer_of(said, "b")
    assert judgment.spans == (
        Span(side="a", start=1, end=3, flag="vague"),
        Span(side="b", start=0, end=2, flag="wrong"),
        Span(side="b", start=5, end=9, flag="wrong"),
    )
    assert judgment.edited == {"a": " anew\n"}
    assert judgment.flags == {"b": ("unsafe", "wrong"), "a": ("vague",)}
    again = screen_answer(judgment, "b")
    assert again["spans"] == {"left": [[0, 2, "wrong"], [5, 9, "wrong"]], "right": [[1, 3, "vague"]]}
    assert again["edited"] == {"right": " anew\n"}
    assert answer_of(again, "b") == judgment


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spans": {"left": [[1, "x", "wrong"]]}}, "spans.left holds .*, allowed are lists of start, end, flag"),
        ({"spans": {"left": [[4, 1, "wrong"]]}}, "span is 4 to 1"),
        ({"spans": {"right": "words"}}, "spans.right holds 'words'"),
        ({"edited": {"left": 3}}, "edited.left is '3', allowed is text"),
        ({"edited": []}, "edited is"),
    ],
)
def test_odd_marks_are_refused_by_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        answer_of(SAID | change, "a")
