"""From words to a verdict; nothing is guessed."""

from __future__ import annotations

import math

import pytest

from alignment.judges.chat import WrittenToken
from alignment.judges.parsing import declines, p_first_of, parse_answer, read_values
from alignment.judges.questions import JudgeQuestion, JudgeRubric, Verdict, undo_position
from rewardkit.data.records import Comparison


@pytest.mark.parametrize(
    ("text", "letter", "strength"),
    [
        ('{"overall": "A", "strength": 3}', "A", 3),
        ('```json\n{"overall": "B", "strength": "2"}\n```', "B", 2),
        ('Let me see. {"reason": "a {brace} and \\"quotes\\"", "overall": "T"} That is all.', "T", 0),
        ('<think>{"overall": "B"} or not</think>{"overall": "A"}', "A", 1),
        ('{"criteria": {"kind": "B"}, "Overall": "Answer B"}', "B", 1),
        ('{"overall": "both bad"}', "X", 0),
        ('{"overall": "A", "strength": 9}', "A", 1),
        ("A", "A", 1),
        ("**B**.", "B", 1),
        ("I compared them.\nOverall: B", "B", 1),
        ("My verdict: [[A]]", "A", 1),
        ("{oops} the answer is: T", "T", 0),
        ("", "", 0),
        ("Both are fine, A a bit more", "", 0),
        ('{"overall": "C"}', "", 0),
        ('{"overall": null}', "", 0),
        ('{"overall": ["A"]}', "", 0),
        ('{"overall": "A"} no, {"overall": "B"}', "", 0),
        ("Overall: A ... Overall: B", "", 0),
        ('<think>it is {"overall": "A"}', "", 0),
        ('{"overall": "A"', "", 0),
        ("[" * 100_000, "", 0),
        ('{"a":' * 10_000, "", 0),
    ],
)
def test_words_as_a_verdict(rubric: JudgeRubric, text: str, letter: str, strength: int) -> None:
    verdict = parse_answer(text, rubric)
    assert (verdict.letter, verdict.strength) == (letter, strength)


def test_a_letter_that_the_rubric_does_not_allow_is_unreadable() -> None:
    plain = JudgeRubric(version=1, guidelines="g", question="q", tie=False)
    assert parse_answer('{"overall": "T"}', plain) == parse_answer("X", plain) == Verdict()
    assert parse_answer("B", plain).letter == "B"


def test_criteria_that_can_be_read_are_kept(rubric: JudgeRubric) -> None:
    verdict = read_values({"overall": "A", "criteria": {"kind": "B", "clear": [2, 4], "else": "A"}}, rubric)
    assert verdict.criteria == {"kind": 1, "clear": (2, 4)}
    bad = {"kind": "X", "clear": [0, 4]}
    assert read_values({"overall": "A", "criteria": bad}, rubric).criteria == {}
    assert read_values({"overall": "A", "criteria": {"clear": [3]}}, rubric).criteria == {}
    assert read_values({"overall": "A", "criteria": "B"}, rubric).criteria == {}


def test_a_probability_is_an_answer_too(rubric: JudgeRubric) -> None:
    assert read_values({"overall": 0.75}, rubric) == Verdict(letter="A", p_first=0.75, strength=1)
    assert read_values({"overall": 0.5}, rubric) == Verdict(letter="T", p_first=0.5)
    assert read_values({"overall": 1.5}, rubric) == read_values({"overall": True}, rubric) == Verdict()


def test_the_alternatives_of_the_letter_give_the_probability(rubric: JudgeRubric) -> None:
    # Of A, B, T and X 0.5, 0.2, 0.1 and 0.1: (0.5 + 0.1 / 2) / (0.5 + 0.2 + 0.1) = 0.6875; both-bad is left out.
    shares = {"A": 0.5, "B": 0.2, "T": 0.1, "X": 0.1, "the": 0.1}
    tokens = [
        WrittenToken(text='{"overall', logps={'{"overall': 0.0}),
        WrittenToken(text='": "', logps={'": "': 0.0}),
        WrittenToken(text="A", logps={text: math.log(share) for text, share in shares.items()}),
        WrittenToken(text='"}', logps={'"}': 0.0}),
    ]
    verdict = parse_answer('{"overall": "A"}', rubric, tokens)
    assert verdict.p_first == pytest.approx(0.6875)
    rare = [WrittenToken(text="A", logps={"A": math.log(0.3), "It": math.log(0.7)})]
    assert parse_answer("A", rubric, rare).p_first is None  # hardly a choice of letters
    assert p_first_of({"X": 1.0}) is None


@pytest.mark.parametrize("first", ["a", "b"])
def test_the_position_is_undone(first: str) -> None:
    pair = Comparison(id="c", prompt=(), completion_a="one", completion_b="two")
    question = JudgeQuestion(comparison=pair, shown_first=first)  # type: ignore[arg-type]
    verdict = Verdict(letter="A", p_first=0.9, strength=2, criteria={"kind": 1, "clear": (2, 4)})
    answer = undo_position(question, 0, verdict, raw="", usage={})
    if first == "a":
        assert (answer.choice, answer.p_a, answer.criteria) == ("a", 0.9, {"kind": 1, "clear": (2, 4)})
    else:
        assert (answer.choice, answer.criteria) == ("b", {"kind": -1, "clear": (4, 2)})
        assert answer.p_a == pytest.approx(0.1)
    assert answer.strength == 2


def test_a_text_that_declines_is_told_from_one_that_cannot_be_read() -> None:
    assert declines("I'm sorry, but I can't compare these.")
    assert declines("<think>hm</think> I cannot help with that.")
    assert not declines("The first is clearer.")
