"""Optimizer steps on weights that are held in bf16, which alone are too coarse: a step below 2^-9 of a weight is lost.

An optimizer of torch's or of others takes its step in float32, on one parameter after another, and the result is
brought back to bf16 in one of two ways:
1. Stochastic rounding: up or down with probabilities that make the mean exact (Gupta et al. 2015, arXiv 1502.02551;
   for language models in bf16 Ozkara et al. 2025, arXiv 2502.20566).
2. Kahan summation: what rounding took is remembered and added to the next step (Kahan 1965; for bf16 Zamirai et al.
   2020, arXiv 2010.06192, algorithm 3). There the remainder is a bf16 too. Here it is the 16 bits that are cut off, as
   in split SGD (Kalamkar et al. 2020, arXiv 2005.04680, section V): the sum is that of float32 weights bit for bit.

Moments are the inner optimizer's, in float32 or in 8 bits. Bytes per weight, with its bf16 gradient:

    fp32 4 + 4 + 8    stochastic 2 + 2 + 8    Kahan 4 + 2 + 8    with 8-bit moments 2 in place of the 8
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Rounding = Literal["bf16_stochastic", "bf16_kahan"]
Make = Callable[[Sequence[dict[str, Any]]], torch.optim.Optimizer]
"""An optimizer over groups of parameters."""
LOW_BITS = 16  # that bf16 has fewer than float32
LOW = "low"  # the remainder's name in a state


def rounded_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """Float32 values as bf16, each one of its two neighbours, whose mean over draws is the value.

    P(upper) = (value - lower) / (upper - lower).
    """
    bits = values.view(torch.int32)
    draws = torch.randint(0, 1 << LOW_BITS, values.shape, generator=generator, device=values.device, dtype=torch.int32)
    return bits.add(draws).bitwise_and_(-1 << LOW_BITS).view(torch.float32).bfloat16()


def split(values: Tensor) -> tuple[Tensor, Tensor]:
    """Float32 values as the nearest bf16 and an int16, from which `joined` makes them again, bit for bit.

    From the middle of two it is the one further from 0, so that the rest is -2^15 to 2^15 - 1.
    """
    bits = values.view(torch.int32)
    high = bits.add(1 << (LOW_BITS - 1)).bitwise_and_(-1 << LOW_BITS)
    return high.view(torch.float32).bfloat16(), (bits - high).to(torch.int16)


def joined(high: Tensor, low: Tensor) -> Tensor:
    """The float32 values that `split` took apart."""
    return (high.float().view(torch.int32) + low).view(torch.float32)


class RoundedSteps(torch.optim.Optimizer):
    """Steps of an inner optimizer on bf16 parameters; others, say norms in float32, it steps on as they are.

    Args:
        groups: of parameters, each with its options.
        make: makes the inner optimizer of one parameter.
        seed: what random rounding depends on, besides the step and the parameter: a continued training rounds alike.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], make: Make, *, rounding: Rounding, seed: int) -> None:
        super().__init__(groups, {})
        self.rounding: Rounding = rounding
        self.seed, self.num_steps = seed, 0
        self.inner: dict[Tensor, torch.optim.Optimizer] = {}
        self.low: dict[Tensor, Tensor] = {}
        for group in self.param_groups:
            options = {name: value for name, value in group.items() if name != "params"}
            for parameter in group["params"]:
                inner = make([{"params": [self._stepped_on(parameter)], **options}])
                group |= {name: value for name, value in inner.param_groups[0].items() if name != "params"}
                self.inner[parameter] = inner
                if parameter.dtype == torch.bfloat16 and rounding == "bf16_kahan":
                    self.low[parameter] = torch.zeros_like(parameter, dtype=torch.int16)

    @staticmethod
    def _stepped_on(parameter: Tensor) -> Tensor:
        """What the inner optimizer knows: the parameter, or one without memory that is given values for each step."""
        if parameter.dtype != torch.bfloat16:
            return parameter
        return torch.nn.Parameter(torch.empty(0, dtype=torch.float32, device=parameter.device))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Takes one step on every parameter that has a gradient."""
        self.num_steps += 1
        number = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                number += 1
                if parameter.grad is None:
                    continue
                inner = self.inner[parameter]
                inner.param_groups[0]["lr"] = group["lr"]
                if parameter.dtype == torch.bfloat16:
                    self._step_in_float32(parameter, inner, number)
                else:
                    inner.step()

    def _step_in_float32(self, parameter: Tensor, inner: torch.optim.Optimizer, number: int) -> None:
        assert parameter.grad is not None, "asked before"
        (wide,) = inner.param_groups[0]["params"]
        low = self.low.get(parameter)
        wide.data = parameter.float() if low is None else joined(parameter, low)
        wide.grad = parameter.grad.float()
        inner.step()
        if low is None:
            parameter.copy_(rounded_stochastically(wide.data, self._generator(parameter.device, number)))
        else:
            high, rest = split(wide.data)
            parameter.copy_(high)
            low.copy_(rest)
        wide.data, wide.grad = wide.data.new_empty(0), None

    def _generator(self, device: torch.device, number: int) -> torch.Generator:
        key = np.random.SeedSequence((self.seed, self.num_steps, number)).generate_state(1, np.uint64)
        return torch.Generator(device).manual_seed(int(key[0]))

    def state_dict(self) -> dict[str, Any]:
        """The inner optimizers' states by number of the parameter, with remainders and the number of steps."""
        values = super().state_dict()
        state = {}
        for number, (parameter, inner) in enumerate(self.inner.items()):
            of_parameter = inner.state_dict()["state"].get(0)
            if of_parameter is not None:
                low = {LOW: self.low[parameter]} if parameter in self.low else {}
                state[number] = {**of_parameter, **low}
        return values | {"state": state, "num_steps": self.num_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads what `state_dict` gave; number formats are kept."""
        self.num_steps = state_dict["num_steps"]
        for number, (parameter, inner) in enumerate(self.inner.items()):
            of_parameter = dict(state_dict["state"].get(number, {}))
            if parameter in self.low and LOW in of_parameter:
                self.low[parameter].copy_(of_parameter.pop(LOW))
            if of_parameter:
                groups = inner.state_dict()["param_groups"]
                inner.load_state_dict({"state": {0: of_parameter}, "param_groups": groups})
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({name: value for name, value in saved.items() if name != "params"})
