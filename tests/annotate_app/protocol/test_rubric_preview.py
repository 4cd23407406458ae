"""What a lead sees while writing a rubric."""

from __future__ import annotations

from annotate_app.protocol.rubric import Criterion, Flag, Rubric, Scale
from annotate_app.protocol.rubric_preview import answer_rows, around, difference


def test_answers_stand_from_left_to_right_with_their_keys() -> None:
    rubric = Rubric(
        title="T",
        guidelines="G",
        question="Which?",
        scale=Scale(steps=4, labels=("a bit", "a lot"), tie=True),
        both_bad=True,
        criteria=(
            Criterion(name="tone", question="Tone?", scale=Scale(steps=3), required=False),
            Criterion(name="facts", question="Facts?", kind="rate", low=0, high=2, anchors={0: "wrong"}),
        ),
        flags=(Flag(name="unsafe", label="Unsafe"),),
        rationale="required",
        skip_reasons=("other",),
    )
    assert [(row.question, row.line) for row in answer_rows(rubric)] == [
        ("Which?", "[1] left a lot · [2] left a bit · [3] right a bit · [4] right a lot · [T] tie · [B] both bad"),
        ("Tone? (may be left out)", "[1] left better · [2] tie · [3] right better"),
        ("Facts? (left, then right)", "[0] 0: wrong · [1] 1 · [2] 2"),
        ("Flags of a response, after F", "[1] Unsafe"),
        ("Rationale", "[N] in own words, required"),
        ("Skipping, after S", "[1] other"),
    ]


def test_without_rationale_flags_and_tie_no_row_speaks_of_them() -> None:
    rubric = Rubric(title="T", guidelines="G", scale=Scale(steps=2, tie=False), rationale="off", skip_reasons=("x",))
    assert [row.line for row in answer_rows(rubric)] == ["[1] left better · [2] right better", "[1] x"]


def test_difference_shows_what_went_and_what_came() -> None:
    assert difference("a\nb\nc\n", "a\nB\nc\n") == "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c"
    assert difference("same", "same") == ""


def test_around_marks_the_line_and_stays_inside_the_text() -> None:
    assert around("a\nb\nc\nd", 3, 1) == "     2  b\n>    3  c\n     4  d"
    assert around("a", 9) == ">    1  a"
    assert around("", 1) == ">    1  "
