"""Marked words and edits of an answer: what the noun takes, what a rubric takes, what the texts take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from annotate_app.protocol.leases import MAX_EDITED, MAX_SPANS, Submission, check_against_texts, check_submission
from annotate_app.protocol.rubric import Flag, Rubric
from rewardkit.data.judgments import flip
from rewardkit.data.records import Comparison, Judgment, Message, Span, with_span_flags

RUBRIC = Rubric(
    title="T",
    guidelines="G",
    flags=(Flag(name="wrong", label="Wrong", spans=True), Flag(name="rude", label="Rude")),
    edit="optional",
)
SPAN = Span(side="a", start=2, end=5, flag="wrong")
GOOD = Judgment(
    comparison_id="c",
    annotator="anna",
    choice="a",
    strength=1,
    flags={"a": ("wrong",)},
    spans=(SPAN,),
    edited={"b": "x"},
)
PAIR = Comparison(id="c", prompt=(), completion_a="fünf😀", completion_b="two")


def check(judgment: Judgment, rubric: Rubric = RUBRIC) -> None:
    check_submission(Submission(token="t", event_id="e", judgment=judgment), rubric)


def test_a_marked_and_edited_answer_passes() -> None:
    check(GOOD)
    check_against_texts(GOOD, PAIR)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 5}, "span is 5 to 5, allowed is a start of 0 or more below its end"),
        ({"start": -1}, "span is -1 to 5"),
        ({"end": True}, "span is 2 to True"),
        ({"side": "left"}, "side of a span is 'left', allowed are a and b"),
        ({"flag": ""}, "flag of a span is ''"),
    ],
)
def test_a_span_has_a_side_a_range_and_a_flag(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SPAN, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spans": (replace(SPAN, flag="rude"),)}, "spans hold the flag 'rude', allowed are wrong"),
        ({"spans": (replace(SPAN, side="b"),)}, "flags.b lacks 'wrong', which words of it are marked with"),
        ({"edited": {"a": "  "}}, "edited.a is empty"),
        (
            {"edited": {"a": "x" * (MAX_EDITED + 1)}},
            f"edited.a has {MAX_EDITED + 1} characters, allowed are {MAX_EDITED}",
        ),
        ({"edited": {"a": "x\x00"}}, "edited.a holds a character that cannot be stored"),
        (
            {"spans": tuple(Span(side="a", start=at, end=at + 1, flag="wrong") for at in range(MAX_SPANS + 1))},
            f"spans are {MAX_SPANS + 1}, allowed are {MAX_SPANS}",
        ),
    ],
)
def test_what_the_rubric_does_not_take_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(replace(GOOD, **change))


def test_a_rubric_without_spans_or_edits_takes_none() -> None:
    plain = replace(RUBRIC, flags=(Flag(name="wrong", label="Wrong"),))
    with pytest.raises(ValueError, match="spans hold the flag 'wrong', allowed are none"):
        check(GOOD, plain)
    with pytest.raises(ValueError, match="edited is given, this rubric asks for no edited response"):
        check(GOOD, replace(RUBRIC, edit="off"))


def test_the_texts_bound_spans_and_edits_in_code_points() -> None:
    check_against_texts(replace(GOOD, spans=(replace(SPAN, end=5),)), PAIR)  # the emoji is one
    with pytest.raises(ValueError, match="span 2 to 6 of 'wrong' ends behind its text, response a has 5 characters"):
        check_against_texts(replace(GOOD, spans=(replace(SPAN, end=6),)), PAIR)
    with pytest.raises(ValueError, match=r"edited\.b is the response as it was"):
        check_against_texts(replace(GOOD, edited={"b": "two"}), PAIR)
    turns = (Message(role="assistant", content="two"),)
    with pytest.raises(ValueError, match=r"edited\.b is given of a response that is more than a text"):
        check_against_texts(GOOD, replace(PAIR, turns_b=turns))


def test_the_same_mark_twice_and_an_edit_of_nothing_are_no_judgment() -> None:
    with pytest.raises(ValueError, match="spans hold a 2 to 5 'wrong' twice"):
        replace(GOOD, spans=(SPAN, SPAN))
    with pytest.raises(ValueError, match=r"edited\.left names no response"):
        replace(GOOD, edited={"left": "x"})


def test_words_set_their_flag_and_sides_turn_with_the_comparison() -> None:
    assert with_span_flags({"a": ("rude",)}, [SPAN, replace(SPAN, side="b")]) == {
        "a": ("rude", "wrong"),
        "b": ("wrong",),
    }
    turned = flip(GOOD)
    assert (turned.spans, turned.edited) == ((replace(SPAN, side="b"),), {"a": "x"})
    assert flip(turned) == GOOD
