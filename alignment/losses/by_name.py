"""The loss of pairs that a name says, which is what a trainer calls.

Before a loss compares chosen with rejected, log-ratios pass through the f-divergence that holds the policy near the
reference; reverse KL leaves them as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.config.loss_names import PAIR_LOSSES, DivergenceName, PairLossOptions
from alignment.losses.anchored import (
    apo_down_loss,
    apo_zero_loss,
    bco_pair_loss,
    mpo_loss,
    nca_pair_loss,
    sppo_hard_loss,
)
from alignment.losses.pair import (
    PairLoss,
    aot_loss,
    aot_unpaired_loss,
    discopop_loss,
    exo_pair_loss,
    hinge_loss,
    ipo_loss,
    robust_loss,
    sigmoid_loss,
    sigmoid_norm_loss,
)
from alignment.losses.reference_free import alphapo_loss, cpo_loss, cpo_simpo_loss, orpo_loss, simpo_loss

LARGEST_EXPONENT = 80.0  # exp of it is finite in float32


def divergence_scores(logratios: Tensor, *, divergence: DivergenceName, alpha: float = 0.5) -> Tensor:
    """f'(u) of the ratio u = policy / reference: the reward of a completion is beta f'(u), up to what a prompt shares.

    reverse_kl: log u.  forward_kl: 1 - 1/u.  js_divergence: log(2u / (1 + u)).
    alpha_divergence: (u^(a - 1) - 1) / (a - 1), which is forward_kl at a = 0 and tends to reverse_kl as a goes to 1.
    Wang et al. 2023, theorem 1 and table 1 (arXiv 2309.16240); their alpha is 1 - a here, which is how TRL counts too.
    Constants are chosen so that all are 0 at u = 1; they cancel between chosen and rejected.

    Args:
        logratios: (B,) float, log u, nats.
        divergence: which f.
        alpha: a, of alpha_divergence.

    Returns:
        (B,) float, increasing in the log-ratio. Exponents are held below 80: beyond, the gradient is 0 rather than nan.
    """
    match divergence:
        case "reverse_kl":
            return logratios
        case "forward_kl":
            return -torch.expm1((-logratios).clamp(max=LARGEST_EXPONENT))
        case "js_divergence":
            return math.log(2.0) + F.logsigmoid(logratios)
        case "alpha_divergence":
            power = alpha - 1.0
            if abs(power) < 1e-6:
                return logratios
            return torch.expm1((power * logratios).clamp(max=LARGEST_EXPONENT)) / power
        case _:
            assert_never(divergence)


@dataclass(frozen=True, kw_only=True)
class PairLogps:
    """Log-probabilities of B pairs, nats, summed over completion tokens.

    Attributes:
        chosen, rejected: (B,) float, under the policy, with gradient.
        reference_chosen, reference_rejected: (B,) float, under the reference; None for losses that need none.
        chosen_lengths, rejected_lengths: (B,) int64, completion tokens.
    """

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor | None
    reference_rejected: Tensor | None
    chosen_lengths: Tensor
    rejected_lengths: Tensor

    def exchanged(self) -> PairLogps:
        """Swaps chosen and rejected."""
        return PairLogps(
            chosen=self.rejected,
            rejected=self.chosen,
            reference_chosen=self.reference_rejected,
            reference_rejected=self.reference_chosen,
            chosen_lengths=self.rejected_lengths,
            rejected_lengths=self.chosen_lengths,
        )


def pair_loss(
    pairs: PairLogps, options: PairLossOptions, *, p_chosen: Tensor | None = None, margin: Tensor | None = None
) -> PairLoss:
    """The losses of B pairs under the named loss.

    With soft labels, the expectation over which completion is preferred:
    losses = p loss(chosen, rejected) + (1 - p) loss(rejected, chosen).
    For `sigmoid` that is the cross-entropy to p; for `ipo`, up to a constant, the squared distance of the log-ratios
    per token from (2 p - 1) / (2 beta).

    Args:
        p_chosen: (B,) float, 0 to 1, probability that chosen is better; None is 1.
        margin: (B,) float, reward units, 0 or more; None is 0.

    Raises:
        ValueError: if the loss does not read what is given, or needs what is not.
    """
    traits = PAIR_LOSSES[options.loss]
    if p_chosen is not None and not traits.soft_labels:
        raise ValueError(f"loss {options.loss} has no soft labels: it sorts chosen against rejected")
    if margin is not None and not traits.margin:
        raise ValueError(f"loss {options.loss} has no margin per row")
    if traits.needs_reference and (pairs.reference_chosen is None or pairs.reference_rejected is None):
        raise ValueError(f"loss {options.loss} needs log-probabilities under a reference")
    result = _hard_loss(pairs, options, margin)
    if p_chosen is None:
        return result
    opposite = _hard_loss(pairs.exchanged(), options, margin)
    return PairLoss(
        losses=p_chosen * result.losses + (1.0 - p_chosen) * opposite.losses,
        chosen_rewards=result.chosen_rewards,
        rejected_rewards=result.rejected_rewards,
    )


def _hard_loss(pairs: PairLogps, options: PairLossOptions, margin: Tensor | None) -> PairLoss:
    """Computes the losses for labels that say chosen is better in every pair."""
    beta, smoothing = options.strength, options.smoothing
    lengths = (pairs.chosen_lengths, pairs.rejected_lengths)
    own = (pairs.chosen, pairs.rejected)
    match options.loss:
        case "simpo" | "cpo_simpo":
            loss = simpo_loss if options.loss == "simpo" else cpo_simpo_loss
            target = options.target
            return loss(*own, *lengths, beta=beta, target_margin=target, label_smoothing=smoothing, margin=margin)
        case "alphapo":
            alpha, target = options.alphapo_alpha, options.target
            return alphapo_loss(
                *own,
                *lengths,
                beta=beta,
                alpha=alpha,
                target_margin=target,
                label_smoothing=smoothing,
                margin=margin,
            )
        case "orpo":
            return orpo_loss(*own, *lengths, beta=beta)
        case "cpo":
            return cpo_loss(*own, lengths[0], beta=beta, label_smoothing=smoothing)
        case "aot":
            assert pairs.reference_chosen is not None
            assert pairs.reference_rejected is not None
            reference = (pairs.reference_chosen, pairs.reference_rejected)
            return aot_loss(*own, *reference, beta=beta, label_smoothing=smoothing)
        case _:
            return _logratio_loss(pairs, options, margin)


def _logratio_loss(pairs: PairLogps, options: PairLossOptions, margin: Tensor | None) -> PairLoss:
    """Losses that see the policy only relative to the reference."""
    assert pairs.reference_chosen is not None
    assert pairs.reference_rejected is not None
    beta, smoothing = options.strength, options.smoothing
    lengths = (pairs.chosen_lengths, pairs.rejected_lengths)
    chosen, rejected = (
        divergence_scores(logratios, divergence=options.divergence, alpha=options.divergence_alpha)
        for logratios in (pairs.chosen - pairs.reference_chosen, pairs.rejected - pairs.reference_rejected)
    )
    match options.loss:
        case "sigmoid" | "cdpo":
            return sigmoid_loss(chosen, rejected, beta=beta, label_smoothing=smoothing, margin=margin)
        case "robust":
            return robust_loss(chosen, rejected, beta=beta, label_smoothing=smoothing)
        case "ipo":
            return ipo_loss(chosen, rejected, *lengths, beta=beta)
        case "hinge":
            return hinge_loss(chosen, rejected, beta=beta)
        case "exo_pair":
            return exo_pair_loss(chosen, rejected, beta=beta, label_smoothing=smoothing)
        case "discopop":
            return discopop_loss(chosen, rejected, beta=beta, tau=options.discopop_tau)
        case "sigmoid_norm":
            return sigmoid_norm_loss(chosen, rejected, *lengths, beta=beta, margin=margin)
        case "nca_pair":
            return nca_pair_loss(chosen, rejected, beta=beta)
        case "bco_pair":
            return bco_pair_loss(chosen, rejected, beta=beta)
        case "sppo_hard":
            return sppo_hard_loss(chosen, rejected, beta=beta)
        case "apo_zero":
            return apo_zero_loss(chosen, rejected, beta=beta)
        case "apo_down":
            return apo_down_loss(chosen, rejected, beta=beta)
        case "mpo":
            return mpo_loss(chosen, rejected, pairs.chosen, lengths[0], beta=beta)
        case "aot_unpaired":
            return aot_unpaired_loss(chosen, rejected, beta=beta, label_smoothing=smoothing)
        case "simpo" | "orpo" | "cpo" | "cpo_simpo" | "alphapo" | "aot":
            raise AssertionError(f"{options.loss} is not a function of log-ratios")
        case _:
            assert_never(options.loss)
