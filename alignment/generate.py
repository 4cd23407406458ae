"""Sampling from a causal language model: token ids in, completions with their log-probabilities out.

A prompt is computed once for all its samples; rows that have ended leave the batch. What a sample is depends on the
seed, its prompt's key and its number alone, so that the split into batches does not change it (up to rounding: a
different batch adds up in a different order). Texts, files and models in folders are `alignment.sampling`'s.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rewardkit import attention
from rewardkit.batch import token_budget_batches
from rewardkit.policy_tokens import turn_end_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Rows that have ended are taken out once they are this share of the batch: taking out copies all others' cache.
ENDED_SHARE = 1 / 8


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: draw from the smallest set of tokens that has this probability.
        max_new_tokens: a completion that has not ended by then is cut.
        end_ids: tokens that end a completion.
        stop: texts that end a completion.
        seed: of the samples.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    end_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}, allowed is 0 or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, allowed is above 0 and up to 1")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}, allowed is 1 or more")
        if not all(self.stop):
            raise ValueError("a stop text is empty")


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """One completion.

    Attributes:
        prompt, completion: token ids; the completion holds the tokens that ended it.
        logps: of the completion's tokens under the policy at the sampling temperature (1 if that is 0), nats; what
            top_p leaves out is no part of it, so that they are those a trainer computes.
        finished: whether it ended by itself; otherwise it was cut.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logps: tuple[float, ...]
    finished: bool


