"""Training of a reward model from rankings: all completions of a prompt in one packed row.

Two ways, by the likelihood of the configuration. `bradley_terry` takes all pairs of a ranking in one step, weighted so
that a ranking of any length counts as one (Ouyang et al. 2022, section 3.5, who found that pairs spread over steps
overfit); `plackett_luce` the likelihood of the whole order (`rewardkit.losses.plackett_luce_loss`). Every completion is
computed once for all of its pairs. An example of a batch is a ranking; a pair of its own is one of two, and rankings of
two train as pairs do, step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rewardkit.config import RewardConfig
from rewardkit.data.records import Ranks, dense
from rewardkit.distributed.sharding import Sharded
from rewardkit.losses import plackett_luce_loss
from rewardkit.network.classifier import RewardScorer
from rewardkit.network.packed_rows import Branched, branch_at_common_prefix
from rewardkit.training.reward_objective import RewardObjective, head_losses, member_counts
from rewardkit.training.rows import TrainingRows
from rewardkit.training.steps import Part


@dataclass(frozen=True, kw_only=True)
class PackedRankings:
    """G rankings as packed rows.

    Attributes:
        rows: a branch per completion.
        ranks: by ranking, the ranks of its branches.
        pairs: by ranking, its pairs: number of the row of `TrainingRows`, branch of chosen, branch of rejected.
        is_pair: whether it is a pair of its own, with a soft label perhaps.
    """

    rows: Sequence[Branched]
    ranks: Sequence[Ranks]
    pairs: Sequence[Sequence[tuple[int, int, int]]]
    is_pair: Sequence[bool]


def pack_rankings(rows: TrainingRows) -> PackedRankings:
    """Puts the pairs of each ranking together; the order of rankings is that of their first pairs.

    What pairs say gives the order back: by wins and half wins. Completions without either were not ranked, or are the
    last one, which is the same to a likelihood.
    """
    members: dict[object, list[int]] = {}
    for number in range(len(rows)):
        key = rows.rankings[number] if rows.rankings else ""
        members.setdefault(key or number, []).append(number)
    packed, ranks, pairs = [], [], []
    for numbers in members.values():
        places: dict[tuple[int, ...], int] = {}
        wins: dict[int, float] = {}
        own: list[tuple[int, int, int]] = []
        for number in numbers:
            row = rows.rows[number]
            chosen, rejected = (places.setdefault(row.prompt + branch, len(places)) for branch in row.branches)
            own.append((number, chosen, rejected))
            is_tie = bool(rows.p_chosen[number] == 0.5)
            wins[chosen] = wins.get(chosen, 0.0) + (0.5 if is_tie else 1.0)
            wins[rejected] = wins.get(rejected, 0.0) + (0.5 if is_tie else 0.0)
        packed.append(branch_at_common_prefix(list(places)))
        ranks.append(dense([-wins[place] if wins[place] else None for place in range(len(places))]))
        pairs.append(own)
    return PackedRankings(rows=packed, ranks=ranks, pairs=pairs, is_pair=[not isinstance(key, str) for key in members])


def make_objective(
    scorer: RewardScorer,
    rows: TrainingRows,
    held_out: TrainingRows,
    config: RewardConfig,
    sharded: Sharded | None = None,
) -> RewardObjective:
    """The objective of pairs, or that of rankings where the rows are pairs of such."""
    if len(set(rows.rankings) - {""}) == 0:
        return RewardObjective(scorer, rows, held_out, config, sharded)
    return RankingObjective(scorer, rows, held_out, config, sharded)


class RankingObjective(RewardObjective):
    """A scorer trained on rankings; held-out figures are those of their pairs.

    The loss of a step is that of `RewardObjective`, over the pairs of the batch's rankings; under `plackett_luce` the
    members' losses are those of whole rankings, each with the weight of its pairs together. A bootstrap draws rankings.
    """

    def __init__(
        self,
        scorer: RewardScorer,
        rows: TrainingRows,
        held_out: TrainingRows,
        config: RewardConfig,
        sharded: Sharded | None = None,
    ) -> None:
        super().__init__(scorer, rows, held_out, config, sharded)
        self.packed = pack_rankings(rows)
        self.examples = self.packed.rows
        self.is_listwise = config.likelihood == "plackett_luce"
        self.weights = self.pair_weights(config)

    def pair_weights(self, config: RewardConfig) -> Tensor:
        """(K + C, N) float32: the weight of each pair for each head; members see whole rankings as often as drawn."""
        drawn = member_counts(self.num_examples, config)
        weights = torch.zeros(config.ensemble, len(self.rows))
        for group, own in enumerate(self.packed.pairs):
            numbers = [number for number, _, _ in own]
            weights[:, numbers] = drawn[:, group, None] * self.rows.weight[numbers]
        return torch.cat((weights, self.rows.criterion_weight)) if self.rows.criteria else weights

    def prepare(self, batch: Sequence[int]) -> Tensor:
        """(K + C,): what every head's weighted sum of losses is divided by."""
        return super().prepare([number for index in batch for number, _, _ in self.packed.pairs[index]])

    def part(self, indices: Sequence[int], prepared: Tensor | None, *, measures: bool) -> Part:
        """Loss of some rankings; margins and accuracies of the members on their pairs."""
        assert prepared is not None
        rewards = self.rewards([self.packed.rows[index] for index in indices])
        numbers, branches, starts, start = [], [], [], 0
        for index in indices:
            starts.append(start)
            for number, chosen, rejected in self.packed.pairs[index]:
                numbers.append(number)
                branches += [start + chosen, start + rejected]
            start += len(self.packed.rows[index].branches)
        of_pairs = torch.tensor(numbers)
        losses, margins = head_losses(rewards[:, branches], self.rows, of_pairs, self.config, self.extra)
        weights = self.weights[:, of_pairs].to(self.device)
        if self.is_listwise:
            loss = self.listwise(rewards, indices, starts, losses, weights, of_pairs, prepared)
        else:
            loss = ((losses * weights).sum(1) / prepared).sum()
        return self.measured(loss, margins)

    def listwise(
        self,
        rewards: Tensor,
        indices: Sequence[int],
        starts: Sequence[int],
        losses: Tensor,
        weights: Tensor,
        of_pairs: Tensor,
        prepared: Tensor,
    ) -> Tensor:
        """The loss with the members' part of each ranking by Plackett-Luce; the rest as it is."""
        num_members = self.config.ensemble
        whole = [at for at, index in enumerate(indices) if not self.packed.is_pair[index]]
        in_whole = {number for at in whole for number, _, _ in self.packed.pairs[indices[at]]}
        stays = torch.tensor([number not in in_whole for number in of_pairs.tolist()], device=self.device)
        kept = weights.clone()
        kept[:num_members] *= stays
        total = (losses * kept).sum(1)
        if whole:
            ranks = [self.packed.ranks[indices[at]] for at in whole]
            spans = [slice(starts[at], starts[at] + len(self.packed.ranks[indices[at]])) for at in whole]
            numbers = [[number for number, _, _ in self.packed.pairs[indices[at]]] for at in whole]
            of_ranking = torch.stack([self.weights[:num_members, own].sum(1) for own in numbers], dim=1)
            listed = torch.stack(
                [plackett_luce_loss([member[span] for span in spans], ranks).losses for member in rewards[:num_members]]
            )
            members = (listed * of_ranking.to(self.device)).sum(1)
            total = total + torch.cat((members, torch.zeros_like(total[num_members:])))
        return (total / prepared).sum()
