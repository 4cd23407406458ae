"""Losses of pairs without a reference, and the SFT term that others add.

Here the policy's own log-probabilities stand where log-ratios do elsewhere; rewards are beta times what is compared.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.losses.pair import PairLoss, exact, paired
from rewardkit.losses import bradley_terry_loss

LARGEST_LOGP = -1e-6  # of a token, in the odds: at 0 these would be infinite


def sft_term(chosen_logps: Tensor, chosen_lengths: Tensor) -> Tensor:
    """(B,) negative log-likelihood of chosen completions, mean over tokens, to be added with a weight.

    -log pi(y_c) / L_c.  Pang et al. 2024, eq. 1, its second part (arXiv 2404.19733).

    Args:
        chosen_logps: (B,) float, nats, summed over tokens.
        chosen_lengths: (B,) completion tokens.
    """
    return -exact(chosen_logps) / chosen_lengths


def simpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float,
    target_margin: float,
    label_smoothing: float = 0.0,
    margin: Tensor | None = None,
) -> PairLoss:
    """SimPO: mean log-probabilities as rewards, with a lead to reach.

    losses = -((1 - e) log sigma(b - g - m) + e log sigma(-b - g - m)),  b = beta (p_c - p_r),  p = log pi(y) / L.
    Meng et al. 2024, eq. 6 (arXiv 2405.14734), for e = 0 and m = 0. With e > 0 the lead g is asked of whichever side is
    taken as preferred; TRL moves b by g on both sides.

    Args:
        chosen_logps, rejected_logps: (B,) float, nats, summed over tokens.
        chosen_lengths, rejected_lengths: (B,) completion tokens.
        beta: > 0; the paper's is 2 to 2.5.
        target_margin: g, reward units, 0 or more; the paper's is 0.3 to 1.6.
        label_smoothing: e, from 0 up to 0.5.
        margin: (B,) float, m, more of the same for single pairs; None is 0.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    chosen, rejected = exact(chosen_logps) / chosen_lengths, exact(rejected_logps) / rejected_lengths
    asked = torch.full_like(chosen, target_margin).detach() if margin is None else margin + target_margin
    likelihood = bradley_terry_loss(beta * chosen, beta * rejected, margin=asked, label_smoothing=label_smoothing)
    return paired(likelihood.losses, chosen, rejected, beta)


def orpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float,
) -> PairLoss:
    """ORPO: supervised fine-tuning with an odds ratio between the two completions.

    losses = -p_c - beta log sigma(log odds_c - log odds_r),  p = log pi(y) / L,  log odds = p - log(1 - exp p).
    Hong et al. 2024, eq. 6 and 7 (arXiv 2403.07691), beta being its lambda. The first term is the mean over the tokens
    of the completion; TRL takes it over those of the prompt too.

    Args:
        chosen_logps, rejected_logps: (B,) float, nats, summed over tokens.
        chosen_lengths, rejected_lengths: (B,) completion tokens.
        beta: weight of the odds ratio, > 0; the paper's is 0.1.
    """
    chosen, rejected = exact(chosen_logps) / chosen_lengths, exact(rejected_logps) / rejected_lengths
    lead = _log_odds(chosen) - _log_odds(rejected)
    return paired(-chosen - beta * F.logsigmoid(lead), chosen, rejected, beta)


def _log_odds(logps: Tensor) -> Tensor:
    """log(p / (1 - p)) of a log-probability."""
    logps = logps.clamp(max=LARGEST_LOGP)
    return logps - torch.log(-torch.expm1(logps))


def cpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> PairLoss:
    """CPO: DPO against a uniform reference, with supervised fine-tuning on the chosen completion.

    losses = -((1 - e) log sigma(beta d) + e log sigma(-beta d)) - log pi(y_c) / L_c,  d = log pi(y_c) - log pi(y_r).
    Xu et al. 2024, eq. 3 and 5 (arXiv 2401.08417); as in its code the second term is a mean over tokens.

    Args:
        chosen_logps, rejected_logps: (B,) float, nats, summed over tokens.
        chosen_lengths: (B,) completion tokens.
        beta: > 0.
        label_smoothing: e, from 0 up to 0.5.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    chosen, rejected = exact(chosen_logps), exact(rejected_logps)
    likelihood = bradley_terry_loss(beta * chosen, beta * rejected, label_smoothing=label_smoothing)
    return paired(likelihood.losses + sft_term(chosen, chosen_lengths), chosen, rejected, beta)


LARGEST_BEND = 80.0  # exponent in alphapo: exp of it is finite in float32


def cpo_simpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float,
    target_margin: float,
    label_smoothing: float = 0.0,
    margin: Tensor | None = None,
) -> PairLoss:
    """CPO-SimPO: SimPO with the supervised fine-tuning of CPO, which keeps chosen completions likely.

    losses = `simpo_loss` - log pi(y_c) / L_c.
    Xu et al. 2024 with Meng et al. 2024, as their authors' code joins them (github.com/fe1ixxu/CPO_SIMPO).

    Args: as of `simpo_loss`.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    loss = simpo_loss(
        chosen_logps,
        rejected_logps,
        chosen_lengths,
        rejected_lengths,
        beta=beta,
        target_margin=target_margin,
        label_smoothing=label_smoothing,
        margin=margin,
    )
    return replace(loss, losses=loss.losses + sft_term(chosen_logps, chosen_lengths))


def alphapo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float,
    alpha: float,
    target_margin: float,
    label_smoothing: float = 0.0,
    margin: Tensor | None = None,
) -> PairLoss:
    """AlphaPO: SimPO with rewards whose shape alpha bends, so that likelihoods fall less or more.

    losses = -log sigma(beta (r_c - r_r) - g - m),  r = (1 - p^-alpha) / alpha,  p = exp(log pi(y) / L); r = log p at 0.
    Gupta et al. 2025, eq. 5 (arXiv 2501.03884). Exponents are held below 80: beyond, the gradient is 0.

    Args:
        chosen_logps, rejected_logps: (B,) float, nats, summed over tokens.
        chosen_lengths, rejected_lengths: (B,) completion tokens.
        beta: > 0.
        alpha: any number; more than 0 pays less for what is likely already.
        target_margin: g, reward units, 0 or more.
        label_smoothing, margin: as of `simpo_loss`.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    chosen, rejected = (
        _bent(exact(logps) / lengths, alpha)
        for logps, lengths in ((chosen_logps, chosen_lengths), (rejected_logps, rejected_lengths))
    )
    asked = torch.full_like(chosen, target_margin).detach() if margin is None else margin + target_margin
    likelihood = bradley_terry_loss(beta * chosen, beta * rejected, margin=asked, label_smoothing=label_smoothing)
    return paired(likelihood.losses, chosen, rejected, beta)


def _bent(mean_logps: Tensor, alpha: float) -> Tensor:
    """(1 - exp(-alpha x)) / alpha, x at alpha 0."""
    return mean_logps if alpha == 0.0 else -torch.expm1((-alpha * mean_logps).clamp(max=LARGEST_BEND)) / alpha
