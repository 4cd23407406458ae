"""`Reward`, what a reward function returns, and the rules that turn K members into one number.

Rewards by criterion, combined at scoring time. Arrays in, arrays out; no torch.

A model with criterion heads gives K scores of the overall head's members and one score per criterion. Weights such as
`helpful=1,correct=2` make one reward of them; `overall` names the overall head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from rewardkit.data.records import Message, Preference

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


OVERALL = "overall"


def parse_criterion_weights(text: str) -> dict[str, float]:
    """Reads `helpful=1,correct=2`; empty for an empty text.

    Raises:
        ValueError: if a part is not NAME=NUMBER, a name occurs twice or no weight differs from 0.
    """
    weights: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, mark, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not mark or not name.strip() or name.strip() in weights or not math.isfinite(value):
            raise ValueError(f"criterion weight {part!r}, allowed is NAME=NUMBER, each name once")
        weights[name.strip()] = value
    if weights and not any(weights.values()):
        raise ValueError(f"criterion weights {text!r} are all 0")
    return weights


def check_criterion_weights(weights: Mapping[str, float], criteria: Sequence[str]) -> None:
    """Raises ValueError if a weight names no criterion of the model."""
    if unknown := [name for name in weights if name not in (OVERALL, *criteria)]:
        known = ", ".join((OVERALL, *criteria))
        raise ValueError(f"criterion {unknown[0]!r} is not one of the model's, which are {known}")


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
