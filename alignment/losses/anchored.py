"""Losses that judge each completion by itself against the reference: of pairs, and of single completions.

Log-ratios as in `alignment.losses.pair`. Here the policy is held in place absolutely, not only chosen against rejected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.losses.pair import PairLoss, exact, paired, sigmoid_loss
from alignment.losses.reference_free import sft_term


def nca_pair_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float) -> PairLoss:
    """Noise contrastive alignment with two completions: the chosen one's likelihood is held up, not only its lead.

    losses = -log sigma(r_c) - (log sigma(-r_c) + log sigma(-r_r)) / 2,  r = beta times log-ratio.
    Chen et al. 2024, NCA with K = 2 and hard labels (arXiv 2402.05369).

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    good, bad = beta * chosen, beta * rejected
    losses = -F.logsigmoid(good) - 0.5 * F.logsigmoid(-good) - 0.5 * F.logsigmoid(-bad)
    return paired(losses, chosen, rejected, beta)


def bco_pair_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float) -> PairLoss:
    """Binary classifier optimisation on pairs.

    losses = -log sigma(r_c) - log sigma(-r_r),  r = beta times log-ratio.
    Jung et al. 2024 (arXiv 2404.04656) with its reward shift at 0, as TRL has it.

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    return paired(-F.logsigmoid(beta * chosen) - F.logsigmoid(-beta * rejected), chosen, rejected, beta)


MPO_PREFERENCE, MPO_QUALITY, MPO_SFT = 0.8, 0.2, 1.0  # the paper's weights


def mpo_loss(
    chosen_logratios: Tensor,
    rejected_logratios: Tensor,
    chosen_logps: Tensor,
    chosen_lengths: Tensor,
    *,
    beta: float,
) -> PairLoss:
    """Mixed preference optimisation: which is better, how good each is, and how to write the chosen one.

    losses = 0.8 DPO + 0.2 BCO - log pi(y_c) / L_c.
    Wang et al. 2024, eq. 1 with the weights of section 4 (MPO, arXiv 2411.10442); `sigmoid_loss`, `bco_pair_loss` with
    its reward shift at 0, as TRL has it, and `alignment.losses.reference_free.sft_term`.

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        chosen_logps: (B,) float, nats, summed over tokens.
        chosen_lengths: (B,) completion tokens.
        beta: > 0.
    """
    preference = sigmoid_loss(chosen_logratios, rejected_logratios, beta=beta)
    quality = bco_pair_loss(chosen_logratios, rejected_logratios, beta=beta)
    written = sft_term(chosen_logps, chosen_lengths)
    losses = MPO_PREFERENCE * preference.losses + MPO_QUALITY * quality.losses + MPO_SFT * written
    return replace(preference, losses=losses)


def sppo_hard_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float) -> PairLoss:
    """Self-play preference optimisation with hard labels: each log-ratio is drawn to its own target.

    losses = (d_c - 1 / (2 beta))^2 + (d_r + 1 / (2 beta))^2,  d log-ratios.
    Wu et al. 2024, eq. 4.7 with win probabilities 1 and 0, beta = 1 / eta (arXiv 2405.00675).

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    losses = (chosen - 0.5 / beta).square() + (rejected + 0.5 / beta).square()
    return paired(losses, chosen, rejected, beta)


def apo_zero_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float) -> PairLoss:
    """Anchored preference optimisation where chosen completions are better than the policy's own: up, and down.

    losses = 1 - sigma(r_c) + sigma(r_r),  r = beta times log-ratio.
    D'Oosterlinck et al. 2024, eq. 7 (arXiv 2408.06266).

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    return paired(torch.sigmoid(-beta * chosen) + torch.sigmoid(beta * rejected), chosen, rejected, beta)


def apo_down_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float) -> PairLoss:
    """Anchored preference optimisation where chosen completions are worse than the policy's own: both go down.

    losses = sigma(r_c) + 1 - sigma(r_c - r_r),  r = beta times log-ratio.
    D'Oosterlinck et al. 2024, eq. 8 (arXiv 2408.06266).

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    return paired(torch.sigmoid(beta * chosen) + torch.sigmoid(beta * (rejected - chosen)), chosen, rejected, beta)


@dataclass(frozen=True, kw_only=True)
class UnpairedLoss:
    """Losses of single completions and detached diagnostics.

    Attributes:
        losses: (B,) float32, with gradient.
        rewards: (B,) float32, detached, beta times the log-ratio.
    """

    losses: Tensor
    rewards: Tensor


def kto_loss(
    logratios: Tensor,
    is_desirable: Tensor,
    *,
    kl: Tensor,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> UnpairedLoss:
    """Kahneman-Tversky optimisation: single completions that are desirable or not.

    losses = w_D (1 - sigma(beta (r - z))) if desirable, else w_U (1 - sigma(beta (z - r))),  r log-ratio.
    Ethayarajh et al. 2024, eq. 8 (arXiv 2402.01306); z estimates the KL from policy to reference. With z = 0 these are
    the halves of `apo_zero_loss`, the loss `apo_zero_unpaired` (D'Oosterlinck et al. 2024, eq. 7, arXiv 2408.06266).

    Args:
        logratios: (B,) float, nats.
        is_desirable: (B,) bool.
        kl: scalar z, nats, 0 or more, without gradient: usually the mean log-ratio of completions behind other
            prompts than their own (estimator k1), not below 0; 0 for `apo_zero_unpaired`.
        beta: > 0.
        desirable_weight, undesirable_weight: w_D and w_U, 0 or more.
    """
    ratios = exact(logratios)
    lead = beta * (ratios - kl.detach())
    desirable, undesirable = desirable_weight * torch.sigmoid(-lead), undesirable_weight * torch.sigmoid(lead)
    return UnpairedLoss(losses=torch.where(is_desirable, desirable, undesirable), rewards=beta * ratios.detach())
