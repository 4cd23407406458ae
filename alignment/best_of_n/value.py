"""What choosing the best of k completions is worth, for every k up to the n that were drawn. Arrays only; no torch.

Each subset of size k of the n draws is a draw of k: the mean over all of them is unbiased for best-of-k, and of the
least variance, where taking the first k throws draws away (Nakano et al. 2021, appendix I, arXiv 2112.09332).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.stats.metrics import Interval, bootstrap_intervals


@dataclass(frozen=True, kw_only=True)
class BestOfK:
    """The best of k completions by a reward, as a policy of its own.

    Attributes:
        k: completions to choose from.
        reward: mean over prompts of the expected reward of what is chosen.
        audit: the same of another reward, by which nothing is chosen; None without one.
        kl: bound of its KL to what draws the completions, nats; see `kl_bound`.
    """

    k: int
    reward: Interval
    audit: Interval | None
    kl: float


def order_weights(n: int) -> np.ndarray:
    """(n, n) probability that the i-th smallest of n draws (column i - 1) is the largest of k of them (row k - 1).

    w_ki = C(i - 1, k - 1) / C(n, k), by the recursion w_kn = k / n, w_k,i-1 = w_ki (i - k) / (i - 1): no large numbers.

    Raises:
        ValueError: if n is not positive.
    """
    if n < 1:
        raise ValueError(f"n is {n}, allowed is 1 or more")
    weights = np.zeros((n, n))
    k = np.arange(1, n + 1)
    weights[:, n - 1] = k / n
    for i in range(n, 1, -1):
        weights[:, i - 2] = weights[:, i - 1] * np.maximum(i - k, 0) / (i - 1)
    return weights


def expected_best(rewards: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """(P, n) expected value of the completion that the reward chooses among k = 1, 2, ..., n of a prompt's.

    e_k = sum_i w_ki v_(i),  v_(i) the value at the i-th smallest reward, w as of `order_weights`.
    Of completions with the same reward each is chosen alike: their v_(i) are the mean of their values, which is exact.

    Args:
        rewards: (P, n) what is chosen by.
        values: (P, n) what is looked at; None takes the rewards.

    Raises:
        ValueError: if the shapes differ or a number is not finite.
    """
    values = rewards if values is None else values
    if rewards.ndim != 2 or values.shape != rewards.shape:
        raise ValueError(f"rewards have shape {rewards.shape}, values {values.shape}, allowed are two of (prompts, n)")
    if not (np.isfinite(rewards).all() and np.isfinite(values).all()):
        raise ValueError("a reward or value is not finite")
    order = np.argsort(rewards, axis=1, kind="stable")
    ordered = np.take_along_axis(rewards, order, 1)
    shared = _means_of_equal(ordered, np.take_along_axis(values, order, 1))
    return shared @ order_weights(rewards.shape[1]).T


def _means_of_equal(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns (P, n) values, each replaced by the mean over the completions of equal reward in its row."""
    num_prompts, n = ordered.shape
    starts = np.ones((num_prompts, n), dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    run = starts.ravel().cumsum() - 1
    means = np.bincount(run, values.ravel()) / np.bincount(run)
    return means[run].reshape(num_prompts, n)


def kl_bound(k: int) -> float:
    """log k - (k - 1) / k, nats: at least the KL of best-of-k to the policy that draws.

    It is the KL itself where no two completions have the same reward and none is likely to be drawn twice; otherwise
    the KL is smaller. Stiennon et al. 2020, appendix G (arXiv 2009.01325), who take it for the KL; that it is a bound:
    Beirami et al. 2024 (arXiv 2401.01879).

    Raises:
        ValueError: if k is not positive.
    """
    if k < 1:
        raise ValueError(f"k is {k}, allowed is 1 or more")
    return math.log(k) - (k - 1) / k


def best_of_k(
    rewards: np.ndarray, audit: np.ndarray | None = None, *, level: float = 0.95, seed: int = 0
) -> list[BestOfK]:
    """Best of k for every k up to n, with percentile intervals over prompts drawn with replacement.

    Args:
        rewards: (P, n) what is chosen by.
        audit: (P, n) another reward of the same completions.

    Raises:
        ValueError: as `expected_best`.
    """
    by_reward = _intervals(expected_best(rewards), level, seed)
    by_audit = [None] * len(by_reward) if audit is None else _intervals(expected_best(rewards, audit), level, seed)
    return [
        BestOfK(k=number + 1, reward=reward, audit=other, kl=kl_bound(number + 1))
        for number, (reward, other) in enumerate(zip(by_reward, by_audit, strict=True))
    ]


def _intervals(by_prompt: np.ndarray, level: float, seed: int) -> Sequence[Interval]:
    """Returns percentile intervals of each column's mean over prompts."""
    num_prompts = len(by_prompt)
    return bootstrap_intervals(
        lambda counts: counts @ by_prompt / num_prompts, np.arange(num_prompts), level=level, seed=seed
    )
