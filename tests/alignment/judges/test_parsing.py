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
        ('{"overall": "A", "strength": 2,}', "A", 2),
        ('{"overall": "`a`"}', "A", 1),
        ('thoughts of a template that opens them itself: {"overall": "B"} hm </think>{"overall": "A"}', "A", 1),
        ('[THINK]Overall: B[/THINK]{"overall": "A"}', "A", 1),
        ("**Overall**: B, since it is kinder", "B", 1),
        ("verdict: a", "A", 1),
        ("Answer: B is better.", "B", 1),
        # An article is no letter, and a line that goes on may say anything.
        ("Overall: a tie", "", 0),
        ("My verdict is: a close call, B", "", 0),
        ("The best answer: a detailed one", "", 0),
        ("Overall: A is worse than B", "", 0),
        ("Overall: A, B are equal", "", 0),
        ("Overall: A/B", "", 0),
        ("Overall: A < B", "", 0),
        ("[[A>B]]", "", 0),
        # Numbers: 1 for the first would read well and 2 for the second not at all, so that the first one wins.
        ('{"overall": 1}', "", 0),
        ('{"overall": 0.3}', "", 0),
        ('{"overall": "A", "overall": "B"}', "", 0),
        ('{"overall": "A", "Overall": "B"}', "", 0),
        ('My verdict: [[A]] {"overall": "B"}', "", 0),
        # An answer that the judge quotes, in words that break its JSON.
        ('{"reason": "B says: {"overall": "B"}", "overall": "A"}', "", 0),
        ('{"overall": "A", "reason": "B says } {"overall": "B"}"}', "", 0),
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
    assert parse_answer('{"overall": 0.75}', rubric) == Verdict()  # of words, only a letter
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


def test_a_letter_whose_alternatives_are_not_told_gives_no_probability(rubric: JudgeRubric) -> None:
    # Of the written letter alone 0.6 is told: B may hold 0 to 0.4, and 1.0 would be made up.
    alone = [WrittenToken(text="A", logps={"A": math.log(0.6)})]
    assert parse_answer("A", rubric, alone) == Verdict(letter="A", strength=1)
    sure = [WrittenToken(text="A", logps={"A": math.log(0.99)})]
    assert parse_answer("A", rubric, sure).p_first == 1.0  # B holds 0.01 at most


def test_the_probability_is_that_of_the_overall_letter(rubric: JudgeRubric) -> None:
    text = '{"criteria": {"overall": "B"}, "overall": "A"}'
    tokens = [WrittenToken(text=letter, logps={letter: 0.0}) for letter in text]
    assert parse_answer(text, rubric, tokens) == Verdict(letter="A", strength=1)


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
