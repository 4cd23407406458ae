"""The pairs that online DPO learns from in a step: best against worst sample, or demonstrations against own samples.

Self-play (SPIN, Chen et al. 2024, eq. 4.7, arXiv 2401.01335) asks no reward which completion is better:

    loss = ell(beta (log pi(y|x) / pi_t(y|x) - log pi(y'|x) / pi_t(y'|x))),    y the demonstration of x, y' ~ pi_t(.|x)

pi_t is the policy at the start of an iteration, which draws y' and is the reference; beta is the paper's lambda. It can
gain nothing where its own samples are distributed as demonstrations are: that is the fixed point. Where we differ:
1. An iteration is a step: prompts_per_step demonstrations, learned from by passes and minibatches. The paper's are all
   there are, for two epochs.
2. All of a prompt's samples are paired with its demonstration; the paper draws one.
3. A step learns from its own samples alone, the paper's later iterations from those of the one before too.
4. A demonstration is cut after max_new_tokens, as samples are; a pair of the same tokens teaches nothing and is left
   out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alignment.best_of_n.chosen_rows import soft_labels
from alignment.policy.data import DEMONSTRATION
from alignment.rewards.rewards import ScoredBatch
from alignment.rollouts.rollouts import Rollouts
from rewardkit.data.preferences import read_weight
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import policy_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNCUT = 2**30  # tokens


@dataclass(frozen=True, kw_only=True)
class DrawnPairs:
    """Q pairs of completions of the P prompts.

    Attributes:
        groups: (Q,) their places among the prompts.
        chosen, rejected: (Q,) numbers of the completions, 0 to N - 1.
        margin: (Q,) float64, how much more chosen earns; of demonstrations how much more likely, nats.
        p_chosen: (Q,) float64, probability that chosen is better by the members of the reward; 1 of demonstrations.
        weight: (Q,) float64, of the loss.
    """

    groups: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    margin: np.ndarray
    p_chosen: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.groups)

    def branches(self, places: Sequence[int]) -> list[int]:
        """Returns the numbers of the pairs' completions, chosen before rejected."""
        return np.stack((self.chosen, self.rejected), 1)[list(places)].flatten().tolist()


def best_and_worst(rollouts: Rollouts, scored: ScoredBatch) -> DrawnPairs:
    """The pairs of a step; of equal rewards the first drawn stands for all.

    A prompt gives none where all its rewards are equal, or best and worst are the same tokens.
    """
    size = rollouts.group_size
    totals = scored.total.reshape(-1, size)
    first = np.arange(len(totals)) * size
    chosen, rejected = first + totals.argmax(1), first + totals.argmin(1)
    differing = (scored.total[chosen] > scored.total[rejected]) & _differ(rollouts, chosen, rejected)
    chosen, rejected = chosen[differing], rejected[differing]
    members = scored.raw.members
    return DrawnPairs(
        groups=np.flatnonzero(differing),
        chosen=chosen,
        rejected=rejected,
        margin=scored.total[chosen] - scored.total[rejected],
        p_chosen=soft_labels(members[:, chosen], members[:, rejected]),
        weight=np.ones(len(chosen)),
    )


def with_demonstrations(rollouts: Rollouts, tokenizer: PreTrainedTokenizerBase, *, max_new_tokens: int) -> Rollouts:
    """Groups of 1 + G completions, each prompt's demonstration before what was drawn of it.

    No sampler drew the demonstrations: their `logps` are not a number.
    """
    size = rollouts.group_size
    texts = [str(columns[DEMONSTRATION]) for columns in rollouts.columns]
    whole, _ = policy_rows(rollouts.prompts, [(text,) for text in texts], tokenizer, max_length=UNCUT)
    ids = [row.branches[0] for row in whole]
    drawn = [slice(group * size, (group + 1) * size) for group in range(len(texts))]
    logps = rollouts.logps.split(rollouts.lengths.tolist())
    rows, written, finished, known = [], [], [], []
    for row, demonstration, text, own in zip(rollouts.rows, ids, texts, drawn, strict=True):
        cut = demonstration[:max_new_tokens]
        rows.append(Branched(prompt=row.prompt, branches=(cut, *row.branches)))
        written += [text, *rollouts.texts[own]]
        finished += [len(cut) == len(demonstration), *rollouts.finished[own].tolist()]
        known += [torch.full((len(cut),), torch.nan), *logps[own]]
    return replace(
        rollouts, rows=tuple(rows), texts=tuple(written), finished=torch.tensor(finished), logps=torch.cat(known)
    )


def against_own(rollouts: Rollouts, logps: Tensor) -> DrawnPairs:
    """Pairs of each demonstration, as `with_demonstrations` puts it first, with every sample of its group.

    Args:
        logps: (C,) float, nats, of all tokens under the policy that drew.
    """
    size = rollouts.group_size
    sums = torch.stack([of_one.sum() for of_one in logps.split(rollouts.lengths.tolist())]).double().cpu().numpy()
    groups = np.repeat(np.arange(len(rollouts.rows)), size - 1)
    chosen, rejected = groups * size, np.flatnonzero(np.arange(len(rollouts)) % size)
    differing = _differ(rollouts, chosen, rejected)
    groups, chosen, rejected = groups[differing], chosen[differing], rejected[differing]
    weights = np.array([read_weight(columns) for columns in rollouts.columns])
    return DrawnPairs(
        groups=groups,
        chosen=chosen,
        rejected=rejected,
        margin=sums[chosen] - sums[rejected],
        p_chosen=np.ones(len(chosen)),
        weight=weights[groups],
    )


def _differ(rollouts: Rollouts, chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """Whether the completions of pairs are not the same tokens."""
    branches = [branch for row in rollouts.rows for branch in row.branches]
    return np.array([branches[one] != branches[other] for one, other in zip(chosen, rejected, strict=True)], dtype=bool)
