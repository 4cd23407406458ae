"""The decode loop of a policy: which one is used, and the one that any causal language model of transformers has.

Llama-shaped models are decoded by `alignment.generation.llama_decoding`, all others by the model's own forward pass and
cache (`PlainDecoding`), and what keeps no cache of keys and values, or another than it says, by whole forward passes
(`WholeDecoding`). Each is used only if it gives the model's own logits when it is tried.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from alignment.config.training import Precision
from alignment.generation.llama_decoding import LlamaDecoding
from alignment.generation.llama_weights import read_weights
from rewardkit.distributed.optimization import autocast, wants_bf16
from rewardkit.network.layout import REASONS, first_line
from rewardkit.weights.held import compute_dtype

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

    def step(self, tokens: Tensor) -> Tensor:
        """(rows, V) logits after one more token per row."""
        self.used += 1
        self.positions = self.positions + 1
        return self._forward(tokens[:, None], self.positions)

    def keep(self, places: Tensor) -> None:
        self.cache.batch_select_indices(places)
        self.mask, self.positions = self.mask[places], self.positions[places]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": self.mask[:, : self.used], "use_cache": True}
        if "position_ids" in self.takes:  # models with ALiBi read positions off the mask
            inputs["position_ids"] = positions
        if "logits_to_keep" in self.takes:
            inputs["logits_to_keep"] = 1
        if "output_router_logits" in self.takes:  # a mixture of experts is not balanced while it samples
            inputs["output_router_logits"] = False
        if self.cache is not None:
            inputs["past_key_values"] = self.cache
        with autocast(self.precision, self.device):
            answer = self.policy(**inputs)
        self.cache = answer.past_key_values
        return answer.logits[:, -1]


class WholeDecoding:
    """One batch, computed whole for every token and padded on the right, so that nothing but the mask is relied on."""

    ended_share = 0.0

    def __init__(
        self,
        policy: PreTrainedModel,
        base: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        num_samples: int,
        precision: Precision,
    ) -> None:
        self.policy, self.device = policy, base.device
        self.precision: Precision = precision
        self.rows = [list(prompt) for prompt in prompts for _ in range(num_samples)]

    def start(self) -> Tensor:
        lengths = torch.tensor([len(row) for row in self.rows])
        ids = torch.zeros(len(self.rows), int(lengths.max()), dtype=torch.int64)
        for place, row in enumerate(self.rows):
            ids[place, : len(row)] = torch.tensor(row)
        mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
        with autocast(self.precision, self.device):
            logits = self.policy(
                input_ids=ids.to(self.device), attention_mask=mask.to(self.device), use_cache=False
            ).logits
        return logits[torch.arange(len(ids), device=logits.device), (lengths - 1).to(logits.device)]

    def step(self, tokens: Tensor) -> Tensor:
        for row, token in zip(self.rows, tokens.tolist(), strict=True):
            row.append(token)
        return self.start()

    def keep(self, places: Tensor) -> None:
        self.rows = [self.rows[place] for place in places.tolist()]


logger = logging.getLogger(__name__)

# How far logits may be from the model's own, as a share of their spread: what rounding does, several times over.
TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


class Decoding(Protocol):
    """A batch of prompts, each with a number of samples; rows are the samples, those of a prompt beside each other.

    Attributes:
        ended_share: rows that have ended should be taken out once they are this share of all, as that costs.
    """

    ended_share: float

    def start(self) -> Tensor:
        """(rows, V) logits of the first new token."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """(rows, V) logits after one more token per row, (rows,) int64."""
        ...

    def keep(self, places: Tensor) -> None: ...


Engine = Callable[[Sequence[Sequence[int]], int, int], Decoding]
"""Begins a batch, given its prompts, the samples of each, and the most new tokens."""


def engine_of(policy: PreTrainedModel, precision: Precision, *, may_copy: bool = True) -> Engine:
    """Returns the fastest decode loop for a policy as it is now; the loop may hold copies of its weights.

    Args:
        policy: a causal LM of transformers, or one wrapped by PEFT, in evaluation mode.
        precision: of matrix products; fp32 means the number format that the policy has.
        may_copy: False decodes by the policy itself, for a few samples where memory is scarce.
    """
    base = base_of(policy)
    bf16 = wants_bf16(precision, base.device)
    number_format: Precision = "bf16" if bf16 else "fp32"
    try:
        if not may_copy:
            raise ValueError("no copies of its weights are to be made")
        if any(config.is_prompt_learning for config in getattr(policy, "peft_config", {}).values()):
            raise ValueError("its adapter puts tokens before the prompt")
        weights = read_weights(base, torch.bfloat16 if bf16 else compute_dtype(base))
        _check_logits(
            base, partial(LlamaDecoding, weights), num_tokens=len(weights.embedding), tolerance=TOLERANCE[weights.dtype]
        )
    except (*REASONS, ArithmeticError) as reason:
        _tell(f"{type(base).__name__} decodes by transformers, which is slower: {first_line(reason)}")
    else:
        return partial(LlamaDecoding, weights)
    if _has_right_cache(base):
        return lambda prompts, num_samples, max_new_tokens: PlainDecoding(
            policy, base, prompts, num_samples, max_new_tokens, number_format
        )
    return lambda prompts, num_samples, max_new_tokens: WholeDecoding(policy, base, prompts, num_samples, number_format)


def _has_right_cache(base: PreTrainedModel) -> bool:
    """Whether a model's cache gives its own logits, tried once."""
    tried = getattr(base, "has_right_cache", None)
    if tried is None:
        try:
            _check_logits(
                base,
                lambda prompts, num_samples, num_new: PlainDecoding(base, base, prompts, num_samples, num_new, "fp32"),
                num_tokens=base.get_input_embeddings().weight.shape[0],  # pyright: ignore
                tolerance=TOLERANCE[compute_dtype(base)],
            )
            tried = True
        except ArithmeticError:
            return True
        except REASONS as reason:
            tried = False
            _tell(f"{type(base).__name__} computes every token anew, which is slow: {first_line(reason)}")
        base.has_right_cache = tried  # pyright: ignore
    return tried


