"""f-divergences: values by hand, what they share at the reference, limits in alpha, gradients."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from alignment.config.loss_names import DivergenceName
from alignment.losses.by_name import divergence_scores

NAMES = get_args(DivergenceName)


@pytest.mark.parametrize(
    ("name", "alpha", "expected"),
    [
        ("reverse_kl", 0.5, math.log(4.0)),
        ("forward_kl", 0.5, 1 - 1 / 4),
        ("js_divergence", 0.5, math.log(8 / 5)),
        ("alpha_divergence", 0.5, (4**-0.5 - 1) / -0.5),  # = 1
        ("alpha_divergence", 2.0, 4 - 1),
        ("alpha_divergence", 0.0, 1 - 1 / 4),
    ],
)
def test_by_hand_at_a_ratio_of_4(name: DivergenceName, alpha: float, expected: float) -> None:
    found = divergence_scores(torch.tensor([math.log(4.0)]), divergence=name, alpha=alpha)
    assert found.tolist() == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_all_are_0_at_the_reference_and_rise_there(name: DivergenceName) -> None:
    at = torch.zeros(1, requires_grad=True)
    score = divergence_scores(at, divergence=name)
    score.sum().backward()
    assert score.tolist() == pytest.approx([0.0], abs=1e-7)
    assert at.grad is not None
    # d/d log u: 1, 1/u = 1, 1 - u/(1 + u) = 1/2, u^(a - 1) = 1
    assert at.grad.tolist() == pytest.approx([0.5 if name == "js_divergence" else 1.0])


def test_alpha_near_1_is_the_reverse_kl_and_0_the_forward_kl() -> None:
    ratios = torch.linspace(-3.0, 3.0, 13)
    for near in (1.0, 1.0 + 1e-7, 0.999):
        found = divergence_scores(ratios, divergence="alpha_divergence", alpha=near)
        torch.testing.assert_close(found, ratios, atol=0.01, rtol=0.0)
    torch.testing.assert_close(
        divergence_scores(ratios, divergence="alpha_divergence", alpha=0.0),
        divergence_scores(ratios, divergence="forward_kl"),
    )


@pytest.mark.parametrize("name", NAMES)
def test_scores_increase_with_the_ratio(name: DivergenceName) -> None:
    scores = divergence_scores(torch.linspace(-6.0, 6.0, 50), divergence=name)
    assert (scores.diff() > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: DivergenceName) -> None:
    at = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda ratios: divergence_scores(ratios, divergence=name), (at,))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_extreme_ratios_stay_finite(name: DivergenceName, alpha: float) -> None:
    at = torch.tensor([-1e4, 1e4], requires_grad=True)
    scores = divergence_scores(at, divergence=name, alpha=alpha)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert at.grad is not None
    assert at.grad.isfinite().all()
