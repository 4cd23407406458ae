"""Figures of a reward model on preferences: likelihood, accuracy, calibration. Arrays in, numbers out; no torch."""

from __future__ import annotations

import numpy as np


def negative_log_likelihood(margins: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Weighted mean of -(p log sigma(d) + (1 - p) log sigma(-d)), nats per pair.

    Args:
        margins: (N,) d, chosen minus rejected reward.
        p_chosen: (N,) p, 0 to 1.
        weight: (N,) 0 or more; None weighs all alike.
    """
    losses = p_chosen * np.logaddexp(0.0, -margins) + (1.0 - p_chosen) * np.logaddexp(0.0, margins)
    return float(np.average(losses, weights=weight))


def brier_score(probabilities: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Weighted mean of (q - p)^2, q the predicted and p the observed probability of chosen. Brier 1950."""
    return float(np.average((probabilities - p_chosen) ** 2, weights=weight))


def expected_calibration_error(probabilities: np.ndarray, p_chosen: np.ndarray, *, num_bins: int = 10) -> float:
    """Mean over equal-count bins of |mean predicted - mean observed|, weighted by the bins' counts.

    Every pair is counted in both directions (q, p) and (1 - q, 1 - p), so that the figure does not depend on which
    completion is called chosen. Guo et al. 2017 (arXiv 1706.04599), with bins of equal count.
    """
    predicted = np.concatenate((probabilities, 1.0 - probabilities))
    observed = np.concatenate((p_chosen, 1.0 - p_chosen))
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, min(num_bins, len(order)))
    gaps = [abs(predicted[part].mean() - observed[part].mean()) * len(part) for part in parts if len(part)]
    return float(np.sum(gaps) / len(order))
