"""Every step equals the plain formula that autograd differentiates, and its gradient the finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rewardkit.network.fused import Matrix, added_norm, gated, products, rotated


def randoms(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


def assert_same_gradients(found: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    """Of a sum weighted by other numbers at every place."""
    torch.testing.assert_close(found, expected)
    weights = torch.linspace(-1.0, 2.0, found.numel(), dtype=found.dtype).view_as(found)
    pairs = zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def test_a_norm_worked_by_hand() -> None:
    # s = (1, 2) + (2, 2) = (3, 4), mean square 12.5; with eps 3.5 the root is 4: y = (2 * 3 / 4, 1 * 4 / 4).
    x, added, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 2.0]]), torch.tensor([2.0, 1.0])
    total, normed = added_norm(x, added, weight, 3.5, torch.float32)
    torch.testing.assert_close(total, torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(normed, torch.tensor([[1.5, 1.0]]))


def test_an_added_norm_and_its_gradient_equal_the_formula() -> None:
    inputs = randoms((3, 2, 4), (3, 2, 4), (4,))
    x, added, weight = inputs

    def step(x: Tensor, added: Tensor, weight: Tensor) -> Tensor:
        return torch.cat(added_norm(x, added, weight, 0.1, torch.float64), -1)

    total = x + added
    expected = torch.cat((total, torch.nn.functional.rms_norm(total, (4,), weight, 0.1)), -1)
    assert_same_gradients(step(*inputs), expected, inputs)
    assert torch.autograd.gradcheck(step, inputs)
    assert torch.autograd.gradcheck(lambda x, w: added_norm(x, None, w, 0.1, torch.float64), [x, weight])


def test_one_output_of_an_added_norm_alone_has_its_own_gradient() -> None:
    inputs = randoms((3, 4), (3, 4), (4,))
    for place in (0, 1):
        assert torch.autograd.gradcheck(
            lambda x, added, weight, n=place: added_norm(x, added, weight, 0.1, torch.float64)[n], inputs
        )


def test_a_norm_of_half_precision_is_computed_in_float32() -> None:
    x = torch.full((1, 4), 300.0, dtype=torch.float16)  # its square is no float16
    _, normed = added_norm(x, None, torch.ones(4, dtype=torch.float16), 1e-6, torch.float16)
    assert normed.dtype == torch.float16
    assert normed.tolist() == [[1.0] * 4]


def test_a_gate_and_its_gradient_equal_the_formula() -> None:
    # silu(ln 3) = 3/4 ln 3
    assert float(gated(torch.tensor(3.0).log(), torch.tensor(4.0))) == pytest.approx(3 * math.log(3))
    inputs = randoms((3, 4), (3, 4))
    gate, up = inputs
    assert_same_gradients(gated(gate, up), gate * gate.sigmoid() * up, inputs)
    assert torch.autograd.gradcheck(gated, inputs)


def test_a_rotation_and_its_gradient_equal_the_formula() -> None:
    (heads,) = randoms((5, 3, 4))
    angles = torch.linspace(0.0, 3.0, 10, dtype=torch.float64).view(5, 1, 2)
    cos, sin = angles.cos().repeat(1, 1, 2) * 1.5, angles.sin() * 1.5
    first, second = heads.chunk(2, -1)
    expected = torch.cat((first * cos[..., :2] - second * sin, second * cos[..., :2] + first * sin), -1)
    assert_same_gradients(rotated(heads, cos, sin), expected, [heads])
    assert torch.autograd.gradcheck(lambda x: rotated(x, cos, sin), [heads])
    # (1, 0) by a right angle is (0, 1).
    turned = rotated(torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 1, 2), torch.ones(1, 1, 1))
    assert turned.tolist() == [[[0.0, 1.0]]]


@pytest.mark.parametrize("has_adapter", [True, False])
def test_products_and_their_gradients_equal_the_formula(has_adapter: bool) -> None:
    inputs = randoms((6, 4), (3, 4), (3,), (5, 4), (2, 4), (5, 2))

    def step(x: Tensor, one: Tensor, bias: Tensor, other: Tensor, down: Tensor, up: Tensor) -> Tensor:
        adapter = {"down": down, "up": up, "scale": 0.7} if has_adapter else {}
        return torch.cat(products(x, [Matrix(weight=one, bias=bias), Matrix(weight=other, **adapter)]), 1)

    x, one, bias, other, down, up = inputs
    delta = 0.7 * up @ down if has_adapter else 0.0 * up @ down
    expected = torch.cat((x @ one.t() + bias, x @ (other + delta).t()), 1)
    used = inputs if has_adapter else inputs[:4]
    assert_same_gradients(step(*inputs), expected, used)
    if has_adapter:
        assert torch.autograd.gradcheck(step, inputs)


def test_an_adapter_smaller_than_the_rounding_of_its_weight_still_acts_in_bf16() -> None:
    ones = torch.ones(1, 2, dtype=torch.bfloat16)
    # 1 + 2^-10 is 1 in bfloat16. Of inputs 1 and -1 the weights cancel: the adapter, on the first one only, is left.
    matrix = Matrix(
        weight=ones, down=torch.tensor([[1.0, 0.0]]).bfloat16(), up=torch.full((1, 1), 2.0**-10).bfloat16(), scale=1.0
    )
    x = torch.tensor([[1.0, -1.0]], dtype=torch.bfloat16, requires_grad=True)
    (found,) = products(x, [matrix])
    assert found.item() == 2.0**-10
    frozen = Matrix(weight=torch.zeros(1, 2).bfloat16(), down=matrix.down, up=matrix.up, scale=4.0)
    (gradient,) = torch.autograd.grad(products(x, [frozen])[0].sum(), x)
    assert gradient.tolist() == [[2.0**-8, 0.0]]
