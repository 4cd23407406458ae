"""How far one policy is from another, token by token, and what holds it near: estimators, controllers, a stop.

With samples of the policy and d = log policy(token) - log other(token):

    k1 = d                      unbiased, may be negative in a sample
    k2 = d^2 / 2                never negative, biased by the third order of d
    k3 = exp(-d) - 1 + d        unbiased and never negative

Schulman 2020, "Approximating KL divergence". As a term of a loss they differ by what their gradient is in expectation
over samples of the policy itself, the tokens before each one given:

    k1    0: it pulls nowhere
    k2    the gradient of KL(policy || other)
    k3    the gradient of KL(other || policy), the other direction

`weighted_kl` multiplies them by the ratio to the policy that drew the samples; then the gradient of all three is that
of KL(policy || other), also when the samples are of an older policy. None of these counts that a token changes which
tokens come later: for that, k1 belongs into the rewards (`alignment.losses.advantages`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from alignment.config.policy_gradient_names import KlEstimatorName
from alignment.losses.pair import exact

MAX_ERROR = 0.2


def token_kl(policy_logps: Tensor, other_logps: Tensor, estimator: KlEstimatorName) -> Tensor:
    """(C,) one estimate of KL(policy || other) per token, nats; see the module.

    Args:
        policy_logps, other_logps: (C,) float, nats, of tokens that the policy drew.
    """
    d = exact(policy_logps) - exact(other_logps)
    match estimator:
        case "k1":
            return d
        case "k2":
            return 0.5 * d.square()
        case "k3":
            return torch.expm1(-d) + d


def weighted_kl(policy_logps: Tensor, other_logps: Tensor, ratio: Tensor, estimator: KlEstimatorName) -> Tensor:
    """(C,) estimates whose expected value, but for k2's, and gradient are those of KL(policy || other).

    losses = ratio k,  gradient = ratio (k grad log policy + grad k).
    DeepSeek-AI 2025, V3.2, section 3.1 (arXiv 2512.02556), for k3. In k2's the ratio carries no gradient: its own
    gradient is the right one already.

    Args:
        policy_logps, other_logps: (C,) float, nats.
        ratio: (C,) float, with gradient: probability of each token under the policy by that under the one it was
            drawn from.
    """
    weight = ratio.detach() if estimator == "k2" else ratio
    return weight * token_kl(policy_logps, other_logps, estimator)


@dataclass(frozen=True, kw_only=True)
class AdaptiveKl:
    """Raises the weight while the KL is above its target and lowers it while below.

    beta' = beta (1 + e n / horizon),  e = KL / target - 1, held within +-0.2.
    Ziegler et al. 2019, section 2.2 (arXiv 1909.08593), with 1 / horizon per completion as in their code.

    Attributes:
        beta: weight of the KL, more than 0: from 0 it would never move.
        target: nats per completion, > 0.
        horizon: completions, > 0; a step of n of them moves beta by 0.2 n / horizon at most.

    Raises:
        ValueError: for a number out of range.
    """

    beta: float
    target: float
    horizon: float

    def __post_init__(self) -> None:
        for name in ("beta", "target", "horizon"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is more than 0")

    def after(self, kl: float, count: int) -> Self:
        """The controller after a step.

        Args:
            kl: nats per completion, summed over its tokens, mean over the step's completions.
            count: completions of the step, less than 5 horizons: beyond, beta could fall to 0.

        Raises:
            ValueError: if there are too many of them.
        """
        if not count * MAX_ERROR < self.horizon:
            raise ValueError(
                f"horizon is {self.horizon}, with {count} completions a step allowed is more than {MAX_ERROR * count:g}"
            )
        error = min(max(kl / self.target - 1.0, -MAX_ERROR), MAX_ERROR)
        return replace(self, beta=self.beta * (1.0 + error * count / self.horizon))


def exceeds_target(kl: float, target: float | None, *, tolerance: float = 1.5) -> bool:
    """Whether the policy has moved so far from the one that drew the samples that an epoch over them should end.

    kl > tolerance target, as in OpenAI's Spinning Up (`ppo.py`); not a number counts as too far.

    Args:
        kl: approximate KL of old to new policy, nats per token.
        target: nats per token; None never stops.
    """
    return target is not None and not kl <= tolerance * target
