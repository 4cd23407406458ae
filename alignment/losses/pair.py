"""Losses of pairs that compare the log-ratios of chosen and rejected: DPO and what has its shape.

Pure functions of log-probabilities: per-pair losses and detached rewards out, the trainer reduces. A log-ratio is the
policy's log-probability of a completion minus the reference's, summed over its tokens. beta multiplies it: the smaller
beta, the further the policy moves before a pair counts as learned.

The AOT losses compare sorted batches instead of pairs: each quantile of one distribution is asked to lie above that of
another. Such a loss depends on the whole batch, so all pairs of a step belong into one call; its values come in the
order of quantiles, not of pairs, and only their mean means something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rewardkit.losses import bradley_terry_loss


@dataclass(frozen=True, kw_only=True)
class PairLoss:
    """Per-pair losses and detached diagnostics.

    Attributes:
        losses: (B,) float32, with gradient.
        chosen_rewards, rejected_rewards: (B,) float32, detached: beta times the log-ratio, or what stands for it where
            there is no reference.
    """

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor

    @property
    def margins(self) -> Tensor:
        """(B,) float32, chosen minus rejected reward."""
        return self.chosen_rewards - self.rejected_rewards

    @property
    def accuracies(self) -> Tensor:
        """(B,) float32: 1 where chosen has the higher reward, 0.5 where both are equal, else 0."""
        return (self.margins > 0).float() + 0.5 * (self.margins == 0).float()


def exact(tensor: Tensor) -> Tensor:
    """Converts to float32 at least, for sums and exponentials."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def paired(losses: Tensor, chosen: Tensor, rejected: Tensor, beta: float) -> PairLoss:
    """Builds the result of a loss whose rewards are beta times the given terms."""
    return PairLoss(losses=losses, chosen_rewards=beta * chosen.detach(), rejected_rewards=beta * rejected.detach())


def sigmoid_loss(
    chosen_logratios: Tensor,
    rejected_logratios: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    margin: Tensor | None = None,
) -> PairLoss:
    """DPO: a Bradley-Terry likelihood of the implicit rewards.

    losses = -((1 - e) log sigma(beta d - m) + e log sigma(-beta d - m)),  d = chosen minus rejected log-ratio.
    e = 0, m = 0: Rafailov et al. 2023, eq. 7 (arXiv 2305.18290). e > 0: conservative DPO, Mitchell 2023, "A note on
    DPO with noisy preferences". m: DPO with an offset, Amini et al. 2024 (arXiv 2402.10571).

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
        label_smoothing: e, the assumed share of flipped labels, from 0 up to 0.5.
        margin: (B,) float, reward units, 0 or more: by how much the preferred side is asked to lead; None is 0.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    likelihood = bradley_terry_loss(beta * chosen, beta * rejected, margin=margin, label_smoothing=label_smoothing)
    return paired(likelihood.losses, chosen, rejected, beta)


def robust_loss(
    chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float, label_smoothing: float
) -> PairLoss:
    """DPO loss whose mean over flipped labels is that over clean ones.

    losses = (-(1 - e) log sigma(beta d) + e log sigma(-beta d)) / (1 - 2 e).
    Chowdhury et al. 2024, robust DPO (arXiv 2403.00409); unlike the conservative form the second term is subtracted.

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
        label_smoothing: e, the share of flipped labels, from 0 up to 0.5.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    if not 0.0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing}, allowed is 0 up to 0.5")
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    scaled = beta * (chosen - rejected)
    as_labelled, flipped = (1.0 - label_smoothing) * F.logsigmoid(scaled), label_smoothing * F.logsigmoid(-scaled)
    return paired((flipped - as_labelled) / (1.0 - 2.0 * label_smoothing), chosen, rejected, beta)


def ipo_loss(
    chosen_logratios: Tensor,
    rejected_logratios: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float,
) -> PairLoss:
    """IPO: the log-ratios per token are held at a distance instead of driven apart without end.

    losses = (d_c / L_c - d_r / L_r - 1 / (2 beta))^2,  d log-ratios, L lengths.
    Azar et al. 2023, eq. 17 (arXiv 2310.12036), beta being its tau. The division by length is not in the paper's text;
    its authors and TRL use it.

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats, summed over tokens.
        chosen_lengths, rejected_lengths: (B,) completion tokens.
        beta: > 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    distance = chosen / chosen_lengths - rejected / rejected_lengths
    return paired((distance - 0.5 / beta).square(), chosen, rejected, beta)


def hinge_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float) -> PairLoss:
    """SLiC's hinge on log-ratios.

    losses = max(0, 1 - beta d),  d = chosen minus rejected log-ratio.
    Zhao et al. 2023 (SLiC-HF, arXiv 2305.10425), with a reference as in Liu et al. 2023, hinge-norm (arXiv 2309.06657).

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    return paired(torch.relu(1.0 - beta * (chosen - rejected)), chosen, rejected, beta)


