"""Numbers read exactly, and answers found where problems and models put them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.verifiers.numbers import agree, read_answer, read_numbers, read_target
from rewardkit.data.files import read_rows


def numbers(text: str) -> list[Fraction]:
    return [max(found) for found in read_numbers(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", ["42"]),
        ("It is 42.", ["42"]),  # the point ends the sentence
        ("3.50.", ["7/2"]),
        (".5", ["1/2"]),
        ("1,234.5", ["2469/2"]),
        ("12,345,678", ["12345678"]),
        ("1,2 1,2345", ["1", "2", "1", "2345"]),  # no thousands
        ("1{,}000 and 2\\,000", ["1000", "2000"]),
        ("-7 \u22127 +7", ["-7", "-7", "7"]),
        ("5-3", ["5", "3"]),  # no sign after a digit
        ("- 5 apples", ["5"]),  # a list, not a sign
        ("x=-3", ["-3"]),
        ("$1,000, -$5, $-5, \\$6, US$7", ["1000", "-5", "-5", "6", "7"]),
        ("1/2, -1/2, 1 1/2", ["1/2", "-1/2", "3/2"]),
        ("18/3=6", ["6", "6"]),
        ("\\frac{3}{4} \\dfrac{-1}{2}", ["3/4", "-1/2"]),
        ("1/0", []),
        ("1e3 1.5e-3", ["1000", "3/2000"]),
        ("the 3rd, 5kg", ["3", "5"]),
        ("v2, B2B, 2^3", ["2"]),
        ("9" * 60, []),
    ],
)
def test_numbers_are_read_exactly(text: str, expected: list[str]) -> None:
    assert numbers(text) == [Fraction(each) for each in expected]


def test_percent_is_a_share_or_a_count() -> None:
    (found,) = read_numbers("50%")
    assert found == {Fraction(1, 2), Fraction(50)}
    assert agree(found, {Fraction("0.5")})
    assert agree(found, {Fraction(50)})
    assert not agree(found, {Fraction(5)})


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=3))
def test_what_python_writes_is_read_back(value) -> None:
    for text in (f"{value}", f"{value:,}", f"is {value:,} here"):
        assert numbers(text) == [Fraction(value)]


@given(st.text(alphabet="0123456789,./-+$%{}e #\\boxedfracanswer:is\n", max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    read_answer(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6 * 7 = <<6*7=42>>42\n#### 42", 42),
        ("#### 42\n\nQuestion: another one\n#### 7", 42),  # what it goes on to write is no answer
        ("#### none\n5", None),
        ("\\boxed{1} then \\boxed{\\frac{1}{2}} of 9", "1/2"),
        ("\\boxed{x = 5}", 5),
        ("\\boxed{\\text{five}} of 9", None),
        ("The answer is 42. I used 3 steps.", 42),
        ("Answer: 8 of 9", 8),
        ("Is this the answer: who knows. 4 of 9", 4),
        ("The answer is at the end: we get 7 of 8 and 3", 7),
        ("First 3, then 4, so 7.", 7),
        ("nothing", None),
        ("", None),
    ],
)
def test_answer_is_found_where_it_is_marked_else_last(text: str, expected: object) -> None:
    found = read_answer(text)
    assert found == (None if expected is None else {Fraction(str(expected))})


def test_rounded_answers_agree_and_others_do_not() -> None:
    third = read_target(1 / 3)
    assert third is not None
    assert agree(third, {Fraction(1, 3)})
    assert not agree(third, {Fraction("0.333")})
    assert agree({Fraction(0)}, {Fraction(0)})


@pytest.mark.parametrize(("value", "expected"), [(51.0, 51), (0.1, "1/10"), (7, 7), ("#### 1,000", 1000)])
def test_targets_may_be_numbers_or_texts(value: object, expected: object) -> None:
    assert read_target(value) == {Fraction(str(expected))}


@pytest.mark.parametrize("value", [None, True, float("nan"), float("inf"), "none", [1]])
def test_no_number_is_no_target(value: object) -> None:
    assert read_target(value) is None


@pytest.mark.parametrize("file", ["gsm8k_train", "gsm8k_dev", "svamp_train"])
def test_targets_of_real_problems_are_read(shared_data: Path, file: str) -> None:
    rows = [row for _, row in read_rows(shared_data / f"{file}.jsonl.gz")]
    for row in rows:
        final = read_target(row["final"])
        assert final == {Fraction(str(row["final"]))}
        if "answer" in row:
            assert agree(read_answer(row["answer"]), final), json.dumps(row)
