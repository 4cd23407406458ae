"""What losses of pairs need and measure, on fixed rows (`alignment.offline.dpo`) and online."""

from __future__ import annotations

import torch
from torch import Tensor

from alignment.losses.by_name import PairLogps
from alignment.losses.pair import PairLoss

PAIR_METRICS = ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "logps/chosen", "logps/rejected")


def pair_logps(policy: Tensor, reference: Tensor | None, lengths: Tensor) -> PairLogps:
    """The log-probabilities of pairs by name.

    Args:
        policy, reference: (B, 2) summed log-probabilities, nats, chosen before rejected; no reference for some losses.
        lengths: (B, 2) in tokens.
    """
    return PairLogps(
        chosen=policy[:, 0],
        rejected=policy[:, 1],
        reference_chosen=None if reference is None else reference[:, 0],
        reference_rejected=None if reference is None else reference[:, 1],
        chosen_lengths=lengths[:, 0],
        rejected_lengths=lengths[:, 1],
    )


def pair_columns(loss: PairLoss, policy: Tensor, decided: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Values and weights of PAIR_METRICS.

    Args:
        policy: (B, 2) log-probabilities.
        decided: (B,) 1.0 where the label says which completion is better, else 0.0.
    """
    ones = torch.ones_like(loss.chosen_rewards)
    return [
        (loss.chosen_rewards, ones),
        (loss.rejected_rewards, ones),
        (loss.accuracies, decided),
        (policy[:, 0], ones),
        (policy[:, 1], ones),
    ]