def base_of(policy: PreTrainedModel) -> PreTrainedModel:
    """Returns the model that a PEFT wrapper holds, or the policy itself."""
    return policy.get_base_model() if hasattr(policy, "get_base_model") else policy  # pyright: ignore


@cache
def _tell(message: str) -> None:
    """Logs a message once per process, since every rollout would repeat it."""
    logger.info(message)


def _check_logits(base: PreTrainedModel, engine: Engine, *, num_tokens: int, tolerance: float) -> None:
    """Decodes two small prompts with two samples each and compares with the model's own whole forward passes.

    Args:
        num_tokens: V.
        tolerance: as a share of the logits' spread.

    Raises:
        ValueError: if the logits are others.
        ArithmeticError: if the model's own are not finite, so that nothing can be tried.
    """
    prompts = [[(7 * index + 3) % num_tokens for index in range(length)] for length in (6, 2)]
    new = [[(5 * row + 11 * step + 1) % num_tokens for step in range(2)] for row in range(4)]
    decoding = engine(prompts, 2, 2)
    next_tokens = torch.tensor(new, device=base.device).unbind(1)
    logits = torch.stack([decoding.start(), *(decoding.step(tokens) for tokens in next_tokens)], 1)
    for number, prompt in enumerate(prompts):
        rows = slice(2 * number, 2 * number + 2)
        whole = torch.tensor([[*prompt, *tokens] for tokens in new[rows]], device=base.device)
        mask = torch.ones_like(whole)
        expected = base(input_ids=whole, attention_mask=mask, use_cache=False).logits[:, len(prompt) - 1 :].float()
        if not expected.isfinite().all():
            raise ArithmeticError("its logits are not finite")
        difference = (logits[rows].float() - expected).norm() / (expected - expected.mean(-1, keepdim=True)).norm()
        if not difference <= tolerance:
            raise ValueError("its logits are not those of whole forward passes")
