"""Losses of policies on completions they drew themselves: PPO, and GRPO with its critic-free relatives.

Pure functions of log-probabilities and advantages. Tokens come flat, as `rewardkit.network.logps.CompletionLogps` has
them, and nothing is padded, so there is no mask of padding to get wrong. A loss is a sum over completions; `loss_total`
is what the sum over all completions of a step is divided by, whatever micro-batches and processes they were split into.

On the first pass over fresh samples every ratio is exactly 1, if dropout is off and logits are divided by the sampling
temperature in both log-probabilities. Without a KL and with baselines of the group, `grpo`, `gspo` and `rloo` are 0
then, up to rounding, and `dapo`, `bnpo` and `dr_grpo` are minus the sum of advantages times lengths by their total, not
0 where lengths differ. The gradient is 0 in none of them.

Where we differ from TRL 1.16:
1. `bnpo` divides by the tokens of the whole step; TRL's by those of a micro-batch, so that the split changes its step.
2. clip_high of `cispo` is a distance from 1 like every other one; TRL's epsilon_high is the cap itself.
3. With ratios of completions, a KL is still weighted by the ratio of each token.
4. An entropy bonus is divided as the loss is, and so the mean over tokens in `dapo`, `bnpo` and `cispo`; TRL's is that
   mean in every loss, of a micro-batch, and over the tokens of high entropy alone where only these act.
5. Tokens of high entropy are chosen among all of the step under the policy that drew them; TRL's among a micro-batch.
6. REINFORCE++, which TRL has not: advantages are normalised over completions, where its paper counts a completion once
   for each of its tokens; a KL stands in the loss, as in its variant with a baseline. `kl_in` reward is its paper's.
7. A ratio counts as e^20 at most, so that no exponential overflows: a gradient of 0 times infinity is not a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from alignment.config.policy_gradient_names import (
    POLICY_LOSSES,
    KlEstimatorName,
    NormaliserName,
    PolicyLossName,
    PolicyLossOptions,
    RatioName,
)
from alignment.losses.importance import segment_sums
from alignment.losses.kl import token_kl, weighted_kl
from alignment.losses.pair import exact

LARGEST_LOG_RATIO = 20.0


@dataclass(frozen=True, kw_only=True)
class CompletionTokens:
    """Log-probabilities of the tokens of S completions, nats, flat, each at the sampling temperature.

    Attributes:
        logps: (C,) float, under the policy, with gradient.
        old_logps: (C,) float, under the policy as it was when the completions were drawn.
        branch: (C,) int64, the completion, 0 to S - 1, of each token.
        lengths: (S,) int64, tokens of each completion.
        reference_logps: (C,) float, under the reference; None where the loss has no KL.
        weights: (C,) float, of `alignment.losses.importance`, on the policy's part of the loss; None is 1. A loss with
            the ratio of a completion takes their mean over it.
        kept: (S,) bool, False on completions that add nothing, as those that were cut; None keeps all.
        entropy: (C,) float, of the policy's distribution at each token, with gradient; read by an entropy bonus.
        acting: (C,) bool, tokens that rewards act on, as `top_entropy_mask`; the others have a KL only. None is all.
    """

    logps: Tensor
    old_logps: Tensor
    branch: Tensor
    lengths: Tensor
    reference_logps: Tensor | None = None
    weights: Tensor | None = None
    kept: Tensor | None = None
    entropy: Tensor | None = None
    acting: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyLoss:
    """Losses of completions and detached diagnostics of their tokens.

    Attributes:
        losses: (S,) float32, with gradient; their sum over the step belongs divided by its `loss_total`.
        log_ratio: (C,) float32, log-probability of each token under the policy minus under the old one.
        clipped_low: (C,) float32: 1 where the lower bound of the ratio took the gradient away.
        clipped_high: (C,) float32: 1 where the upper bound did; `cispo`: where it capped the weight.
        kl: (C,) float32, nats, estimate of the KL to the reference; None without.
    """

    losses: Tensor
    log_ratio: Tensor
    clipped_low: Tensor
    clipped_high: Tensor
    kl: Tensor | None

    @property
    def ratio(self) -> Tensor:
        """(C,) float32."""
        return self.log_ratio.exp()

    def approx_kl(self, estimator: KlEstimatorName) -> Tensor:
        """(C,) float32, nats, estimate of KL(old || policy), the tokens being drawn from the old policy."""
        return token_kl(torch.zeros_like(self.log_ratio), self.log_ratio, estimator)


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """What stands for the policy's improvement.

    Attributes:
        losses: any shape, float32, with gradient.
        clipped_low, clipped_high: same shape, float32, detached, as in `PolicyLoss`.
    """

    losses: Tensor
    clipped_low: Tensor
    clipped_high: Tensor


def clipped_surrogate(
    ratio: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float, delta: float | None = None
) -> Surrogate:
    """PPO's pessimistic surrogate: moving the ratio beyond its bounds gains nothing, moving it back still does.

    losses = max(-A min(r, d), -A clip(r, 1 - l, 1 + h)).
    Schulman et al. 2017, eq. 7 (PPO, arXiv 1707.06347); l below h: Yu et al. 2025, eq. 10 (DAPO, arXiv 2503.14476).
    d: dual clip, Ye et al. 2020, eq. 5, its c (arXiv 1912.09729), min(max(-A r, -A clip), -A c) where A < 0; two-sided
    clipping of Prime Intellect 2025, its delta (INTELLECT-2, arXiv 2505.07291). As d is more than 1 + h both are this.

    Args:
        ratio: float, any shape, probability under the policy by that under the old one, with gradient.
        advantages: same shape.
        clip_low, clip_high: l and h, > 0.
        delta: d, more than 1 + h: beyond it a ratio whose advantage is negative has no gradient; None is infinite.
    """
    most = ratio if delta is None else ratio.clamp_max(delta)
    losses = torch.maximum(-advantages * most, -advantages * ratio.clamp(1.0 - clip_low, 1.0 + clip_high))
    return Surrogate(
        losses=losses,
        clipped_low=((ratio < 1.0 - clip_low) & (advantages < 0.0)).to(losses.dtype),
        clipped_high=((ratio > 1.0 + clip_high) & (advantages > 0.0)).to(losses.dtype),
    )


def capped_surrogate(logps: Tensor, ratio: Tensor, advantages: Tensor, *, clip_high: float) -> Surrogate:
    """CISPO's surrogate: the ratio is a weight with a cap and without gradient, so that no token loses its gradient.

    losses = -min(r, 1 + h) A log policy.
    MiniMax 2025, eq. 4 (arXiv 2506.13585), without a lower bound as the authors ran it.

    Args:
        logps: float, any shape, nats, with gradient.
        ratio: same shape; only its value is read.
        advantages: same shape.
        clip_high: h, > 0.
    """
    weight = ratio.detach().clamp_max(1.0 + clip_high)
    above = (ratio.detach() > 1.0 + clip_high).to(weight.dtype)
    return Surrogate(losses=-weight * advantages * logps, clipped_low=torch.zeros_like(above), clipped_high=above)


def reinforce_surrogate(logps: Tensor, advantages: Tensor) -> Surrogate:
    """REINFORCE's surrogate, whose gradient is the policy gradient for samples of the present policy only.

    losses = -A log policy.  Williams 1992, "Simple statistical gradient-following algorithms".

    Args:
        logps: float, any shape, nats, with gradient.
        advantages: same shape.
    """
    nowhere = torch.zeros_like(logps).detach()
    return Surrogate(losses=-advantages * logps, clipped_low=nowhere, clipped_high=nowhere)


def top_entropy_mask(entropy: Tensor, quantile: float) -> Tensor:
    """(C,) bool, the share `quantile` of tokens at which the policy is least certain.

    True where H_t is at least the (1 - q) quantile of all H, between two values linearly.  Wang et al. 2025, section 5,
    their rho, 0.2 there (arXiv 2506.01939).

    Args:
        entropy: (C,) float, nats, of all tokens of the step.
        quantile: q, 0 to 1: 1 keeps all, 0 those of the highest entropy alone.
    """
    values = entropy.detach().double()
    if not len(values):
        return torch.ones_like(values, dtype=torch.bool)
    return values >= float(np.quantile(values.cpu().numpy(), 1.0 - quantile))


def ppo_loss(
    tokens: CompletionTokens,
    advantages: Tensor,
    *,
    clip_range: float,
    delta: float | None = None,
    beta: float = 0.0,
    kl_estimator: KlEstimatorName = "k3",
    entropy_coef: float = 0.0,
) -> PolicyLoss:
    """PPO on tokens: summed over each completion, to be divided by the tokens of the step.

    losses = sum over tokens of max(-A r, -A clip(r, 1 - c, 1 + c)) + beta r k - e H.
    Schulman et al. 2017, eq. 9, whose c2 is e (PPO, arXiv 1707.06347).

    Args:
        advantages: (C,) float, of each token, as `alignment.losses.advantages.generalised_advantages`, whitened or not.
        clip_range: c, > 0.
        delta: as of `clipped_surrogate`.
        beta: weight of the KL in the loss; 0 where it is in the rewards.
        kl_estimator: of that KL, weighted by the ratio.
        entropy_coef: e, weight of the entropy bonus, 0 or more.

    Raises:
        ValueError: if a KL is asked for without the reference's log-probabilities, or a bonus without entropies.
    """
    log_ratio = exact(tokens.logps) - exact(tokens.old_logps).detach()
    ratio = _exponential(log_ratio)
    surrogate = clipped_surrogate(ratio, advantages, clip_low=clip_range, clip_high=clip_range, delta=delta)
    return _summed(
        tokens,
        log_ratio,
        surrogate,
        beta=beta,
        estimator=kl_estimator,
        kl_weighted=True,
        entropy_coef=entropy_coef,
    )


def policy_loss(tokens: CompletionTokens, advantages: Tensor, options: PolicyLossOptions) -> PolicyLoss:
    """The named loss of S completions.

    losses = sum over tokens of a (w surrogate(r, A) - e H) + beta k;  `branch_means`: mean over tokens; a is 1 where a
    token acts, e the entropy bonus, as in Mnih et al. 2016, section 4 (A3C, arXiv 1602.01783).
    r is the ratio of each token, or of its completion: exp of the mean (Zheng et al. 2025, eq. 7, GSPO, arXiv
    2507.18071) or of the sum of its tokens' log-ratios; a completion's surrogate counts once, not once per token.

    Args:
        advantages: (S,) float, of each completion, as `alignment.losses.advantages.group_advantages`, flat; or (C,) of
            each token, as `process_advantages` there, where the ratio is of tokens.

    Raises:
        ValueError: if a KL is asked for without the reference's log-probabilities, or a bonus without entropies.
    """
    traits = POLICY_LOSSES[options.loss]
    logps = exact(tokens.logps)
    log_ratio = logps - exact(tokens.old_logps).detach()
    ratio = _exponential(_acting_log_ratio(tokens, log_ratio, traits.ratio))
    by_token = advantages.shape == logps.shape  # where both are (S,), every completion is a single token
    spread = advantages.to(logps) if by_token else advantages.to(logps)[tokens.branch]
    match traits.surrogate:
        case "clipped":
            surrogate = clipped_surrogate(
                ratio, spread, clip_low=options.below, clip_high=options.above, delta=options.delta
            )
        case "capped":
            surrogate = capped_surrogate(logps, ratio, spread, clip_high=options.above)
        case "logps":
            surrogate = reinforce_surrogate(logps, spread)
        case _:
            assert_never(traits.surrogate)
    if traits.ratio == "sequence_sum":
        surrogate = Surrogate(
            losses=surrogate.losses / tokens.lengths[tokens.branch],
            clipped_low=surrogate.clipped_low,
            clipped_high=surrogate.clipped_high,
        )
    return _summed(
        tokens,
        log_ratio,
        surrogate,
        beta=options.beta,
        estimator=options.kl_estimator,
        kl_weighted=options.kl_weighted,
        normaliser=traits.normaliser,
        entropy_coef=options.entropy_coef,
    )


def loss_total(loss: PolicyLossName, lengths: Tensor, *, max_length: int, kept: Tensor | None = None) -> float:
    """What the sum of a step's losses is divided by; the totals of parts of a step add up to it.

    Completions that are not kept have no tokens in `tokens` but count as completions: leaving one out does not make the
    others weigh more. The total is 0 if a loss by tokens keeps nothing; its losses are 0 then as well.

    Args:
        loss: a key of POLICY_LOSSES.
        lengths: (S,) int64, tokens of each completion of the step, those of groups without signal included.
        max_length: tokens a completion may have, read by `max_tokens` losses.
        kept: (S,) bool, as in `CompletionTokens`.
    """
    normaliser = POLICY_LOSSES[loss].normaliser
    match normaliser:
        case "tokens":
            return float((lengths if kept is None else lengths[kept]).sum())
        case "max_tokens":
            return float(len(lengths) * max_length)
        case "branch_means" | "branches":
            return float(len(lengths))
        case _:
            assert_never(normaliser)


def _exponential(log_ratio: Tensor) -> Tensor:
    return log_ratio.clamp_max(LARGEST_LOG_RATIO).exp()


def _acting_log_ratio(tokens: CompletionTokens, log_ratio: Tensor, kind: RatioName) -> Tensor:
    """(C,) log of the ratio that acts on each token."""
    if kind == "token":
        return log_ratio
    sums = segment_sums(log_ratio, tokens.branch, len(tokens.lengths))
    match kind:
        case "sequence_mean":
            return (sums / tokens.lengths.clamp_min(1))[tokens.branch]
        case "sequence_sum":
            return sums[tokens.branch]
        case _:
            assert_never(kind)


def _summed(
    tokens: CompletionTokens,
    log_ratio: Tensor,
    surrogate: Surrogate,
    *,
    beta: float,
    estimator: KlEstimatorName,
    kl_weighted: bool,
    normaliser: NormaliserName = "tokens",
    entropy_coef: float = 0.0,
) -> PolicyLoss:
    """Surrogate, entropy bonus and KL of tokens as losses of completions."""
    losses = surrogate.losses if tokens.weights is None else surrogate.losses * tokens.weights.detach()
    if entropy_coef:
        if tokens.entropy is None:
            raise ValueError(f"entropy_coef is {entropy_coef}: the loss needs the entropy of every token")
        losses = losses - entropy_coef * exact(tokens.entropy)
    if tokens.acting is not None:
        losses = losses.where(tokens.acting, 0.0)
    kl = None
    if tokens.reference_logps is not None:
        policy, reference = exact(tokens.logps), exact(tokens.reference_logps).detach()
        kl = token_kl(policy.detach(), reference, estimator)
        if beta > 0.0:
            term = (
                weighted_kl(policy, reference, _exponential(log_ratio), estimator)
                if kl_weighted
                else token_kl(policy, reference, estimator)
            )
            losses = losses + beta * term
    elif beta > 0.0:
        raise ValueError(f"beta is {beta}: the loss needs log-probabilities under a reference")
    sums = segment_sums(losses, tokens.branch, len(tokens.lengths))
    if normaliser == "branch_means":
        sums = sums / tokens.lengths.clamp_min(1)
    return PolicyLoss(
        losses=sums if tokens.kept is None else sums.where(tokens.kept, 0.0),
        log_ratio=log_ratio.detach(),
        clipped_low=surrogate.clipped_low,
        clipped_high=surrogate.clipped_high,
        kl=kl,
    )