def end_ids(policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end a completion: the chat template's, EOS, and what the model's generation config adds."""
    configured = getattr(policy.generation_config, "eos_token_id", None)
    found = configured if isinstance(configured, list) else [configured]
    known = (turn_end_id(tokenizer), tokenizer.eos_token_id, *found)
    return tuple(dict.fromkeys(token for token in known if isinstance(token, int)))


@torch.no_grad()
def generate(
    policy: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    num_samples: int = 1,
    token_budget: int = 16384,
    keys: Sequence[int] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[tuple[Sampled, ...]]:
    """Draws completions; one tuple of `num_samples` for each prompt, in order.

    Args:
        policy: a causal LM of transformers, or one wrapped by PEFT; dropout and packed attention are off meanwhile.
        prompts: token ids, each at least one.
        num_samples: G, per prompt.
        token_budget: tokens of a batch, prompts and new ones, as they would be if nothing ended early.
        keys: what the seed calls each prompt, a number of its own, 0 or more; its place if not given.
        tokenizer: needed for stop texts.
        told: called after every batch with the prompts done and all there are.

    Raises:
        ValueError: if a prompt is empty, or does not fit the model's positions together with the new tokens.
    """
    numbers = range(len(prompts)) if keys is None else keys
    _check(policy, dict(zip(numbers, prompts, strict=True)), sampling, tokenizer)
    lengths = [num_samples * (len(prompt) + sampling.max_new_tokens) for prompt in prompts]
    found: dict[int, tuple[Sampled, ...]] = {}
    with plain_attention(policy):
        for batch in token_budget_batches(lengths, token_budget=token_budget):
            decoding = _Decoding(policy, [prompts[index] for index in batch], num_samples, sampling, tokenizer)
            noise = [uniforms(sampling, numbers[index], sample) for index in batch for sample in range(num_samples)]
            drawn = decoding.run(np.stack(noise))
            for place, index in enumerate(batch):
                found[index] = tuple(drawn[place * num_samples : (place + 1) * num_samples])
            told(len(found), len(prompts))
    return [found[index] for index in range(len(prompts))]


def uniforms(sampling: Sampling, key: int, sample: int) -> np.ndarray:
    """(max_new_tokens,) float64 in [0, 1): what chance gives one sample, whatever batch it is drawn in."""
    return np.random.default_rng((sampling.seed, key, sample)).random(sampling.max_new_tokens)


def draw(logits: Tensor, uniform: Tensor, *, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """Tokens by inversion of the cumulative distribution, and their log-probabilities.

    token = min {v : F(v) > u F(V)},  F cumulative over the tokens that top_p keeps, softmax(logits / temperature).

    Args:
        logits: (B, V).
        uniform: (B,) float64 in [0, 1).
        temperature: 0 takes the likeliest token, and log-probabilities at 1.
        top_p: a token is kept if the likelier ones together have less than this (Holtzman et al. 2020, eq. 3).

    Returns:
        (B,) int64 and (B,) float32 nats, the latter before top_p.
    """
    logps = torch.log_softmax(logits.float() / (temperature or 1.0), -1)
    if temperature == 0:
        tokens = logps.argmax(-1)
    else:
        probabilities = logps.exp()
        if top_p < 1:
            ordered, order = probabilities.sort(-1, descending=True)
            before = ordered.cumsum(-1, dtype=torch.float64) - ordered
            probabilities = torch.zeros_like(ordered).scatter_(-1, order, ordered.masked_fill(before >= top_p, 0.0))
        cumulative = probabilities.cumsum(-1, dtype=torch.float64)
        # Right of equals: a token of no probability is never drawn.
        tokens = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return tokens, logps.gather(-1, tokens[:, None])[:, 0]


@contextmanager
def plain_attention(policy: PreTrainedModel) -> Iterator[None]:
    """Within the block the policy attends by plain `sdpa` and without dropout; what it had before is restored."""
    base = base_of(policy)
    before, training = base.config._attn_implementation, policy.training
    policy.eval()
    if before == attention.NAME:
        base.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if before == attention.NAME:
            base.set_attn_implementation(before)
        policy.train(training)


def base_of(policy: PreTrainedModel) -> PreTrainedModel:
    """The model that a PEFT wrapper holds, or the policy itself."""
    return policy.get_base_model() if hasattr(policy, "get_base_model") else policy  # pyright: ignore


def _check(
    policy: PreTrainedModel,
    prompts: Mapping[int, Sequence[int]],
    sampling: Sampling,
    tokenizer: PreTrainedTokenizerBase | None,
) -> None:
    if sampling.stop and tokenizer is None:
        raise ValueError(f"stop is {sampling.stop!r}: stop texts need the tokenizer")
    positions = getattr(base_of(policy).config, "max_position_embeddings", None) or float("inf")
    for number, prompt in prompts.items():
        if not len(prompt):
            raise ValueError(f"prompt {number} has no tokens, one or more are needed")
        if len(prompt) + sampling.max_new_tokens > positions:
            raise ValueError(
                f"prompt {number} has {len(prompt)} tokens, with max_new_tokens {sampling.max_new_tokens} that is over "
                f"the model's {positions} positions"
            )


class _Decoding:
    """One batch from its prompts to the last token. `rows` are the samples that are still in the batch."""

    def __init__(
        self,
        policy: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        num_samples: int,
        sampling: Sampling,
        tokenizer: PreTrainedTokenizerBase | None,
    ) -> None:
        self.policy, self.prompts, self.num_samples = policy, prompts, num_samples
        self.sampling, self.tokenizer = sampling, tokenizer
        self.device = base_of(policy).device
        self.takes = inspect.signature(base_of(policy).forward).parameters
        self.ends = torch.tensor(sampling.end_ids, dtype=torch.int64, device=self.device)
        self.cache: Any = None

    def run(self, noise: np.ndarray) -> list[Sampled]:
        """Samples of all prompts in order, given (rows, max_new_tokens) uniform numbers."""
        sampling = self.sampling
        chance = torch.from_numpy(noise).to(self.device)
        tokens = torch.zeros(noise.shape, dtype=torch.int64, device=self.device)
        logps = torch.zeros(noise.shape, dtype=torch.float32, device=self.device)
        rows = torch.arange(len(noise), device=self.device)
        lengths = torch.full_like(rows, noise.shape[1])
        ended = torch.zeros_like(rows, dtype=torch.bool)
        logits = self._prefill()
        for step in range(noise.shape[1]):
            drawn, drawn_logps = draw(
                logits, chance[rows, step], temperature=sampling.temperature, top_p=sampling.top_p
            )
            tokens[rows, step], logps[rows, step] = drawn, drawn_logps
            now = self._ends(drawn, tokens[rows], step) & ~ended[rows]
            lengths[rows[now]] = step + 1
            ended[rows[now]] = True
            alive = ~ended[rows]
            num_alive = int(alive.sum())
            if not num_alive or step + 1 == noise.shape[1]:
                break
            if len(rows) - num_alive >= ENDED_SHARE * len(rows):
                rows, drawn = rows[alive], drawn[alive]
                self._keep(alive.nonzero()[:, 0])
            logits = self._step(drawn)
        return self._samples(tokens.tolist(), logps.tolist(), lengths.tolist(), ended.tolist())

    def _prefill(self) -> Tensor:
        """(rows, V) logits of the first new token; each prompt is computed once and repeated for its samples."""
        longest = max(map(len, self.prompts))
        ids = torch.zeros(len(self.prompts), longest, dtype=torch.int64)
        self.mask = torch.zeros(len(self.prompts), longest + self.sampling.max_new_tokens, dtype=torch.int64)
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

    def _step(self, drawn: Tensor) -> Tensor:
        """(rows, V) logits after one more token per row."""
        self.used += 1
        self.positions = self.positions + 1
        return self._forward(drawn[:, None], self.positions)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": self.mask[:, : self.used], "use_cache": True}
        if "position_ids" in self.takes:  # models with ALiBi read positions off the mask
            inputs["position_ids"] = positions
        if "logits_to_keep" in self.takes:
            inputs["logits_to_keep"] = 1
        if self.cache is not None:
            inputs["past_key_values"] = self.cache
        answer = self.policy(**inputs)
        self.cache = answer.past_key_values
        return answer.logits[:, -1]

    def _keep(self, places: Tensor) -> None:
        self.cache.batch_select_indices(places)
        self.mask, self.positions = self.mask[places], self.positions[places]

    def _ends(self, drawn: Tensor, tokens: Tensor, step: int) -> Tensor:
        """(rows,) bool, whether the token just drawn ends its row."""
        ends = torch.isin(drawn, self.ends)
        if self.sampling.stop:
            assert self.tokenizer is not None
            first = max(0, step + 1 - max(len(text.encode()) for text in self.sampling.stop) - 4)
            tails = self.tokenizer.batch_decode(tokens[:, first : step + 1])
            found = [any(text in tail for text in self.sampling.stop) for tail in tails]
            ends = ends | torch.tensor(found, device=self.device)
        return ends

    def _samples(
        self, tokens: list[list[int]], logps: list[list[float]], lengths: list[int], ended: list[bool]
    ) -> list[Sampled]:
        return [
            Sampled(
                prompt=tuple(self.prompts[row // self.num_samples]),
                completion=tuple(tokens[row][: lengths[row]]),
                logps=tuple(logps[row][: lengths[row]]),
                finished=ended[row],
            )
            for row in range(len(lengths))
        ]
