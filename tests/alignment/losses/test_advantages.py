"""GAE: by hand, against a loop, at its limits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from alignment.losses.advantages import generalised_advantages


def looped(rewards: Tensor, values: Tensor, lengths: list[int], gamma: float, lam: float) -> list[float]:
    """The recursion A_t = delta_t + gamma lam A_{t+1}, from the end of each completion."""
    found: list[float] = []
    start = 0
    for length in lengths:
        later_value = later_advantage = 0.0
        backwards = []
        for place in reversed(range(start, start + length)):
            delta = float(rewards[place]) + gamma * later_value - float(values[place])
            later_advantage = delta + gamma * lam * later_advantage
            later_value = float(values[place])
            backwards.append(later_advantage)
        found += reversed(backwards)
        start += length
    return found


def test_by_hand() -> None:
    # gamma = 1/2, lam = 1/2. First completion, rewards 0, 0, 8, values 1, 2, 4:
    #   delta = 0 + 2/2 - 1, 0 + 4/2 - 2, 8 + 0 - 4 = 0, 0, 4;  A = 4/16, 4/4, 4
    # Second completion of one token, reward 3, value 5: A = -2. Nothing leaks from it into the first.
    found = generalised_advantages(
        torch.tensor([0.0, 0.0, 8.0, 3.0]),
        torch.tensor([1.0, 2.0, 4.0, 5.0]),
        torch.tensor([3, 1]),
        gamma=0.5,
        lam=0.5,
    )
    assert found.advantages.tolist() == [0.25, 1.0, 4.0, -2.0]
    assert found.returns.tolist() == [1.25, 3.0, 8.0, 3.0]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    lam=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    seed=st.integers(0, 1000),
)
def test_doubling_equals_the_loop(lengths: list[int], gamma: float, lam: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, sum(lengths), generator=generator, dtype=torch.float64)
    found = generalised_advantages(rewards, values, torch.tensor(lengths), gamma=gamma, lam=lam)
    assert found.advantages.tolist() == pytest.approx(looped(rewards, values, lengths, gamma, lam), abs=1e-12)
    assert torch.equal(found.returns, found.advantages + values)


def test_long_completions_in_float32() -> None:
    """Doubling adds fewer roundings than a loop: 4,096 tokens at gamma = lam = 1 stay within float32."""
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 4096, generator=generator)
    lengths = torch.tensor([4096])
    found = generalised_advantages(rewards, values, lengths, gamma=1.0, lam=1.0).advantages
    precise = generalised_advantages(rewards.double(), values.double(), lengths, gamma=1.0, lam=1.0).advantages
    assert float((found - precise).abs().max()) < 1e-4


def test_lam_1_is_the_discounted_sum_and_lam_0_one_step() -> None:
    rewards, values = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([10.0, 20.0, 40.0])
    lengths = torch.tensor([3])
    monte_carlo = generalised_advantages(rewards, values, lengths, gamma=0.5, lam=1.0)
    assert monte_carlo.returns.tolist() == pytest.approx([1 + 1 + 1, 2 + 2, 4])  # values cancel
    one_step = generalised_advantages(rewards, values, lengths, gamma=0.5, lam=0.0)
    assert one_step.advantages.tolist() == [1 + 10 - 10, 2 + 20 - 20, 4 - 40]


def test_nothing_carries_a_gradient_and_half_precision_is_lifted() -> None:
    values = torch.tensor([0.5, 0.25], dtype=torch.bfloat16, requires_grad=True)
    found = generalised_advantages(torch.ones(2), values, torch.tensor([2]), gamma=1.0, lam=0.95)
    assert not found.advantages.requires_grad
    assert not found.returns.requires_grad
    assert found.advantages.dtype == torch.float32


def test_no_completions_have_no_advantages() -> None:
    nothing = torch.zeros(0)
    assert generalised_advantages(nothing, nothing, nothing.long(), gamma=1.0, lam=0.9).advantages.shape == (0,)


@pytest.mark.parametrize("given_", [{"gamma": 1.1, "lam": 0.9}, {"gamma": 1.0, "lam": -0.1}])
def test_refusals(given_: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"is (1\.1|-0\.1), allowed is 0 to 1"):
        generalised_advantages(torch.ones(1), torch.ones(1), torch.tensor([1]), **given_)
