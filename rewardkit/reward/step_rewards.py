"""`StepRewards`, what a process reward model says of one answer, and how its steps become one number. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, get_args, runtime_checkable

import numpy as np

from rewardkit.config import Aggregation
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


@dataclass(frozen=True, kw_only=True)
class StepRewards(Reward):
    """Probabilities that the S steps of one answer are right, by K members; its mean and std are (S,).

    Attributes:
        members: (K, S) float64, each 0 to 1.
    """


@runtime_checkable
class StepRewardFn(Protocol):
    """Anything that says of steps how likely they are right."""

    def score_steps(self, prompts: Sequence[Sequence[Message]], steps: Sequence[Sequence[str]]) -> list[StepRewards]:
        """Probabilities of the steps of B answers, one prompt each; an answer has one step or more."""
        ...


def aggregate(probabilities: np.ndarray, rule: Aggregation) -> np.ndarray:
    """(...) one number per answer from the probabilities of its steps, (..., S).

    min: the weakest step (Lightman et al. 2024, appendix F, whose other rule is product, that all are right; arXiv
    2305.20050).   last: the step that ends the answer.   mean: over steps.

    Raises:
        ValueError: if there is no step.
    """
    if not probabilities.shape[-1]:
        raise ValueError("an answer without a step has no reward")
    match rule:
        case "min":
            return probabilities.min(-1)
        case "product":
            return probabilities.prod(-1)
        case "last":
            return probabilities[..., -1]
        case "mean":
            return probabilities.mean(-1)
