"""Weights of pairs and sums that length does not sway: by hand, limits, gradients, refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from alignment.config.training import DpoConfig
from alignment.losses.pair_tokens import desensitised_sums, wpo_weights

LENGTHS = torch.tensor([3, 1, 1, 2])  # two pairs
BRANCH = torch.tensor([0, 0, 0, 1, 2, 3, 3])
LOGPS = torch.tensor([-1.0, -2.0, -3.0, -4.0, -0.5, -0.25, -0.75], dtype=torch.float64)


def test_weights_by_hand() -> None:
    """Means of log p - log sum of squares: (1 + 0 - 1) / 3, -2; 0.5, (0.75 + 0.25) / 2; weights e^-2 and e^1."""
    squares = torch.tensor([-2.0, -2.0, -2.0, -2.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    logps = LOGPS.clone().requires_grad_()
    weights = wpo_weights(logps, squares, BRANCH, LENGTHS)
    assert weights.tolist() == pytest.approx([math.exp(-2.0), math.exp(1.0)])
    assert not weights.requires_grad


def test_completions_of_a_uniform_policy_weigh_one() -> None:
    """All of V tokens equally likely: the sum of squares is 1 / V, as the probability of any token."""
    logps = torch.full((7,), -math.log(50.0))
    torch.testing.assert_close(wpo_weights(logps, logps, BRANCH, LENGTHS), torch.ones(2))


def test_surplus_tokens_by_hand() -> None:
    """The shorter ones have 1 token: -1 + a (-2 - 3), -4; -0.5, -0.25 + a (-0.75), a = 0.2."""
    logps = LOGPS.clone().requires_grad_()
    sums = desensitised_sums(logps, LENGTHS, ld_alpha=0.2)
    assert sums.tolist() == pytest.approx([-2.0, -4.0, -0.5, -0.4])
    assert torch.autograd.grad(sums.sum(), logps)[0].tolist() == pytest.approx([1.0, 0.2, 0.2, 1.0, 1.0, 1.0, 0.2])


def test_limits_of_alpha() -> None:
    assert desensitised_sums(LOGPS, LENGTHS, ld_alpha=1.0).tolist() == pytest.approx([-6.0, -4.0, -0.5, -1.0])
    assert desensitised_sums(LOGPS, LENGTHS, ld_alpha=0.0).tolist() == pytest.approx([-1.0, -4.0, -0.5, -0.25])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"use_weighting": True, "loss": "aot"}, "use_weighting weighs single pairs, loss aot"),
        ({"ld_alpha": 1.5}, "ld_alpha is 1.5, allowed is 0 to 1"),
        ({"ld_alpha": 0.5, "loss": "simpo"}, "ld_alpha is for losses with a reference"),
        ({"ld_alpha": 0.5, "loss": "mpo"}, "without an sft part"),
        ({"ld_alpha": 0.5, "sft_weight": 1.0}, "nor sft_weight"),
    ],
)
def test_refusals(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DpoConfig(model="m", data="d", out="o", **options)
