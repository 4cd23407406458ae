"""Replies as points in feature space, with a known gold reward: votes on pairs, and policies in closed form.

A reply is x, standard normal in d features; that is also the SFT policy. Gold is theta . x, with |theta| = SPREAD, plus
what an exercise adds. Two replies are compared by Bradley-Terry. A linear reward w . x moves the policy to

    q(x) ~ p(x) exp(w . x / beta),  that is a normal of mean w / beta:  KL = |w|^2 / (2 beta^2)

DPO over the policies of shifted mean fits the same thing: log q(x) / p(x) = m . x - |m|^2 / 2, so that its margins are
those of a Bradley-Terry head w = beta m. `rewardkit.heads.fit` fits the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rewardkit.heads.fit import choose_prior_precision, fit_head, make_pairs
from rewardkit.stats.metrics import correctness
from rewardkit.stats.uncertainty import sigmoid

SPREAD = 2.0  # standard deviation of linear gold over replies, logits
NUM_HELD_OUT = 2000  # pairs
PRIORS = (0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """N pairs of replies with a vote on each.

    Attributes:
        first, second: (N, d) features.
        gold: (N,) gold of the first above the second's.
        vote: (N,) 1 where the first was preferred, else 0.
    """

    first: np.ndarray
    second: np.ndarray
    gold: np.ndarray
    vote: np.ndarray


@dataclass(frozen=True, kw_only=True)
class FeatureWorld:
    """A gold reward over d features: theta . x + products - curvature / 2 |x|^2.

    Attributes:
        theta: (d,) gold per unit of feature.
        product: standard deviation over replies of the part of gold that lies in products of two features each.
        curvature: what every feature takes that is far from 0.
    """

    theta: np.ndarray
    product: float = 0.0
    curvature: float = 0.0

    def gold(self, replies: np.ndarray) -> np.ndarray:
        """(N,) gold of replies, (N, d)."""
        half = replies.shape[1] // 2
        products = replies[:, :half] * replies[:, half : 2 * half]
        bent = self.product * products.sum(1) / np.sqrt(half) if self.product else 0.0
        return replies @ self.theta + bent - self.curvature / 2 * (replies**2).sum(1)

    def compare(self, count: int, rng: np.random.Generator) -> Compared:
        """Votes on pairs of replies as they come."""
        first, second = rng.normal(size=(2, count, len(self.theta)))
        gold = self.gold(first) - self.gold(second)
        return Compared(first=first, second=second, gold=gold, vote=(rng.random(count) < sigmoid(gold)).astype(float))


def draw_world(
    rng: np.random.Generator, num_features: int, *, product: float = 0.0, curvature: float = 0.0
) -> FeatureWorld:
    """A world of any direction."""
    theta = rng.normal(size=num_features)
    return FeatureWorld(theta=SPREAD * theta / np.linalg.norm(theta), product=product, curvature=curvature)


def with_products(replies: np.ndarray) -> np.ndarray:
    """(N, d + d (d + 1) / 2) the features and all products of two."""
    one, other = np.triu_indices(replies.shape[1])
    return np.concatenate([replies, replies[:, one] * replies[:, other]], axis=1)


def fit_weights(differences: np.ndarray, vote: np.ndarray, *, reliability: float = 1.0) -> np.ndarray:
    """(h,) a head of the prior that is best held out.

    Args:
        differences: (N, h) features of the first minus those of the second.
        reliability: probability that a vote says what was meant.
    """
    pairs = make_pairs(differences, vote, reliability=np.full(len(vote), reliability))
    prior = choose_prior_precision(pairs, seed=0, candidates=PRIORS, num_folds=3).prior_precision
    return fit_head(pairs, prior_precision=prior).weights


def accuracy(margins: np.ndarray, gold: np.ndarray) -> float:
    """Share of pairs ordered as gold does."""
    return float(correctness(margins * np.sign(gold)).mean())
