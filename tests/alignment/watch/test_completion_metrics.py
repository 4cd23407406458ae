"""Metrics of a step's completions, worked by hand."""

from __future__ import annotations

import math

import pytest

from alignment.watch.completion_metrics import completion_metrics, unique_share
from alignment.watch.failure_modes import READ


def test_a_step_by_hand() -> None:
    texts = ["a b c d a b c d", "I cannot help with that.", "a b", "a b"]
    found = completion_metrics(texts, [8, 6, 2, 4], [True, True, False, True], [0, 0, 1, 1])
    assert found["completions/length"] == 5.0
    assert (found["completions/min_length"], found["completions/max_length"]) == (2.0, 8.0)
    assert found["completions/truncated_share"] == 0.25
    # pairs: ab bc cd da ab bc cd | i-cannot cannot-help help-with with-that | ab | ab: 13, of them 8 different
    assert found["completions/distinct_2"] == pytest.approx(8 / 13)
    # 4-grams of the first: 4 different of 5; of the second: 2 of 2; the others have none
    assert found["completions/repetition"] == pytest.approx(0.2 / 4)
    assert found["completions/refusal_share"] == 0.25
    assert found["groups/unique_share"] == pytest.approx((1.0 + 0.5) / 2)


def test_groups_weigh_alike_whatever_their_size() -> None:
    assert unique_share(["x", "x", "x", "x", "y"], [3, 3, 3, 3, 1]) == pytest.approx((0.25 + 1.0) / 2)
    assert unique_share(["x", "y", "x"], [0, 0, 1]) == 1.0  # the same text in two groups is no repetition
    assert math.isnan(unique_share([], []))


def test_no_completions_are_refused() -> None:
    with pytest.raises(ValueError, match="0 completions, at least 1"):
        completion_metrics([], [], [], [])


def test_the_watcher_reads_them_by_the_same_names() -> None:
    found = completion_metrics(["a b"], [2], [True], [0])
    assert set(found) - set(READ) == {"completions/min_length", "completions/max_length"}
