"""A likelihood of given texts beside the rewards, so that a policy does not forget them (pretraining mix).

    loss + gamma mean_t -log pi(y_t | y_<t)

over tokens of given rows, as many rows as the optimizer step has completions: Ouyang et al. 2022 (InstructGPT, arXiv
2203.02155), eq. 2, "PPO-ptx". There the rows are of the pretraining data, eight for every episode, and gamma, 27.8,
multiplies another normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alignment.policy.data import read_demonstrations
from alignment.policy.policy_forward import Forward
from alignment.policy.rows import PolicyRows, demonstration_rows
from rewardkit.data.sources import choose_split, open_source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

METRIC = "ptx/loss"


@dataclass(frozen=True, kw_only=True)
class PretrainingMix:
    """The rows and their weight.

    Attributes:
        weight: gamma, more than 0.
        seed: with the key of an optimizer step it decides which rows the step takes.
    """

    rows: PolicyRows
    weight: float
    seed: int

    def backward(self, forward: Forward, key: Sequence[int], count: int) -> Tensor:
        """Adds the gradient of the term of an optimizer step to the policy's.

        Args:
            key: what makes the step's rows differ from those of others: whole numbers, 0 or more.
            count: rows; drawn with replacement.

        Returns:
            (2,) float32, the negative log-likelihood of this process's tokens, summed, and their number.
        """
        picked = np.random.default_rng([self.seed, *key]).integers(len(self.rows), size=count).tolist()
        total = float(self.rows.num_targets[picked].sum())
        sums = torch.zeros(2, device=forward.device)
        for micro in forward.micro_batches([self.rows.rows[number].num_tokens for number in picked]):
            numbers = [picked[place] for place in micro.places]
            logps = forward.logps([self.rows.rows[number] for number in numbers], keep=self.rows.keep_of(numbers))
            loss = -logps.token_logps.sum() * micro.share
            (self.weight * loss / total).backward()
            sums += torch.stack((loss.detach(), logps.lengths.sum() * micro.share))
        return sums


def read_mix(
    source: str, tokenizer: PreTrainedTokenizerBase, *, max_length: int, weight: float, seed: int
) -> PretrainingMix:
    """Reads the rows that a configuration names.

    Raises:
        ValueError: naming file and line, if a row is bad; if nothing is left to learn from.
        FileNotFoundError: if there is no such source.
    """
    splits = open_source(source)
    read = read_demonstrations(splits[choose_split(splits, source)], source)
    rows = demonstration_rows(read.rows, tokenizer, max_length=max_length, all_turns=True)
    if not len(rows):
        raise ValueError(f"ptx_data {source}: no row has anything to learn from")
    return PretrainingMix(rows=rows, weight=weight, seed=seed)
