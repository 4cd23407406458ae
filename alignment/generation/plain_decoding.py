"""The decode loop of any causal language model of transformers, by the model's own forward pass and cache."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alignment.config.training import Precision
from rewardkit.distributed.optimization import autocast

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PlainDecoding:
    """One batch, prompts padded on the left; see `alignment.generation.engine.Decoding`."""

    # Rows that leave have all others' cache copied.
    ended_share = 1 / 8

    def __init__(
        self,
        policy: PreTrainedModel,
        base: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        num_samples: int,
        max_new_tokens: int,
        precision: Precision,
    ) -> None:
        self.policy, self.prompts, self.num_samples = policy, prompts, num_samples
        self.max_new_tokens = max_new_tokens
        self.precision: Precision = precision
        self.device = base.device
        self.takes = inspect.signature(base.forward).parameters
        self.cache: Any = None

    def start(self) -> Tensor:
        """(rows, V) logits of the first new token; each prompt is computed once and repeated for its samples."""
        longest = max(map(len, self.prompts))
        ids = torch.zeros(len(self.prompts), longest, dtype=torch.int64)
        self.mask = torch.zeros(len(self.prompts), longest + self.max_new_tokens, dtype=torch.int64)
        for row, prompt in enumerate(self.prompts):  # padded on the left: new tokens follow their prompt
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            self.mask[row, longest - len(prompt) :] = 1
        ids, self.mask, self.used = ids.to(self.device), self.mask.to(self.device), longest
        positions = (self.mask[:, :longest].cumsum(1) - 1).clamp(min=0)
        logits = self._forward(ids, positions)
        self.positions = positions[:, -1:]
        if self.num_samples > 1:
            self.cache.batch_repeat_interleave(self.num_samples)
            self.mask = self.mask.repeat_interleave(self.num_samples, 0)
            self.positions = self.positions.repeat_interleave(self.num_samples, 0)
            logits = logits.repeat_interleave(self.num_samples, 0)
        return logits

    def step(self, drawn: Tensor) -> Tensor:
        """(rows, V) logits after one more token per row."""
        self.used += 1
        self.positions = self.positions + 1
        return self._forward(drawn[:, None], self.positions)

    def keep(self, places: Tensor) -> None:
        """Only these rows go on."""
        self.cache.batch_select_indices(places)
        self.mask, self.positions = self.mask[places], self.positions[places]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": self.mask[:, : self.used], "use_cache": True}
        if "position_ids" in self.takes:  # models with ALiBi read positions off the mask
            inputs["position_ids"] = positions
        if "logits_to_keep" in self.takes:
            inputs["logits_to_keep"] = 1
        if self.cache is not None:
            inputs["past_key_values"] = self.cache
        with autocast(self.precision, self.device):
            answer = self.policy(**inputs)
        self.cache = answer.past_key_values
        return answer.logits[:, -1]
