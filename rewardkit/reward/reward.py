"""`Reward`, what a reward function returns: K members' rewards, how they become one number, how criteria add to them.

A model trained with criteria has, beside the K members of its overall head, one head per criterion. Criterion weights
such as `helpful=1,correct=2` make one reward of all heads (`combine`); `overall` names the overall head, and a head
without a weight weighs 0. What was measured on the overall head holds for it alone (`is_overall_reward`):

    calibration              not used for a weighted reward, whose unit the weights choose
    score_mean, score_std,   are the overall head's too; nothing that takes weights reads them
      member_offsets
    members                  K where `overall` has a weight; a criterion's head adds the same to each. Otherwise one, so
                             that std and mutual information are 0. In an ensemble of whole models K either way: each
                             has criterion heads of its own
    intervals over prompts   hold for any reward: prompts are resampled, not members

Arrays in, arrays out; no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from rewardkit.data.records import Message, Preference

Penalty = Literal["mean", "wco", "uwo", "uwo_scaled", "entropic"]


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


class States(Protocol):
    """A network as features of completions."""

    def __call__(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str], /) -> Mapping[str, np.ndarray]:
        """Blocks of B completions, one prompt each: (B, h) `states`, and what else it says of them, (B, columns)."""
        ...


def conservative(
    reward: Reward, rule: Penalty, *, strength: float = 1.0, group: np.ndarray | None = None
) -> np.ndarray:
    """(B,) one reward per completion under uncertainty.

    mean: mean_k r_k.   wco: min_k r_k, worst case.   uwo: mean_k r_k - strength var_k r_k, variance with ddof = 1.
    uwo_scaled: mean_k r_k - strength var_k r_k / s, s = `spread_within` groups of the mean reward; if s = 0 the mean.
    entropic: -(1 / strength) log mean_k exp(-strength r_k), which goes from the mean (strength 0) to the minimum.
    Coste et al. 2024, eqs. 3-5 (arXiv 2310.02743); the entropic form is the risk-averse certainty equivalent.

    Their variance has 1 / K: a strength here is as theirs K / (K - 1) times as large, 1.25 of 5 members. A variance has
    the square of the reward's unit, so that rewards twice as large are punished four times as much by uwo, and twice by
    uwo_scaled: there strength is a number without a unit, the same for every reward model.

    Args:
        strength: above 0; lambda of uwo and risk aversion of entropic, per reward unit; of uwo_scaled without a unit.
        group: (B,) number of each completion's prompt, for uwo_scaled; None takes all for one group.

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
        case "uwo_scaled":
            scale = spread_within(reward.mean, group)
            return reward.mean - strength * reward.std**2 / scale if scale > 0 else reward.mean
        case "entropic":
            scaled = -strength * reward.members
            top = scaled.max(0)
            return -(top + np.log(np.exp(scaled - top).mean(0))) / strength


def spread_within(values: np.ndarray, group: np.ndarray | None = None) -> float:
    """Pooled standard deviation within groups: sqrt(sum (v - mean of its group)^2 / (B - G)); what an advantage sees.

    Where no group holds two values, all are one group; 0 for a single value.

    Args:
        values: (B,).
        group: (B,) number of each value's group; None takes all for one group.
    """
    _, number = np.unique(np.zeros(len(values)) if group is None else group, return_inverse=True)
    if int(number.max(initial=0)) + 1 == len(values):
        number = np.zeros_like(number)
    counts = np.bincount(number)
    if len(values) == len(counts):
        return 0.0
    residuals = values - (np.bincount(number, values) / counts)[number]
    return float(np.sqrt((residuals**2).sum() / (len(values) - len(counts))))


OVERALL = "overall"


def check_criterion_weights(weights: Mapping[str, float], criteria: Sequence[str]) -> None:
    """Checks that a model has a head for every weight.

    Raises:
        ValueError: if a weight names none of `criteria`, listing the heads there are.
    """
    if unknown := [name for name in weights if name not in (OVERALL, *criteria)]:
        heads = f"its heads are {', '.join((OVERALL, *criteria))}" if criteria else "it has the overall head alone"
        raise ValueError(f"criterion_weights names {unknown[0]!r}, of which the model has no head: {heads}")


def is_overall_reward(weights: Mapping[str, float]) -> bool:
    """Whether the weights give the overall head's reward as it is, for which alone a model's calibration was fitted."""
    return {name: weight for name, weight in weights.items() if weight} in ({}, {OVERALL: 1.0})


def criterion_weights_text(weights: Mapping[str, float]) -> str:
    """Exact and in one order, so that equal weights read alike: `correct=2.0, helpful=1.0`."""
    return ", ".join(f"{name}={weight!r}" for name, weight in sorted(weights.items()))


def combine(scores: np.ndarray, *, criteria: Sequence[str], weights: Mapping[str, float]) -> np.ndarray:
    """Members of the combined reward.

    r_k = w_overall r_k,overall + sum_c w_c r_c;  without weights the overall head's members as they are.

    Args:
        scores: (K + C, B) members of the overall head, then one row per criterion.
        criteria: C names, in the order of their rows.
        weights: by criterion and `overall`; what is not named weighs 0.

    Returns:
        (K, B); one row where the overall head weighs 0, because a criterion has one head.
    """
    members, rows = scores[: len(scores) - len(criteria)], scores[len(scores) - len(criteria) :]
    if not weights:
        return members
    check_criterion_weights(weights, criteria)
    by_name = dict(zip(criteria, rows, strict=True))
    fixed = np.zeros_like(scores[0])
    for name, weight in weights.items():
        if name != OVERALL:
            fixed = fixed + weight * by_name[name]
    if not weights.get(OVERALL):
        return fixed[None]
    return weights[OVERALL] * members + fixed


def criterion_names(rows: Sequence[Preference]) -> tuple[str, ...]:
    """Names of all criteria that any row was judged by, sorted."""
    return tuple(sorted({name for row in rows for name in row.criteria}))


def criterion_targets(rows: Sequence[Preference], criteria: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What is asked of each criterion's head.

    Returns:
        (C, N) probability that chosen is better by the criterion (1, 0.5 for a tie, 0), and the (C, N) weight of the
        row, 0 where it was not judged by the criterion.
    """
    degrees = np.array([[row.criteria.get(name, math.nan) for row in rows] for name in criteria])
    degrees = degrees.reshape(len(criteria), len(rows))
    judged = ~np.isnan(degrees)
    p_chosen = np.where(judged, 0.5 + 0.5 * np.sign(np.nan_to_num(degrees)), 0.5)
    return p_chosen, judged * np.array([row.weight for row in rows])
