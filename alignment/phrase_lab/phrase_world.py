"""A world of bags of phrases: what replies are worth, votes on pairs of them, linear rewards learned from the votes.

A reply is how often each of 60 phrases occurs in it, one phrase independent of the others, a few frequent and most
rare. Every phrase has a worth of its own. Votes compare replies that hold a phrase once or not at all. Two arms differ
in what the policy writes, and in how many pairs were voted on:

    on_data     150 pairs; replies as in the votes: members disagree about phrases that were seen seldom
    off_data    300 pairs; a phrase may occur up to 4 times, which no vote ever showed; gold counts it once and takes
                0.35 for each repeat, a linear reward pays for it again
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import factorial
from typing import Literal, get_args

import numpy as np

from rewardkit.heads.fit import Pairs, choose_prior_precision, fit_head, head_objective, make_pairs, minimise
from rewardkit.heads.posterior import laplace_posterior
from rewardkit.stats.uncertainty import sigmoid

Arm = Literal["on_data", "off_data"]
Kind = Literal["bootstrap", "laplace", "start", "features"]
ARMS: tuple[Arm, ...] = get_args(Arm)
KINDS: tuple[Kind, ...] = get_args(Kind)
NUM_PAIRS: Mapping[Arm, int] = {"on_data": 150, "off_data": 300}
NUM_PHRASES, NUM_OWN_FEATURES, MOST = 60, 40, 4
REPEATS, COST = 0.7, 0.35  # Poisson mean of a phrase's repeats before they are cut off, and what gold takes for each
PRIORS = (0.1, 0.3, 1.0, 3.0, 10.0)
START_TOLERANCE, START_ITERATIONS = 1e-5, 500


@dataclass(frozen=True, kw_only=True)
class PhraseWorld:
    """Votes to learn from, and what the policy writes.

    Attributes:
        votes: differences of phrase counts.
        shares: (D, V) probability that the policy writes a phrase 0, 1, .. V - 1 times; rows add up to 1.
        gold: (D, V) worth of that, logits; a reply's gold is the sum over phrases.
    """

    votes: Pairs
    shares: np.ndarray
    gold: np.ndarray

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(R, D) int counts of drawn replies."""
        chance = rng.random((count, len(self.shares)))
        return (chance[..., None] > self.shares.cumsum(1)[:, :-1]).sum(-1)

    def gold_of(self, replies: np.ndarray) -> np.ndarray:
        """(R,) gold of replies, (R, D) counts."""
        return self.gold[np.arange(len(self.gold)), replies].sum(-1)


def draw_world(seed: int, arm: Arm) -> PhraseWorld:
    """A world of its own for each seed and arm."""
    rng = np.random.default_rng([seed, ARMS.index(arm)])
    worth = rng.normal(size=NUM_PHRASES)
    occurs = rng.permutation(np.clip(0.5 / np.arange(1, NUM_PHRASES + 1) ** 0.9, 0.004, 0.5))
    first, second = (rng.random((2, NUM_PAIRS[arm], NUM_PHRASES)) < occurs).astype(float)
    p_first = sigmoid((first - second) @ worth)
    votes = make_pairs(first - second, (rng.random(len(p_first)) < p_first).astype(float))
    repeats = np.arange(MOST if arm == "off_data" else 1)
    likely = np.array([REPEATS**count / factorial(count) for count in repeats])
    shares = np.concatenate([1 - occurs[:, None], occurs[:, None] * likely / likely.sum()], 1)
    gold = np.concatenate([np.zeros((NUM_PHRASES, 1)), worth[:, None] - COST * repeats], 1)
    return PhraseWorld(votes=votes, shares=shares, gold=gold)


def choose_prior(votes: Pairs, seed: int) -> float:
    """Prior precision of the world's heads, by cross-validation over its votes."""
    return choose_prior_precision(votes, seed=seed, candidates=PRIORS).prior_precision


def fit_members(votes: Pairs, kind: Kind, count: int, *, prior_precision: float, seed: int) -> np.ndarray:
    """(K, D) rewards of a phrase by each member.

    bootstrap: each learns from votes drawn with replacement.
    laplace: drawn from the posterior of one fit, centred on it.
    start: each has initial weights of its own, from the prior, and is pulled to them instead of to 0: the smallest of
        NLL + lambda / 2 |theta - start|^2. Fitted to the end without that pull, members would all be the same head.
    features: each reads phrases through features of its own: 60 phrases fall into 40 at random, which merges some.
    """
    rng = np.random.default_rng([seed, 2])
    match kind:
        case "laplace":
            return laplace_posterior(fit_head(votes, prior_precision=prior_precision), votes).members(count, rng)
        case "bootstrap":
            draws = [votes.take(rng.integers(len(votes), size=len(votes))) for _ in range(count)]
            return np.array([fit_head(draw, prior_precision=prior_precision).weights for draw in draws])
        case "start":
            starts = rng.normal(scale=prior_precision**-0.5, size=(count, votes.differences.shape[1]))
            return np.array([fit_from(votes, start, prior_precision) for start in starts])
        case "features":
            return np.array([_fit_on_own_features(votes, prior_precision, rng) for _ in range(count)])


def fit_from(votes: Pairs, start: np.ndarray, prior_precision: float) -> np.ndarray:
    """(D,) head with the smallest NLL + lambda / 2 |theta - start|^2: what is told of the start is a term in theta."""

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = head_objective(weights, votes, prior_precision)
        return value - prior_precision * float(start @ weights), gradient - prior_precision * start

    return minimise(objective, start, tolerance=START_TOLERANCE, max_iterations=START_ITERATIONS).x


def _fit_on_own_features(votes: Pairs, prior_precision: float, rng: np.random.Generator) -> np.ndarray:
    own = np.eye(NUM_OWN_FEATURES)[rng.integers(NUM_OWN_FEATURES, size=votes.differences.shape[1])]
    return own @ fit_head(make_pairs(votes.differences @ own, votes.p_chosen), prior_precision=prior_precision).weights
