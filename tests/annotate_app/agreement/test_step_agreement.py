"""Agreement on steps and on the first error, by hand."""

from __future__ import annotations

import math

import pytest

from annotate_app.agreement.steps import step_agreement
from rewardkit.data.records import Judgment


def judged(key: str, annotator: str, *labels: float | None) -> Judgment:
    return Judgment(comparison_id=key, annotator=annotator, choice="tie", step_labels=labels)


def test_steps_and_first_errors_are_compared_by_every_two_people() -> None:
    found = step_agreement(
        [
            # anna-ben: 2 of 3 steps, another first error; anna-cleo: 1 of 2, the same; ben-cleo: 0 of 2, another.
            judged("x", "anna", 1, 0, 0),
            judged("x", "ben", 1, 1, 0),
            judged("x", "cleo", 0.5, 0, None),
            # Soft labels count by the side of one half; both see no error.
            judged("y", "anna", 1, 0.5),
            judged("y", "dataset", 0.7, 0.5),
            judged("y", "anna", 0, 0),  # again: the first counts
            judged("z", "anna", 0, None),
            Judgment(comparison_id="z", annotator="ben", choice="skip", reason="tired"),
        ],
        num_resamples=0,
    )
    x, y = found.answers
    assert (x.num_judgments, x.num_steps, y.num_judgments) == (3, 3, 2)
    assert x.steps == pytest.approx(3 / 7)
    assert x.first_error == pytest.approx(1 / 3)
    assert (y.steps, y.first_error) == (1.0, 1.0)
    assert found.steps.value == pytest.approx((3 / 7 + 1) / 2)
    assert found.first_error.value == pytest.approx(2 / 3)
    assert found.num_judgments == 6


def test_a_first_error_behind_an_open_step_is_not_known() -> None:
    # ben left the first step open: where his first error is nobody knows, but the second step can be compared.
    found = step_agreement([judged("x", "anna", 1, 0), judged("x", "ben", None, 0)], num_resamples=0)
    [answer] = found.answers
    assert answer.steps == 1.0
    assert math.isnan(answer.first_error)
    assert math.isnan(found.first_error.value)


def test_intervals_are_over_answers_and_hold_the_value() -> None:
    given = [
        judged(f"x{number}", name, 1, 1, label)
        for number in range(20)
        for name, label in (("anna", 0), ("ben", int(number % 4 == 0)))
    ]
    found = step_agreement(given, num_resamples=200, seed=1)
    # 5 of 20 answers agree on 2 of 3 steps and not on the error, 15 on all: 11 / 12 and 3 / 4.
    assert (found.steps.value, found.first_error.value) == (pytest.approx(11 / 12), pytest.approx(3 / 4))
    assert 0.5 < found.first_error.low < 0.75 < found.first_error.high < 1
