"""How far a model goes with people's votes, and how far people go with one another. Arrays in, values out."""

from __future__ import annotations

import numpy as np

from rewardkit.stats.metrics import Interval, bootstrap_interval, correctness
from rewardkit.stats.uncertainty import binary_entropy


def vote_agreement(margins: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """(N,) share of a pair's votes that the model agrees with; a tie vote, and a margin of 0, agree by half.

    Args:
        margins: (N,) chosen minus rejected reward.
        votes: (N, 3) numbers of votes for chosen, tie, rejected, at least one per pair.
    """
    chosen, tie, rejected = votes.T
    right = correctness(margins)
    return (chosen * right + 0.5 * tie + rejected * (1.0 - right)) / votes.sum(1)


def human_ceiling(votes: np.ndarray) -> np.ndarray:
    """(N,) share of a pair's votes that the majority of its other votes agrees with: what the next person would find.

    Each vote is left out in turn, so that no vote agrees with itself; the mean of the pair's own majority, max(p, 1-p),
    is higher than anybody can reach. A tie vote, and others that are even, agree by half. For votes a, t, b:
    (a A + t / 2 + b B) / (a + t + b),  A = 1, 1/2, 0 where a - 1 is above, equal to, below b;  B likewise. nan for
    pairs with fewer than two votes.

    Args:
        votes: (N, 3) numbers of votes for chosen, tie, rejected.
    """
    chosen, tie, rejected = votes.T.astype(float)
    total = votes.sum(1)
    for_chosen = 0.5 + 0.5 * np.sign(chosen - 1 - rejected)
    for_rejected = 0.5 + 0.5 * np.sign(rejected - 1 - chosen)
    agreeing = chosen * for_chosen + 0.5 * tie + rejected * for_rejected
    return np.where(total >= 2, agreeing / np.maximum(total, 1), np.nan)


def majority_agreement(p_chosen: np.ndarray) -> np.ndarray:
    """(N,) probability that a fresh vote goes with the majority where p is the true rate of votes: max(p, 1 - p)."""
    return np.maximum(p_chosen, 1.0 - p_chosen)


def share_correlation_interval(
    probabilities: np.ndarray, p_chosen: np.ndarray, prompt: np.ndarray, weight: np.ndarray, *, seed: int = 0
) -> Interval:
    """Pearson correlation of predicted probabilities with vote shares, with its bootstrap interval over prompts.

    Every pair is seen from both sides, so that both means are 1/2:
    sum w (q - 1/2)(p - 1/2) / sqrt(sum w (q - 1/2)^2  sum w (p - 1/2)^2);  nan where either has no spread. From
    chosen's side alone p is never below 1/2, and the figure would depend on the naming.

    Args:
        probabilities: (N,) q, predicted, of chosen.
        p_chosen: (N,) p, shares of votes for chosen.
        prompt: (N,) number of each pair's prompt.
    """
    q, p = probabilities - 0.5, p_chosen - 0.5
    _, number = np.unique(prompt, return_inverse=True)
    sums = np.stack([np.bincount(number, weight * product) for product in (q * p, q * q, p * p)])

    def correlations(counts: np.ndarray) -> np.ndarray:
        together, of_q, of_p = (counts @ one for one in sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            return together / np.sqrt(of_q * of_p)

    return bootstrap_interval(correlations, prompt, seed=seed)


def entropy_floor(p_chosen: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Weighted mean entropy of the vote shares, nats: the NLL of a model that predicts every share exactly."""
    return float(np.average(binary_entropy(p_chosen), weights=weight))
