"""`Reward`, what a reward function returns, and the rules that turn K members into one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from rewardkit.data.records import Message

Penalty = Literal["mean", "wco", "uwo", "entropic"]


@dataclass(frozen=True, kw_only=True)
class Reward:
    """Rewards of B completions by K members.

    Attributes:
        members: (K, B) float64.
    """

    members: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(B,) mean over members."""
        return self.members.mean(0)

    @property
    def std(self) -> np.ndarray:
        """(B,) standard deviation over members, ddof = 1; 0 for one member."""
        if len(self.members) == 1:
            return np.zeros(self.members.shape[1])
        return self.members.std(0, ddof=1)


class RewardFn(Protocol):
    """Anything that rewards completions of prompts."""

    def __call__(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
        """Rewards of B completions, one prompt each."""
        ...


def conservative(reward: Reward, rule: Penalty, *, strength: float = 1.0) -> np.ndarray:
    """(B,) one reward per completion under uncertainty.

    mean: mean_k r_k.   wco: min_k r_k, worst case.   uwo: mean_k r_k - strength var_k r_k, variance with ddof = 1.
    entropic: -(1 / strength) log mean_k exp(-strength r_k), which goes from the mean (strength 0) to the minimum.
    Coste et al. 2024, eqs. 3-5 (arXiv 2310.02743); the entropic form is the risk-averse certainty equivalent.

    Args:
        strength: lambda of uwo and risk aversion of entropic, above 0, per reward unit.

    Raises:
        ValueError: if strength is not positive.
    """
    if strength <= 0:
        raise ValueError(f"strength is {strength}, allowed is above 0")
    match rule:
        case "mean":
            return reward.mean
        case "wco":
            return reward.members.min(0)
        case "uwo":
            return reward.mean - strength * reward.std**2
        case "entropic":
            scaled = -strength * reward.members
            top = scaled.max(0)
            return -(top + np.log(np.exp(scaled - top).mean(0))) / strength
