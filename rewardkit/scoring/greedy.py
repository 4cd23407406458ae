"""Pairs chosen one after the other, each with those before it taken for answered. Arrays in, arrays out; no torch.

Margins of N pairs are taken for normal with covariance D D^T, D the (N, h) `root`: for a head with a Laplace posterior
D = X L^-T, X the feature differences and L the Cholesky factor of the precision; for K members their deviations from
their mean over sqrt(K - 1). A vote on pair i is an observation of its margin with variance 1 / s_i, s = p (1 - p) what
a vote tells at the integrated probability p. Its answer changes every covariance by one rank:

    C <- C - C d_i d_i^T C / (d_i^T C d_i + 1 / s_i),   C the identity at first
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

GreedyRule = Literal["epig", "log_det"]
LEAST_SLOPE = 1e-6


@dataclass(frozen=True, kw_only=True)
class GaussianMargins:
    """What is known of the margins of N pairs.

    Attributes:
        mean: (N,).
        root: (N, h) D; the covariance is D D^T.
        probability: (N,) of the first answer, the uncertainty averaged out.
    """

    mean: np.ndarray
    root: np.ndarray
    probability: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """(N,) standard deviation of each margin."""
        return np.sqrt((self.root**2).sum(1))


class GreedyChoice:
    """The gain of every pair, kept up to date by rank-one updates in O(N h) a vote.

    epig      gain_i = mean_m s_m^2 c_mi^2 / (c_ii + 1 / s_i), the variance of all pairs' probabilities that a vote
              takes away: EPIG to first order with the pool as its target (Bickford Smith et al. 2023, arXiv 2304.08151)
    log_det   gain_i = log(1 + s_i c_ii) / 2, what the vote adds to log det(1 + S^1/2 C S^1/2) / 2 of all votes
              chosen: the information of the batch about the head (BatchBALD, Kirsch et al. 2019, arXiv 1906.08158,
              for normal margins); never more than the gain before
    """

    def __init__(self, margins: GaussianMargins, rule: GreedyRule) -> None:
        self.rule = rule
        self._root = margins.root
        self._slope = np.maximum(margins.probability * (1.0 - margins.probability), LEAST_SLOPE)
        self._shifts = margins.root.copy()  # (N, h) rows C d_i
        self._variance = (margins.root**2).sum(1)  # (N,) c_ii
        weighted = margins.root * self._slope[:, None]
        self._targets = weighted.T @ weighted / max(1, len(weighted))
        self._reach = ((self._shifts @ self._targets) * self._shifts).sum(1)  # (N,) mean_m s_m^2 c_mi^2

    def gains(self) -> np.ndarray:
        """(N,) of each pair, were it the next."""
        if self.rule == "log_det":
            return 0.5 * np.log1p(self._slope * np.maximum(self._variance, 0.0))
        return self._reach / (np.maximum(self._variance, 0.0) + 1.0 / self._slope)

    def learn(self, pair: int) -> None:
        """Takes a pair for answered."""
        shift = self._shifts[pair].copy()
        total = max(float(self._variance[pair]), 0.0) + 1.0 / self._slope[pair]
        covariance = self._root @ shift  # with the pair's margin
        toward = self._targets @ shift
        self._reach += (covariance**2 * (shift @ toward) / total - 2.0 * covariance * (self._shifts @ toward)) / total
        self._shifts -= np.outer(covariance / total, shift)
        self._variance -= covariance**2 / total


def greedy_order(margins: GaussianMargins, rule: GreedyRule, count: int) -> Iterator[int]:
    """The first `count` pairs in the order of their choice; of equal gains the earlier pair."""
    choice = GreedyChoice(margins, rule)
    is_open = np.ones(len(margins.mean), dtype=bool)
    for _ in range(min(count, len(is_open))):
        pair = int(np.argmax(np.where(is_open, choice.gains(), -np.inf)))
        is_open[pair] = False
        choice.learn(pair)
        yield pair