def exo_pair_loss(
    chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float, label_smoothing: float
) -> PairLoss:
    """EXO with two completions: the reverse KL from the policy's preference to a smoothed label.

    losses = q log(q / (1 - e)) + (1 - q) log((1 - q) / e),  q = sigma(beta d).
    Ji et al. 2024, eq. 16 (arXiv 2402.00856), which recommends e = 0.001.

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
        label_smoothing: e, between 0 and 0.5.

    Raises:
        ValueError: if label_smoothing is out of range: at 0 the loss is infinite.
    """
    if not 0.0 < label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing}, allowed is between 0 and 0.5")
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    scaled = beta * (chosen - rejected)
    as_labelled = torch.sigmoid(scaled) * (F.logsigmoid(scaled) - math.log1p(-label_smoothing))
    flipped = torch.sigmoid(-scaled) * (F.logsigmoid(-scaled) - math.log(label_smoothing))
    return paired(as_labelled + flipped, chosen, rejected, beta)


def discopop_loss(chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float, tau: float = 0.05) -> PairLoss:
    """DiscoPOP: between the logistic and the exponential loss, by the margin itself.

    losses = (1 - s) log(1 + exp(-z)) + s exp(-z),  z = beta d,  s = sigma(z / tau).
    Lu et al. 2024, eq. 5, the log-ratio modulated loss (arXiv 2406.08414). exp(-z) s is computed as one exponential, so
    that a very negative z gives its limit instead of infinity times zero.

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
        tau: temperature of the blend, > 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    scaled = beta * (chosen - rejected)
    logistic = -F.logsigmoid(scaled) * torch.sigmoid(-scaled / tau)
    return paired(logistic + torch.exp(F.logsigmoid(scaled / tau) - scaled), chosen, rejected, beta)


def sigmoid_norm_loss(
    chosen_logratios: Tensor,
    rejected_logratios: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float,
    margin: Tensor | None = None,
) -> PairLoss:
    """DPO with log-ratios per token, so that length earns nothing.

    losses = -log sigma(beta (d_c / L_c - d_r / L_r) - m).  Lambert et al. 2024, section 5 (Tulu 3, arXiv 2411.15124).

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats, summed over tokens.
        chosen_lengths, rejected_lengths: (B,) completion tokens.
        beta: > 0; the paper's is 5.
        margin: (B,) float, as in `sigmoid_loss`, of rewards per token; None is 0.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    likelihood = bradley_terry_loss(beta * chosen / chosen_lengths, beta * rejected / rejected_lengths, margin=margin)
    return paired(likelihood.losses, chosen, rejected, beta)


def aot_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> PairLoss:
    """Alignment by optimal transport, paired: the policy's margins dominate the reference's.

    losses_i = -((1 - e) log sigma(beta (u_i - v_i)) + e log sigma(-beta (u_i - v_i))),  u and v the sorted margins
    log p(y_c) - log p(y_r) under policy and reference.  Melnyk et al. 2024, AOT paired (arXiv 2406.05882).

    Args:
        policy_chosen_logps, policy_rejected_logps, reference_chosen_logps, reference_rejected_logps: (B,) float, nats,
            summed over tokens.
        beta: > 0.
        label_smoothing: e, from 0 up to 0.5.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    chosen, rejected = exact(policy_chosen_logps), exact(policy_rejected_logps)
    reference_chosen, reference_rejected = exact(reference_chosen_logps), exact(reference_rejected_logps)
    losses = _dominance(chosen - rejected, reference_chosen - reference_rejected, beta, label_smoothing)
    return paired(losses, chosen - reference_chosen, rejected - reference_rejected, beta)


def aot_unpaired_loss(
    chosen_logratios: Tensor, rejected_logratios: Tensor, *, beta: float, label_smoothing: float = 0.0
) -> PairLoss:
    """Alignment by optimal transport, unpaired: log-ratios of chosen completions dominate those of rejected ones.

    losses_i as in `aot_loss`, u and v the sorted log-ratios of chosen and of rejected completions.
    Melnyk et al. 2024, AOT unpaired (arXiv 2406.05882).

    Args:
        chosen_logratios, rejected_logratios: (B,) float, nats.
        beta: > 0.
        label_smoothing: e, from 0 up to 0.5.

    Raises:
        ValueError: if label_smoothing is out of range.
    """
    chosen, rejected = exact(chosen_logratios), exact(rejected_logratios)
    return paired(_dominance(chosen, rejected, beta, label_smoothing), chosen, rejected, beta)


def _dominance(above: Tensor, below: Tensor, beta: float, label_smoothing: float) -> Tensor:
    """(B,) losses of the quantiles of two samples."""
    upper, lower = beta * above.sort().values, beta * below.sort().values
    return bradley_terry_loss(upper, lower, label_smoothing=label_smoothing).losses
