"""A head learned together with the reliability of each annotator (Crowd-BT). No torch.

Every row is one vote. P(vote for chosen) = q_a sigma(d) + (1 - q_a) sigma(-d), q_a = sigma(rho_a) of its annotator a;
rho_a ~ Normal(PRIOR_MEAN, PRIOR_STD). Chen et al. 2013 (doi 10.1145/2433396.2433420), with a normal prior on the
log-odds where they take a Beta on the probability. The prior also says which of the two mirror images is meant: all
annotators right about theta, or all wrong about -theta.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from rewardkit.heads.fit import (
    MAX_ITERATIONS,
    TOLERANCE,
    HeadFit,
    Pairs,
    fit_head,
    head_objective,
    minimise,
    vote_log_probabilities,
    with_reliability,
)

PRIOR_MEAN, PRIOR_STD = 2.0, 1.5  # log-odds: q = 0.88 at the mean, 0.62 to 0.97 within one std


@dataclass(frozen=True, kw_only=True)
class CrowdFit:
    """A head and the annotators it was learned from.

    Attributes:
        head: of the reward.
        reliability: (A,) probability that a vote of the annotator says what the reward prefers; 0.5 carries nothing.
    """

    head: HeadFit
    reliability: np.ndarray


def crowd_objective(
    parameters: np.ndarray, votes: Pairs, annotator: np.ndarray, prior_precision: float
) -> tuple[float, np.ndarray]:
    """Penalised negative log-likelihood of head and log-odds of reliability, and its gradient.

    Args:
        parameters: (h + A,) theta, then rho.
        votes: one row per vote; their own reliability is not read.
        annotator: (N,) int, 0 to A - 1.
        prior_precision: of theta.
    """
    num_features = votes.differences.shape[1]
    theta, rho = parameters[:num_features], parameters[num_features:]
    reliability = expit(rho)
    reliable_votes = with_reliability(votes, reliability[annotator])
    value, theta_gradient = head_objective(theta, reliable_votes, prior_precision)
    margins = votes.differences @ theta
    log_chosen, log_rejected, _ = vote_log_probabilities(margins, reliable_votes.reliability)
    log_better, log_worse = -np.logaddexp(0.0, -margins), -np.logaddexp(0.0, margins)
    # dP/dq = sigma(d) - sigma(-d), and the opposite for the other vote
    lead_chosen = np.exp(log_better - log_chosen) - np.exp(log_worse - log_chosen)
    lead_rejected = np.exp(log_worse - log_rejected) - np.exp(log_better - log_rejected)
    slopes = -votes.weight * (votes.p_chosen * lead_chosen + (1.0 - votes.p_chosen) * lead_rejected)
    rho_gradient = np.bincount(annotator, weights=slopes, minlength=len(rho)) * reliability * (1.0 - reliability)
    centred = (rho - PRIOR_MEAN) / PRIOR_STD
    value += 0.5 * float(centred @ centred)
    return value, np.concatenate((theta_gradient, rho_gradient + centred / PRIOR_STD))


def fit_crowd_head(votes: Pairs, annotator: np.ndarray, *, prior_precision: float) -> CrowdFit:
    """Head and reliabilities together, by L-BFGS from the head that believes every vote.

    Args:
        votes: one row per vote, p_chosen 1, 0.5 (tie) or 0.
        annotator: (N,) int, numbered from 0 without gaps.
        prior_precision: of the head.
    """
    believing = fit_head(with_reliability(votes, np.ones(len(votes))), prior_precision=prior_precision)
    num_annotators = int(annotator.max()) + 1
    start = np.concatenate((believing.weights, np.full(num_annotators, PRIOR_MEAN)))
    total = float(votes.weight.sum())

    def per_weight(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = crowd_objective(parameters, votes, annotator, prior_precision)
        return value / total, gradient / total

    minimum = minimise(per_weight, start, tolerance=TOLERANCE, max_iterations=MAX_ITERATIONS)
    num_features = votes.differences.shape[1]
    head = HeadFit(
        weights=minimum.x[:num_features],
        prior_precision=prior_precision,
        objective=minimum.value * total,
        converged=minimum.converged,
        num_iterations=minimum.num_iterations,
    )
    return CrowdFit(head=head, reliability=expit(minimum.x[num_features:]))
