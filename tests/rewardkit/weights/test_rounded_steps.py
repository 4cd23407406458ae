"""Steps on bf16 weights: rounding is unbiased, a remembered remainder is float32 bit for bit, a checkpoint goes on."""

from __future__ import annotations

import importlib.util
import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rewardkit.config import OptimizerName, TrainedWeights
from rewardkit.distributed.checkpoint import SavedState
from rewardkit.distributed.optimization import adamw
from rewardkit.weights.rounded_steps import joined, rounded_stochastically, split

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="BITSANDBYTES ABSENT: pip install bitsandbytes"
)


def test_rounding_takes_a_neighbour_with_the_probability_that_keeps_the_mean() -> None:
    # bf16 has 7 bits after the first: between 1 and 2 its numbers are 1/128 apart. 1 + 0.3 / 128 goes up in 3 of 10.
    value, count = 1.0 + 0.3 / 128, 200_000
    draws = rounded_stochastically(torch.full((count,), value), torch.Generator().manual_seed(0))
    assert set(draws.float().unique().tolist()) == {1.0, 1.0 + 1 / 128}
    standard_error = math.sqrt(0.3 * 0.7) / 128 / math.sqrt(count)
    assert abs(float(draws.double().mean()) - value) < 4 * standard_error


def test_rounding_is_unbiased_for_values_of_all_sizes_and_signs() -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(64, generator=generator) * torch.logspace(-20, 20, 64)
    draws = torch.stack([rounded_stochastically(values, generator).double() for _ in range(4000)])
    errors = draws.mean(0) - values.double()
    standard_errors = draws.std(0) / math.sqrt(len(draws))
    assert bool((errors.abs() <= 4.5 * standard_errors + 1e-30).all())
    assert float(standard_errors.min()) > 0  # none of them is a bf16 itself


def test_what_is_a_bf16_stays_whatever_is_drawn() -> None:
    values = torch.tensor([0.0, -0.0, 1.0, -3.5, math.inf, -math.inf, 2.0**-126])
    draws = rounded_stochastically(values, torch.Generator().manual_seed(2))
    assert torch.equal(draws.float(), values)


def test_a_number_is_its_nearest_bf16_and_the_rest() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(3)) * torch.logspace(-30, 30, 10_000)
    high, low = split(values)
    assert high.dtype == torch.bfloat16
    assert torch.equal(high, values.bfloat16())
    assert torch.equal(joined(high, low), values)
    # By hand: of 1 and its neighbour 1 + 2^-7 the number is nearer to 1.
    high, low = split(torch.tensor([1.0 + 2.0**-9 + 2.0**-23]))
    assert high.item() == 1.0
    assert low.item() == 2**14 + 1  # float32 has 2^-23 after 1: 2^-9 is 2^14 of them


def test_the_middle_of_two_is_taken_apart_too() -> None:
    values = torch.tensor([1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8, -1.0 - 2.0**-8])
    high, low = split(values)
    assert high.tolist() == [1.0 + 2.0**-7, 1.0 + 2 * 2.0**-7, -1.0 - 2.0**-7]
    assert low.tolist() == [-(2**15)] * 3
    assert torch.equal(joined(high, low), values)


def stepped(trained_weights: TrainedWeights | None, *, num_steps: int, rate: float = 1e-5) -> Tensor:
    """A weight of 1 to 2 after small steps by a noisy gradient; None is plain bf16."""
    generator = torch.Generator().manual_seed(4)
    start = (1.0 + torch.rand(512, generator=generator)).bfloat16()
    weight = torch.nn.Parameter(start if trained_weights != "fp32" else start.float())
    group: Any = [([weight], 0.0)]
    optimizer = adamw(group, rate, trained_weights=trained_weights or "fp32")
    for _ in range(num_steps):
        gradient = (1.0 + torch.randn(512, generator=generator)).bfloat16()
        weight.grad = gradient.to(weight.dtype)
        optimizer.step()
    return weight.detach()


