"""Preference likelihoods as pure functions: rewards in, negative log-likelihoods per pair, ranking or step out.

The trainer reduces. All take rewards in any float type and compute in float32. A pair's margin of rewards is d = chosen
minus rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import torch
import torch.nn.functional as F
from torch import Tensor

from rewardkit.data.records import Ranks, check_ranks, places, ranked_pairs


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


@dataclass(frozen=True, kw_only=True)
class RankingLoss:
    """Losses of rankings and detached diagnostics.

    Attributes:
        losses: (B,) float32, nats, with gradient.
        concordances: (B,) float32, share of the compared pairs that the rewards put as the ranking does, ties of the
            ranking left out and equal rewards counted half; 1 where a ranking holds ties alone.
    """

    losses: Tensor
    concordances: Tensor


def plackett_luce_loss(rewards: Sequence[Tensor], ranks: Sequence[Ranks]) -> RankingLoss:
    """Plackett-Luce negative log-likelihood of rankings with ties and with responses that were not ranked.

    losses = sum over places k, best first, of
             sum_{m=1}^{t} mean over S in T_k, |S| = m, of log(sum_{i in S} e^{r_i} + sum_{j below T_k} e^{r_j})
             - sum_{i in T_k} r_i,
    T_k the t responses at place k. Without ties this is -log prod_k e^{r_k} / sum_{j at k or below} e^{r_j}: Luce 1959
    (section 1.C), Plackett 1975 (eq. 2.1). Responses that were not ranked stand in the sums below and have no place of
    their own: the likelihood of the top of a list. Tied responses: the mean log-likelihood over the orders that would
    break the tie, computed exactly over subsets. At N = 2 it is Bradley-Terry, with p = 1/2 for a tie, as
    `bradley_terry_loss` has it; Davidson-Luce (Firth, Kosmidis and Turner 2019) models ties as an outcome of their own
    with parameters of their own, which ours does not. All pairs of a ranking under Bradley-Terry (Ouyang et al. 2022,
    eq. 1) are the other way to learn from it.

    Args:
        rewards: B tensors (N_b,) float, nats.
        ranks: B rankings of as many responses each, see `rewardkit.data.records.Ranks`.

    Raises:
        ValueError: if a ranking is of another number of responses than it has rewards, or ranks none.
    """
    losses, concordances = [], []
    for scores, order in zip(rewards, ranks, strict=True):
        check_ranks(order, len(scores))
        values = scores.float()
        masks, shares = _sums_below(order)
        inside = torch.tensor(masks, device=values.device)
        logs = values.expand(len(masks), -1).masked_fill(~inside, -torch.inf).logsumexp(1)
        is_ranked = torch.tensor([rank is not None for rank in order], device=values.device)
        losses.append((logs * torch.tensor(shares, device=values.device)).sum() - values[is_ranked].sum())
        concordances.append(_concordance(values.detach(), order))
    return RankingLoss(losses=torch.stack(losses), concordances=torch.stack(concordances))


@lru_cache(maxsize=4096)
def _sums_below(ranks: Ranks) -> tuple[list[list[bool]], list[float]]:
    """The sums of a ranking's likelihood: which responses are in each, and how much its logarithm counts."""
    tied_places = places(ranks)
    below = {index for index, rank in enumerate(ranks) if rank is None}.union(*tied_places)
    masks, shares = [], []
    for tied in tied_places:
        below -= set(tied)
        for size in range(1, len(tied) + 1):
            for chosen in combinations(tied, size):
                masks.append([index in below or index in chosen for index in range(len(ranks))])
                shares.append(1.0 / comb(len(tied), size))
    return masks, shares


def _concordance(rewards: Tensor, ranks: Ranks) -> Tensor:
    ordered = [(i, j) if said == "a" else (j, i) for i, j, said in ranked_pairs(ranks) if said != "tie"]
    if not ordered:
        return torch.ones((), device=rewards.device)
    better, worse = torch.tensor(ordered, device=rewards.device).T
    margins = rewards[better] - rewards[worse]
    return ((margins > 0).float() + 0.5 * (margins == 0).float()).mean()


def step_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy of steps with soft labels, nats.

    losses = -(y log sigma(z) + (1 - y) log sigma(-z)),  y the probability that a step is right.
    y of 0 and 1: Lightman et al. 2024, section 2.6 (arXiv 2305.20050); soft y: Wang et al. 2024, eqs. 3 and 5 (arXiv
    2312.08935). A classifier of two labels with logits (0, z) has the same loss.

    Args:
        logits: (..., S) float.
        labels: (S,) float, 0 to 1.

    Returns:
        (..., S) float32.
    """
    logits = logits.float()
    return labels * F.softplus(-logits) + (1.0 - labels) * F.softplus(logits)
