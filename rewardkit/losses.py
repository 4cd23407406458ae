"""Preference likelihoods as pure functions: rewards in, per-pair negative log-likelihoods out. The trainer reduces.

All take rewards in any float type and compute in float32. A pair's margin of rewards is d = chosen minus rejected.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PreferenceLoss:
    """Per-pair losses and detached diagnostics.

    Attributes:
        losses: (B,) float32, nats, with gradient.
        margins: (B,) float32, chosen minus rejected reward, detached.
    """

    losses: Tensor
    margins: Tensor

    @property
    def accuracies(self) -> Tensor:
        """(B,) float32: 1 where chosen scores higher, 0.5 where equal, else 0."""
        return (self.margins > 0).float() + 0.5 * (self.margins == 0).float()


def bradley_terry_loss(
    chosen_rewards: Tensor,
    rejected_rewards: Tensor,
    *,
    p_chosen: Tensor | None = None,
    margin: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> PreferenceLoss:
    """Bradley-Terry negative log-likelihood with soft labels, margin and label smoothing.

    losses = -(p log sigma(d - m) + (1 - p) log sigma(-d - m)),  d = chosen minus rejected reward.
    p = 1, m = 0: Bradley and Terry 1952 as used by Ouyang et al. 2022, eq. 1 (arXiv 2203.02155). m: Touvron et al.
    2023, eq. 2 (arXiv 2307.09288); here it is asked of whichever side is preferred, so that exchanging the
    completions and p with 1 - p leaves the loss unchanged. Smoothing e replaces p by (1 - e) p + e (1 - p).

    Args:
        chosen_rewards, rejected_rewards: (B,) float, any unit.
        p_chosen: (B,) float, probability that chosen is better, 0 to 1; None is 1.
        margin: (B,) float, reward units, 0 or more; None is 0.
        label_smoothing: e, from 0 up to 0.5.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    if not 0.0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing}, allowed is 0 up to 0.5")
    margins = chosen_rewards.float() - rejected_rewards.float()
    p = torch.ones_like(margins) if p_chosen is None else p_chosen.float()
    p = (1.0 - label_smoothing) * p + label_smoothing * (1.0 - p)
    required_margin = torch.zeros_like(margins) if margin is None else margin.float()
    losses = -(p * F.logsigmoid(margins - required_margin) + (1.0 - p) * F.logsigmoid(-margins - required_margin))
    return PreferenceLoss(losses=losses, margins=margins.detach())


def rao_kupper_loss(
    chosen_rewards: Tensor, rejected_rewards: Tensor, *, outcome_shares: Tensor, tie_threshold: Tensor
) -> PreferenceLoss:
    """Negative log-likelihood with ties as outcomes, ties by a threshold.

    P(chosen) = sigma(d - t),  P(rejected) = sigma(-d - t),  P(tie) = (e^{2t} - 1) sigma(d - t) sigma(-d - t).
    losses = -(s_chosen log P(chosen) + s_tie log P(tie) + s_rejected log P(rejected)).
    Rao and Kupper 1967, eq. 2.3 with t = log theta.

    Args:
        chosen_rewards, rejected_rewards: (B,) float.
        outcome_shares: (B, 3) float, shares of chosen, tie, rejected; rows sum to 1.
        tie_threshold: scalar t > 0 (learned: pass a softplus of a parameter).
    """
    margins = chosen_rewards.float() - rejected_rewards.float()
    t = tie_threshold.float()
    log_chosen = F.logsigmoid(margins - t)
    log_rejected = F.logsigmoid(-margins - t)
    log_tie = torch.log(torch.expm1(2.0 * t)) + log_chosen + log_rejected
    log_outcomes = torch.stack((log_chosen, log_tie, log_rejected), dim=-1)
    return PreferenceLoss(losses=-(outcome_shares.float() * log_outcomes).sum(-1), margins=margins.detach())


def davidson_loss(
    chosen_rewards: Tensor, rejected_rewards: Tensor, *, outcome_shares: Tensor, log_tie: Tensor
) -> PreferenceLoss:
    """Negative log-likelihood with ties as outcomes, ties by a geometric mean.

    (P(chosen), P(tie), P(rejected)) = softmax(d / 2, log nu, -d / 2).  Davidson 1970, eq. 2.2.

    Args:
        chosen_rewards, rejected_rewards: (B,) float.
        outcome_shares: (B, 3) float, shares of chosen, tie, rejected; rows sum to 1.
        log_tie: scalar log nu (learned).
    """
    margins = chosen_rewards.float() - rejected_rewards.float()
    logits = torch.stack((margins / 2, log_tie.float().expand_as(margins), -margins / 2), dim=-1)
    losses = -(outcome_shares.float() * F.log_softmax(logits, dim=-1)).sum(-1)
    return PreferenceLoss(losses=losses, margins=margins.detach())


def crowd_bradley_terry_loss(
    chosen_rewards: Tensor, rejected_rewards: Tensor, *, reliability_logits: Tensor, p_chosen: Tensor | None = None
) -> PreferenceLoss:
    """Bradley-Terry where each vote is seen through its annotator's reliability.

    P(vote for chosen) = q sigma(d) + (1 - q) sigma(-d),  q = sigma(reliability_logits).
    losses = -(p log P(vote for chosen) + (1 - p) log P(vote for rejected)).
    Chen et al. 2013, Crowd-BT, eq. 3 (doi 10.1145/2433396.2433420); q = 1/2 carries no information, q < 1/2 inverts.

    Args:
        chosen_rewards, rejected_rewards: (N,) float, one entry per vote.
        reliability_logits: (N,) float, log-odds of the vote's annotator being right; given, or learned jointly.
        p_chosen: (N,) float, 1 for a vote for chosen, 0.5 for a tie; None is 1.
    """
    margins = chosen_rewards.float() - rejected_rewards.float()
    log_right = F.logsigmoid(reliability_logits.float())
    log_wrong = F.logsigmoid(-reliability_logits.float())
    log_chosen = torch.logaddexp(log_right + F.logsigmoid(margins), log_wrong + F.logsigmoid(-margins))
    log_rejected = torch.logaddexp(log_right + F.logsigmoid(-margins), log_wrong + F.logsigmoid(margins))
    p = torch.ones_like(margins) if p_chosen is None else p_chosen.float()
    return PreferenceLoss(losses=-(p * log_chosen + (1.0 - p) * log_rejected), margins=margins.detach())


def centring_penalty(chosen_rewards: Tensor, rejected_rewards: Tensor) -> Tensor:
    """(B,) squared sum of the two rewards, which fixes the constant that Bradley-Terry leaves free.

    (r_chosen + r_rejected)^2.  Eisenstein et al. 2023, section 3 (arXiv 2312.09244).
    """
    return (chosen_rewards.float() + rejected_rewards.float()).square()