def test_a_thousand_small_steps_add_up_where_plain_bf16_stalls() -> None:
    master = stepped("fp32", num_steps=1000)
    start = stepped(None, num_steps=0)
    moved = (master - start.float()).mean()
    assert float(moved) < -2 / 128 / 4  # by more than half the distance of neighbours
    assert torch.equal(stepped(None, num_steps=1000), start)  # a step of 1e-5 is lost
    assert torch.equal(stepped("bf16_kahan", num_steps=1000), master.bfloat16())  # to the last bit
    stochastic = stepped("bf16_stochastic", num_steps=1000)
    error = stochastic.double() - master.double()
    assert abs(float(error.mean())) < 4 * float(error.std()) / math.sqrt(len(error))
    assert float(error.std()) < 2 / 128


@pytest.mark.parametrize("trained_weights", ["bf16_stochastic", "bf16_kahan"])
@pytest.mark.parametrize("name", ["adamw", pytest.param("adamw_8bit", marks=needs_bitsandbytes)])
def test_a_continued_training_takes_the_same_steps(trained_weights: TrainedWeights, name: OptimizerName) -> None:
    def build() -> tuple[list[torch.nn.Parameter], torch.optim.Optimizer]:
        generator = torch.Generator().manual_seed(5)
        matrix = torch.nn.Parameter(torch.randn(80, 64, generator=generator).bfloat16())
        norm = torch.nn.Parameter(torch.ones(64))
        groups: Any = [([matrix], 0.1), ([norm], 0.0)]
        return [matrix, norm], adamw(groups, 1e-2, optimizer=name, trained_weights=trained_weights, seed=3)

    def take(parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
            optimizer.step()

    parameters, optimizer = build()
    take(parameters, optimizer, range(5))
    file = io.BytesIO()
    torch.save({"weights": [p.detach() for p in parameters], "optimizer": optimizer.state_dict()}, file)
    take(parameters, optimizer, range(5, 9))

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    others, other = build()
    with torch.no_grad():
        for parameter, weight in zip(others, saved["weights"], strict=True):
            parameter.copy_(weight)
    SavedState(values=saved, rows=None, dir=Path()).load_optimizer(other)
    take(others, other, range(5, 9))
    for one, two in zip(parameters, others, strict=True):
        assert torch.equal(one, two)


def test_weights_in_float32_are_stepped_on_as_by_the_inner_optimizer() -> None:
    weights = [torch.nn.Parameter(torch.arange(6.0)) for _ in range(2)]
    for weight, trained_weights in zip(weights, ("fp32", "bf16_kahan"), strict=True):
        group: Any = [([weight], 0.1)]
        optimizer = adamw(group, 0.1, trained_weights=trained_weights)
        for step in range(3):
            weight.grad = torch.full((6,), float(step + 1))
            optimizer.step()
    assert torch.equal(*weights)


@needs_bitsandbytes
def test_eight_bit_moments_take_a_quarter_and_step_alike() -> None:
    results = {}
    for name in ("adamw", "adamw_8bit"):
        weight = torch.nn.Parameter(torch.randn(64, 128, generator=torch.Generator().manual_seed(6)))
        start, generator = weight.detach().clone(), torch.Generator().manual_seed(7)
        group: Any = [([weight], 0.0)]
        optimizer = adamw(group, 1e-3, optimizer=name)
        for _ in range(20):
            weight.grad = torch.randn(64, 128, generator=generator) + 0.5
            optimizer.step()
        moments = [value for value in optimizer.state[weight].values() if isinstance(value, Tensor) and value.dim()]
        results[name] = weight.detach() - start, sum(moment.nbytes for moment in moments)
    (exact, exact_bytes), (coarse, coarse_bytes) = results["adamw"], results["adamw_8bit"]
    assert coarse_bytes < 0.3 * exact_bytes
    assert float((coarse - exact).norm() / exact.norm()) < 0.05


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_eight_bits_without_bitsandbytes_say_what_to_install() -> None:
    group: Any = [([torch.nn.Parameter(torch.ones(2))], 0.0)]
    with pytest.raises(ImportError, match="optimizer adamw_8bit needs bitsandbytes: pip install bitsandbytes"):
        adamw(group, 1e-3, optimizer="adamw_8bit")


@needs_bitsandbytes
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has memory to page")
def test_paged_moments_are_refused_on_a_cpu() -> None:
    group: Any = [([torch.nn.Parameter(torch.ones(2))], 0.0)]
    with pytest.raises(ValueError, match="moves a GPU's memory, here is none: take adamw_8bit"):
        adamw(group, 1e-3, optimizer="paged_adamw_8bit")
