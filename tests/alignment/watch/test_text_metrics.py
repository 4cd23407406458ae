"""Figures of samples, worked by hand, and against the KL of a distribution that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alignment.watch.text_metrics import distinct_n, estimate_kl, kl_tokens, repetition, win_rate

LN2 = math.log(2)


def test_estimators_by_hand() -> None:
    # policy 1/2 and 1/4, reference 1/4 and 1/2: r = -ln 2 and ln 2
    policy, reference = np.log([0.5, 0.25]), np.log([0.25, 0.5])
    assert kl_tokens(policy, reference, "k1").tolist() == pytest.approx([LN2, -LN2])
    # exp(r) - 1 - r: 1/2 - 1 + ln 2, and 2 - 1 - ln 2
    assert kl_tokens(policy, reference, "k3").tolist() == pytest.approx([LN2 - 0.5, 1 - LN2])
    with pytest.raises(ValueError, match="estimator is 'k2', allowed are k1 and k3"):
        kl_tokens(policy, reference, "k2")


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_both_estimators_are_unbiased(estimator: str) -> None:
    policy, reference = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    expected = float((policy * np.log(policy / reference)).sum())
    # the expectation itself, not a sample of it
    found = float(policy @ kl_tokens(np.log(policy), np.log(reference), estimator))
    assert found == pytest.approx(expected)


def test_sequences_are_sums_and_tokens_weigh_alike() -> None:
    # first completion: two tokens of ln 2, second: one token of -ln 2
    policy = [np.log([0.5, 0.5]), np.log([0.25])]
    reference = [np.log([0.25, 0.25]), np.log([0.5])]
    kl = estimate_kl(policy, reference, np.array([0, 1]), estimator="k1")
    assert kl.per_sequence.value == pytest.approx((2 * LN2 - LN2) / 2)
    assert kl.per_token.value == pytest.approx((2 * LN2 - LN2) / 3)
    # two prompts: Student's interval of one degree, mean +- 12.706 times its standard error 1.5 ln 2
    assert kl.per_sequence.low == pytest.approx(LN2 / 2 - 12.7062 * 1.5 * LN2, rel=1e-5)
    assert kl.per_sequence.high == pytest.approx(LN2 / 2 + 12.7062 * 1.5 * LN2, rel=1e-5)


def test_a_policy_equal_to_its_reference_has_no_kl() -> None:
    logps = [np.log([0.5, 0.1]), np.log([0.7])]
    for estimator in ("k1", "k3"):
        assert estimate_kl(logps, logps, np.array([0, 1]), estimator=estimator).per_sequence.value == 0


def test_distinct_n_by_hand() -> None:
    # words: a b a, a c -> 5 words, 3 different; pairs: ab ba ac -> 3, all different
    assert distinct_n(["a b a", "a c"], 1) == pytest.approx(3 / 5)
    assert distinct_n(["a b a", "a c"], 2) == 1.0
    assert distinct_n(["a b", "a b"], 2) == 0.5
    assert math.isnan(distinct_n(["", "a"], 2))


def test_repetition_by_hand() -> None:
    # a b c d a b c d: abcd bcda cdab dabc abcd, 4 different of 5
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("a b c d e") == 0
    assert repetition("a b") == 0


def test_win_rate_counts_ties_half_and_apart() -> None:
    values, others = np.array([1.0, 2.0, 3.0, 0.0]), np.array([0.0, 2.0, 1.0, 5.0])
    found = win_rate(values, others, np.arange(4))
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.rate.value == pytest.approx(2.5 / 4)
    assert found.tie_share == 0.25
    assert found.rate.low < 0.625 < found.rate.high
    other_way = win_rate(others, values, np.arange(4))
    assert other_way.rate.value == pytest.approx(1 - found.rate.value)


def test_the_same_text_ties_whatever_rounding_says() -> None:
    found = win_rate(np.array([1.0 + 1e-7, 2.0]), np.array([1.0, 0.0]), np.arange(2), same=np.array([True, False]))
    assert (found.wins, found.ties) == (1, 1)
