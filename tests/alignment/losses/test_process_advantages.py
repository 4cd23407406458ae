"""Advantages of tokens from rewards of steps: numbers worked by hand, and the outcome form as their limit."""

from __future__ import annotations

import pytest
import torch

from alignment.losses.advantages import EPSILON, group_advantages, process_advantages

LENGTHS = torch.tensor([3, 2, 1, 2])  # two groups of two
PLACES = torch.tensor([0, 2, 4, 5, 6])  # steps of 1 and 2 tokens, of 2, of 1, and one with a token behind it
REWARDS = torch.tensor([1.0, 4.0, 1.0, 3.0, 5.0])


def test_a_token_has_its_step_and_the_later_ones() -> None:
    """Group 1: mean 2, squares 1, 4, 1, std sqrt 3; group 2: 3 and 5, mean 4, std sqrt 2."""
    one, two = 3**0.5 + EPSILON, 2**0.5 + EPSILON
    expected = [(-1 + 2) / one, 2 / one, 2 / one, -1 / one, -1 / one, -1 / two, 1 / two, 0.0]
    found = process_advantages(REWARDS, PLACES, LENGTHS, group_size=2, scale="group")
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_other_scales() -> None:
    """All five rewards: mean 2.8, squares 3.24, 1.44, 3.24, 0.04, 4.84: variance 12.8 / 4."""
    plain = process_advantages(REWARDS, PLACES, LENGTHS, group_size=2, scale="none")
    assert plain.tolist() == [1.0, 2.0, 2.0, -1.0, -1.0, -1.0, 1.0, 0.0]
    scaled = process_advantages(REWARDS, PLACES, LENGTHS, group_size=2, scale="batch")
    assert scaled.tolist() == pytest.approx((plain / (3.2**0.5 + EPSILON)).tolist(), abs=1e-6)
    # differences -1, 2, -1, -1, 1 of mean 0: squares 8, variance 2
    centred = process_advantages(REWARDS, PLACES, LENGTHS, group_size=2, scale="centred")
    assert centred.tolist() == pytest.approx((plain / (2.0**0.5 + EPSILON)).tolist(), abs=1e-6)


@pytest.mark.parametrize("scale", ["group", "batch", "centred", "none"])
def test_one_step_each_is_the_outcome_form(scale) -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, lengths = torch.randn(5, 4, generator=generator), torch.randint(1, 7, (20,), generator=generator)
    outcome = group_advantages(rewards, baseline="group", scale=scale).flatten().repeat_interleave(lengths)
    found = process_advantages(rewards.flatten(), lengths.cumsum(0) - 1, lengths, group_size=4, scale=scale)
    torch.testing.assert_close(found, outcome, atol=1e-6, rtol=1e-5)


def test_a_group_of_equal_steps_has_exactly_none() -> None:
    rewards = torch.tensor([0.1, 0.1, 0.1, 3.0, 5.0])
    found = process_advantages(rewards, PLACES, LENGTHS, group_size=2, scale="group")
    assert found[:5].tolist() == [0.0] * 5
    assert found[5] < 0 < found[6]
