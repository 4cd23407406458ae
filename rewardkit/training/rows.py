"""Tokenised preferences with what a likelihood asks of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rewardkit.data.records import RANKING, Preference
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import tokenise
from rewardkit.reward.reward import criterion_targets

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CERTAIN = 20.0  # log-odds taken for a reliability of 1


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """N tokenised preferences.

    Attributes:
        rows: two branches each, chosen first.
        p_chosen, weight, margin: (N,) float32.
        outcome_shares: (N, 3) float32, shares of chosen, tie, rejected.
        reliability_logits: (N,) float32, log-odds that the row's vote is right; used by `crowd`.
        prompt: (N,) int64, number of the row's prompt, for bootstrap intervals and splits.
        criteria: names of the rubric criteria that have heads of their own.
        criterion_p, criterion_weight: (C, N) float32, probability that chosen is better by each criterion, and the
            row's weight, 0 where nobody judged it.
        rankings: (N,) id of the ranking that a row is a pair of, empty for a pair of its own.
        numbers: (N,) of the preferences that the rows were made of.
        num_cut: conversations that lost tokens to `max_length`.
        num_identical: pairs left out, because their two conversations are the same tokens and teach nothing.
    """

    rows: Sequence[Branched]
    p_chosen: Tensor
    weight: Tensor
    margin: Tensor
    outcome_shares: Tensor
    reliability_logits: Tensor
    prompt: Tensor
    criteria: tuple[str, ...] = ()
    criterion_p: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    criterion_weight: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    rankings: Sequence[str] = ()
    numbers: Sequence[int] = ()
    num_cut: int = 0
    num_identical: int = 0

    def __len__(self) -> int:
        return len(self.rows)


def training_rows(
    preferences: Sequence[Preference],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    criteria: Sequence[str] = (),
    keeps_marks: bool = True,
) -> TrainingRows:
    """Tokenises preferences and lays out their targets; pairs that are the same tokens, once cut, are left out.

    Args:
        keeps_marks: see `rewardkit.network.tokens.tokenise`; with False such pairs stay, as in runs of before.
    """
    rows, num_cut = tokenise(
        [row.prompt for row in preferences],
        [(row.chosen, row.rejected) for row in preferences],
        tokenizer,
        max_length=max_length,
        keeps_marks=keeps_marks,
    )
    different = [number for number, row in enumerate(rows) if not keeps_marks or row.branches[0] != row.branches[1]]
    num_identical = len(rows) - len(different)
    rows, preferences = [rows[number] for number in different], [preferences[number] for number in different]
    prompt_numbers: dict[object, int] = {}
    prompts = [prompt_numbers.setdefault(row.prompt, len(prompt_numbers)) for row in preferences]
    criterion_p, criterion_weight = criterion_targets(preferences, criteria)
    return TrainingRows(
        rows=rows,
        p_chosen=torch.tensor([row.p_chosen for row in preferences]),
        weight=torch.tensor([row.weight for row in preferences]),
        margin=torch.tensor([row.margin for row in preferences]),
        outcome_shares=torch.tensor([outcome_shares(row) for row in preferences]).reshape(-1, 3),
        reliability_logits=torch.tensor([reliability_logit(row) for row in preferences]),
        prompt=torch.tensor(prompts),
        criteria=tuple(criteria),
        criterion_p=torch.from_numpy(criterion_p).float(),
        criterion_weight=torch.from_numpy(criterion_weight).float(),
        rankings=[str(row.meta.get(RANKING, "")) for row in preferences],
        numbers=different,
        num_cut=num_cut,
        num_identical=num_identical,
    )


def outcome_shares(row: Preference) -> tuple[float, float, float]:
    """Shares of chosen, tie, rejected: of the votes where they are known (both bad is a tie), else by p_chosen."""
    votes = row.votes
    total = sum(votes.values())
    if total:
        ties = votes.get("tie", 0) + votes.get("both_bad", 0)
        return votes.get("chosen", 0) / total, ties / total, votes.get("rejected", 0) / total
    if row.p_chosen == 0.5:
        return 0.0, 1.0, 0.0
    return row.p_chosen, 0.0, 1.0 - row.p_chosen


def reliability_logit(row: Preference) -> float:
    """Log-odds that the row's annotator is right, from meta `reliability`; certain where the row says nothing."""
    probability = float(row.meta.get("reliability", 1.0))  # type: ignore[arg-type]
    if probability in (0.0, 1.0):
        return math.copysign(CERTAIN, probability - 0.5)
    return math.log(probability / (1.0 - probability))
