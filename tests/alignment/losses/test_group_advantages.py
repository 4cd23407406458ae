"""Advantages of groups: by hand, against a loop, exactly 0 where there is nothing to compare."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignment.config.policy_gradient_names import BASELINES, BaselineName, ScaleName
from alignment.losses.advantages import RunningMean, group_advantages, normalised_first, without_signal

# Two groups of three. First: mean 3, squared distances 4 + 1 + 9 = 14, variance 7 with ddof 1. Second: mean 1, 0.
# All six: mean 2, squared distances 1 + 0 + 16 + 3 x 1 = 20, variance 4 with ddof 1.
REWARDS = torch.tensor([[1.0, 2.0, 6.0], [1.0, 1.0, 1.0]])
SD = math.sqrt(7.0) + 1e-4
BY_HAND: list[tuple[BaselineName, ScaleName, list[list[float]]]] = [
    ("group", "none", [[-2, -1, 3], [0, 0, 0]]),
    ("group", "group", [[-2 / SD, -1 / SD, 3 / SD], [0, 0, 0]]),
    ("group", "batch", [[-2 / 2.0001, -1 / 2.0001, 3 / 2.0001], [0, 0, 0]]),
    # differences -2, -1, 3, 0, 0, 0: squares 14, variance 2.8 with ddof 1
    ("group", "centred", [[x / (math.sqrt(2.8) + 1e-4) for x in (-2, -1, 3)], [0, 0, 0]]),
    ("leave_one_out", "none", [[1 - 4, 2 - 3.5, 6 - 1.5], [0, 0, 0]]),
    ("batch", "none", [[-1, 0, 4], [-1, -1, -1]]),
    ("batch", "batch", [[-1 / 2.0001, 0, 4 / 2.0001], [-1 / 2.0001] * 3]),
    ("running", "none", [[0.5, 1.5, 5.5], [0.5, 0.5, 0.5]]),
    ("none", "none", [[1, 2, 6], [1, 1, 1]]),
]


@pytest.mark.parametrize(("baseline", "scale", "expected"), BY_HAND)
def test_by_hand(baseline: BaselineName, scale: ScaleName, expected: list[list[float]]) -> None:
    found = group_advantages(REWARDS, baseline=baseline, scale=scale, running_mean=0.5)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))
    assert without_signal(found).tolist() == [False, expected[1] == [0, 0, 0]]


def test_every_baseline_and_scale_is_worked() -> None:
    assert {(baseline, scale) for baseline, scale, _ in BY_HAND} == {
        (name, scale) for name, each in BASELINES.items() for scale in each.scales
    }


@given(
    rewards=st.lists(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4), min_size=1, max_size=4),
    scaled=st.booleans(),
)
def test_against_a_loop(rewards: list[list[float]], scaled: bool) -> None:
    tensor = torch.tensor(rewards, dtype=torch.float64)
    found = group_advantages(tensor, baseline="group", scale="group" if scaled else "none")
    others = group_advantages(tensor, baseline="leave_one_out", scale="none")
    for group, advantages, out in zip(rewards, found.tolist(), others.tolist(), strict=True):
        divisor = statistics.stdev(group) + 1e-4 if scaled else 1.0
        mean = statistics.fmean(group)
        assert advantages == pytest.approx([(each - mean) / divisor for each in group], abs=1e-9)
        rest = [statistics.fmean(group[:place] + group[place + 1 :]) for place in range(4)]
        assert out == pytest.approx([each - other for each, other in zip(group, rest, strict=True)], abs=1e-9)


def test_groups_of_one_have_no_advantage() -> None:
    rewards = torch.tensor([[0.3], [7.0]])
    of_groups: list[tuple[BaselineName, ScaleName]] = [
        (baseline, scale) for baseline, scale, _ in BY_HAND if baseline in ("group", "leave_one_out")
    ]
    assert len(of_groups) == 5
    for baseline, scale in of_groups:
        assert group_advantages(rewards, baseline=baseline, scale=scale).tolist() == [[0.0], [0.0]]
    lone = group_advantages(torch.tensor([[0.3]]), baseline="batch", scale="batch")
    assert lone.tolist() == [[0.0]]


@given(value=st.floats(-100, 100, width=32), size=st.integers(1, 16))
def test_equal_rewards_give_exactly_0(value: float, size: int) -> None:
    rewards = torch.full((3, size), value)
    comparing: list[tuple[BaselineName, ScaleName]] = [
        (baseline, scale) for baseline, scale, _ in BY_HAND if baseline not in ("running", "none")
    ]
    for baseline, scale in comparing:
        found = group_advantages(rewards, baseline=baseline, scale=scale)
        assert not found.any()
        assert without_signal(found).all()


def test_the_mean_of_equal_rewards_may_differ_from_them() -> None:
    """Why exactly 0 needs a comparison: some numbers of 0.7 have a mean in float32 that is not 0.7."""
    odd = [
        rewards for rewards in (torch.full((1, size), 0.7) for size in range(2, 40)) if rewards.mean() != rewards[0, 0]
    ]
    assert odd
    assert not any(group_advantages(rewards, baseline="group", scale="group").any() for rewards in odd)


def test_advantages_are_lifted_and_detached() -> None:
    rewards = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16, requires_grad=True)
    found = group_advantages(rewards, baseline="group", scale="none")
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_the_group_baseline_neither_sees_a_shift_nor_the_scaled_one_a_factor() -> None:
    rewards = 10.0 * torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    base = group_advantages(rewards, baseline="group", scale="group")
    torch.testing.assert_close(group_advantages(rewards + 7, baseline="group", scale="group"), base)
    scaled = group_advantages(rewards * 1e3, baseline="group", scale="group")
    torch.testing.assert_close(scaled, base, atol=1e-3, rtol=0)


def test_running_mean_by_hand() -> None:
    # decay 1/2, steps with means 4, 1: (4/2 + 1) / (1/2 + 1) = 2
    state = RunningMean(decay=0.5)
    assert state.mean == 0.0
    assert state.after(4.0).mean == 4.0
    assert state.after(4.0).after(1.0).mean == 2.0
    assert state.mean == 0.0  # unchanged
    with pytest.raises(ValueError, match=r"decay is 1\.0, allowed is 0 up to 1"):
        RunningMean(decay=1.0)


def test_rewards_normalised_one_by_one_by_hand() -> None:
    """Two rewards of one group of two, weights 1 and 3: 0, 100 and 1, 0. Each is -a, a and a, -a, a = sqrt(0.5), but
    for 1e-4; the sum is (-a + 3 a, a - 3 a) = (2 a, -2 a), whose spread is 2 a sqrt(2) = 2."""
    rewards = torch.tensor([[[0.0, 100.0]], [[1.0, 0.0]]])
    found = normalised_first(rewards, [1.0, 3.0])
    torch.testing.assert_close(found, torch.tensor([[1.0, -1.0]]) * math.sqrt(0.5), atol=2e-4, rtol=0)
    summed = (rewards * torch.tensor([1.0, 3.0])[:, None, None]).sum(0)
    assert group_advantages(summed, baseline="group", scale="group")[0, 0] < 0  # the large one decides


def test_what_is_subtracted_counts_in_spreads_of_a_reward() -> None:
    rewards = torch.tensor([[[0.0, 2.0, 4.0]]])  # -1, 0, 1 less -1, 2, -1 is 0, -2, 2, of spread 2
    found = normalised_first(rewards, [1.0], torch.tensor([[0.0, 3.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, -1.0, 1.0]]), atol=2e-4, rtol=0)


def test_groups_without_signal_in_any_reward_are_exactly_0() -> None:
    rewards = torch.tensor([[[0.7] * 7, [0.1] * 6 + [0.3]], [[7.7] * 7, [1.0] * 7]])
    assert without_signal(normalised_first(rewards, [0.3, 1.7])).tolist() == [True, False]
