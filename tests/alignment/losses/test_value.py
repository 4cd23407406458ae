"""The clipped value loss and explained variance."""

from __future__ import annotations

import math

import pytest
import torch

from alignment.losses.value import explained_variance, moment_sums, value_loss


def one(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_by_hand() -> None:
    # old value 0, clip 1, return 4. v = 0.5: within, 0.5 (3.5)^2. v = 3: held at 1, the larger distance, 0.5 (3)^2.
    # v = -2: held at -1, nearer than -2, so the free one counts: 0.5 (6)^2.
    found = value_loss(one(0.5, 3.0, -2.0), one(0, 0, 0), one(4, 4, 4), clip_range=1.0)
    assert found.losses.tolist() == [6.125, 4.5, 18.0]
    assert found.clipped.tolist() == [0.0, 1.0, 0.0]


def test_a_value_beyond_its_range_on_the_way_to_the_return_has_no_gradient() -> None:
    values = one(0.5, 3.0, -2.0).requires_grad_()
    value_loss(values, one(0, 0, 0), one(4, 4, 4), clip_range=1.0).losses.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [-3.5, 0.0, -6.0]


def test_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    values, old, returns = torch.randn(3, 20, generator=generator, dtype=torch.float64)

    def losses(given: torch.Tensor) -> torch.Tensor:
        return value_loss(given, old, returns, clip_range=0.5).losses

    assert torch.autograd.gradcheck(losses, values.requires_grad_())


def test_an_infinite_range_is_plain_regression() -> None:
    values, returns = one(1, -7, 3), one(0, 1, 9)
    found = value_loss(values, one(50, 50, 50), returns, clip_range=float("inf"))
    torch.testing.assert_close(found.losses, 0.5 * (values - returns).square())
    assert not found.clipped.any()


def test_the_range_is_positive() -> None:
    with pytest.raises(ValueError, match=r"clip_range is 0\.0, allowed is more than 0"):
        value_loss(one(1), one(1), one(1), clip_range=0.0)


def explained(values: torch.Tensor, returns: torch.Tensor) -> float:
    return explained_variance(moment_sums(returns - values), moment_sums(returns))


def test_explained_variance() -> None:
    returns = one(1, 2, 6)
    assert explained(returns, returns) == 1.0
    assert explained(returns + 5.0, returns) == 1.0  # a constant error explains all of the variance
    assert explained(one(3, 3, 3), returns) == pytest.approx(0.0, abs=1e-12)
    assert explained(-returns, returns) == pytest.approx(-3.0)  # residuals are twice the returns: 1 - 4
    assert math.isnan(explained(one(1, 2, 3), one(0.1, 0.1, 0.1)))
