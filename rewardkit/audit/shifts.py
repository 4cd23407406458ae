"""How a policy's traits moved: before and after on the same prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.audit.answers import NAMES, PolicyAnswers
from rewardkit.audit.effects import holm, upper_tail
from rewardkit.evaluation.scored_preferences import score_completions
from rewardkit.reward.reward import RewardFn
from rewardkit.stats.metrics import Interval, average_interval, share_difference_interval
from rewardkit.traits.traits import TRAITS, measure_traits, user_text


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One trait of a policy, means over prompts.

    Attributes:
        before, after: share of completions that have it; of length the mean log2 of words.
        difference: after less before, paired by prompt.
        p_adjusted: two-sided, by Holm over all traits.
    """

    trait: str
    before: float
    after: float
    difference: Interval
    p_adjusted: float


@dataclass(frozen=True, kw_only=True)
class PolicyRewards:
    """What a model says of the policy's completions.

    Attributes:
        rise: reward after less before, mean over prompts.
        before, after: (P,) mean reward of each prompt.
        std: (P,) largest standard deviation over members of a completion after.
        widest: (P,) number of that completion among those of its prompt.
    """

    rise: Interval
    before: np.ndarray
    after: np.ndarray
    std: np.ndarray
    widest: np.ndarray


def policy_shifts(policy: PolicyAnswers, *, seed: int) -> list[Shift]:
    """Every trait before and after, in the order of TRAITS."""
    before, after = (_means(policy, side) for side in (policy.before, policy.after))
    prompt = np.arange(len(policy.prompts))
    p_values = np.array([_p_value(after[:, at] - before[:, at]) for at in range(len(NAMES))])
    return [
        Shift(
            trait=name,
            before=float(before[:, at].mean()),
            after=float(after[:, at].mean()),
            difference=share_difference_interval(after[:, at], before[:, at], prompt, seed=seed)
            if TRAITS[name].is_share
            else average_interval(after[:, at] - before[:, at], prompt, seed=seed),
            p_adjusted=float(p),
        )
        for at, (name, p) in enumerate(zip(NAMES, holm(p_values), strict=True))
    ]


def policy_rewards(policy: PolicyAnswers, reward_fn: RewardFn, *, seed: int) -> PolicyRewards:
    """Rewards of all completions of a policy before and after."""
    sides = []
    for groups in (policy.before, policy.after):
        members = score_completions(
            [(prompt, text) for prompt, texts in zip(policy.prompts, groups, strict=True) for text in texts], reward_fn
        )
        ends = np.cumsum([len(texts) for texts in groups])[:-1]
        sides.append(np.split(members, ends, axis=1))
    means = [np.array([part.mean() for part in parts]) for parts in sides]
    spreads = [part.std(0, ddof=1) if len(part) > 1 else np.zeros(part.shape[1]) for part in sides[1]]
    return PolicyRewards(
        rise=average_interval(means[1] - means[0], seed=seed),
        before=means[0],
        after=means[1],
        std=np.array([spread.max() for spread in spreads]),
        widest=np.array([int(spread.argmax()) for spread in spreads]),
    )


def _means(policy: PolicyAnswers, groups: Sequence[Sequence[str]]) -> np.ndarray:
    """(P, J) mean traits of each prompt's completions."""
    return np.array(
        [
            measure_traits([user_text(prompt)] * len(texts), texts).mean(0)
            for prompt, texts in zip(policy.prompts, groups, strict=True)
        ]
    )


def _p_value(differences: np.ndarray) -> float:
    """Two-sided, of a mean of 0, by the z of the mean over prompts; nan for one prompt."""
    if len(differences) < 2:
        return math.nan
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(len(differences))
    if error == 0:
        return float(mean == 0)
    return 2 * upper_tail(abs(mean) / error)
