"""Losses that compare sorted batches: each quantile of one distribution is asked to lie above that of another.

A pair's loss depends on the whole batch, so all pairs of a step belong into one call. Losses come in the order of
quantiles, not of pairs: only their mean means something.
"""

from __future__ import annotations

from torch import Tensor

from alignment.losses.pair import PairLoss, exact, paired
from rewardkit.losses import bradley_terry_loss


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
