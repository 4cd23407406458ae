"""A policy over a few answers to one prompt: its KL, the best one under a reward, and what a loss of pairs makes of it.

Answers are numbered, a policy is its (A,) probabilities. A policy of few features can only move along them:
log policy = log reference + features theta + constant; with one feature an answer it can become any policy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax, softmax

from rewardkit.heads.fit import minimise

if TYPE_CHECKING:
    from torch import Tensor

    from alignment.losses.pair import PairLoss

PRIOR_PRECISION = 0.01  # of rewards' coefficients; it holds what no vote decides and moves little else
TOLERANCE = 1e-5  # of the gradient; losses are computed in float32
MOST_STEPS = 300


def tilted(reference: np.ndarray, rewards: np.ndarray, beta: float) -> np.ndarray:
    """(A,) the policy of the highest E[reward] - beta KL(policy || reference).

    policy ~ reference exp(reward / beta).  Ziegler et al. 2019, section 2 (arXiv 1909.08593); Rafailov et al. 2023, eq.
    4 (arXiv 2305.18290). An answer that the reference never gives stays at 0.
    """
    with np.errstate(divide="ignore"):
        return softmax(np.log(reference) + rewards / beta)


def kl_between(policy: np.ndarray, other: np.ndarray) -> float:
    """KL(policy || other), nats; infinite where other never gives what policy does."""
    given = policy > 0
    with np.errstate(divide="ignore"):
        return float((policy[given] * (np.log(policy[given]) - np.log(other[given]))).sum())


def moved(reference: np.ndarray, features: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """(A,) the policy that lies theta along the features (A, h) from the reference."""
    return softmax(np.log(reference) + features @ theta)


def fit_by_pairs(
    reference: np.ndarray,
    features: np.ndarray,
    wins: np.ndarray,
    loss: Callable[[Tensor, Tensor], PairLoss],
    *,
    beta: float,
) -> np.ndarray:
    """(A,) the policy of these features at which a loss of pairs is lowest.

    Args:
        wins: (A, A) how often row was preferred to column; need not be whole.
        loss: of the log-ratios of chosen and rejected to the reference, as `alignment.losses.pair.sigmoid_loss`.
        beta: of that loss: the prior is on beta theta, which has the reward's unit.
    """
    import torch

    chosen, rejected = (torch.tensor(index) for index in np.nonzero(wins))
    weights = torch.tensor(wins[np.nonzero(wins)] / wins.sum(), dtype=torch.float64)
    start = torch.tensor(np.log(reference))
    columns = torch.tensor(features, dtype=torch.float64)
    strength = PRIOR_PRECISION * beta**2 / float(wins.sum())

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.tensor(theta, requires_grad=True)
        logratios = torch.log_softmax(start + columns @ parameters, 0) - start
        total = (weights * loss(logratios[chosen], logratios[rejected]).losses).sum()
        total = total + 0.5 * strength * parameters.square().sum()
        total.backward()
        assert parameters.grad is not None
        return float(total.detach()), parameters.grad.numpy()

    return moved(reference, features, _lowest(objective, np.zeros(features.shape[1])))


def fit_by_reward(reference: np.ndarray, features: np.ndarray, rewards: np.ndarray, *, beta: float) -> np.ndarray:
    """(A,) the policy of these features with the highest E[reward] - beta KL(policy || reference).

    What policy gradients climb, with the expectation taken exactly; the KL is the mean of `token_kl` k1. Begins at the
    least-squares fit of the tilted policy's logits, which is the answer where the features can write the rewards.
    """
    import torch

    from alignment.losses.kl import token_kl

    start = torch.tensor(log_softmax(np.log(reference)))
    columns, values = torch.tensor(features, dtype=torch.float64), torch.tensor(rewards, dtype=torch.float64)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.tensor(theta, requires_grad=True)
        logps = torch.log_softmax(start + columns @ parameters, 0)
        worth = (logps.exp() * (values - beta * token_kl(logps, start, "k1"))).sum()
        (-worth).backward()
        assert parameters.grad is not None
        return -float(worth.detach()), parameters.grad.numpy()

    first = np.linalg.lstsq(features - features.mean(0), (rewards - rewards.mean()) / beta, rcond=None)[0]
    return moved(reference, features, _lowest(objective, first))


def _lowest(objective: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray) -> np.ndarray:
    return minimise(objective, start, tolerance=TOLERANCE, max_iterations=MOST_STEPS).x
