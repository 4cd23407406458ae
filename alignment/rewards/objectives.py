"""Several rewards that are more than a weighted sum: gates and constraints. Numbers in, numbers out.

    gated = min(r, f + g (r - f))                        g a gate's share, f what a closed gate gives
    objective = (gated + sum_k lambda_k (s_k - c_k)) / (1 + sum_k lambda_k)

A gate never raises a reward: below f it leaves it as it is. The second line is the Lagrangian of "maximise the gated
reward subject to mean s_k >= c_k", divided so that a large multiplier does not make large steps: Dai et al. 2023, Safe
RLHF, section 3.2 and appendix B.3 (arXiv 2310.12773), their cost being -s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from alignment.config.objectives import Constraint


def gate_shares(rewards: np.ndarray, least: float | None) -> np.ndarray:
    """(B,) how far a gate is open: 1 from `least` on, else 0; without `least` the reward itself, held within 0 to 1.

    Args:
        rewards: (B,) of the source that is the gate.
    """
    return np.clip(rewards, 0.0, 1.0) if least is None else (rewards >= least).astype(float)


def gated(rewards: np.ndarray, shares: np.ndarray, *, closed: float) -> np.ndarray:
    """Rewards behind a gate, same shape; see the module.

    Args:
        rewards: (..., B).
        shares: (B,) from 0, closed, to 1, open.
        closed: f, reward units.
    """
    return np.minimum(rewards, closed + shares * (rewards - closed))


@dataclass(frozen=True, kw_only=True)
class Multipliers:
    """Learned Lagrange multipliers of constraints, ascended in their logarithm so that they stay positive.

        log lambda' = log lambda + rate lambda (c - mean s), held between log smallest and log most

    Dai et al. 2023, appendix B.3 (arXiv 2310.12773), with the mean over a step's completions where theirs is over a
    window of steps, and with bounds: where the constraint cannot be met the multiplier would grow without end, and as
    its steps are as large as it is, one thrown to nearly 0 by a single large step would stay there.

    Attributes:
        constraints: one or more.
        logs: natural logarithms of their multipliers.
        rate: > 0.
        smallest: smallest multiplier, > 0.
        most: largest multiplier.
    """

    constraints: Sequence[Constraint]
    logs: Sequence[float]
    rate: float
    smallest: float
    most: float

    @property
    def by_name(self) -> dict[str, float]:
        """The multipliers by source."""
        return {one.name: math.exp(log) for one, log in zip(self.constraints, self.logs, strict=True)}

    def after(self, means: Mapping[str, float]) -> Self:
        """The multipliers after a step.

        Args:
            means: mean rewards of the step's completions, by source.
        """
        steps = [
            self.rate * math.exp(log) * (one.least - means[one.name])
            for one, log in zip(self.constraints, self.logs, strict=True)
        ]
        low, high = math.log(self.smallest), math.log(self.most)
        return replace(self, logs=[min(max(log + step, low), high) for log, step in zip(self.logs, steps, strict=True)])
