"""Sampling from a causal language model: token ids in, completions with their log-probabilities out.

A prompt is computed once for all its samples; rows that have ended leave the batch. What a sample is depends on the
seed, its prompt's key and its number alone, so that the split into batches does not change it (up to rounding: a
different batch adds up in a different order). Who computes logits is `alignment.generation.engine`'s choice; texts,
files and models in folders are `alignment.generation.sample_to_file`'s. A row ends at an end token, or at the token
that completes a stop text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.config.training import Precision
from alignment.generation.engine import Decoding, base_of, engine_of
from rewardkit.network.layout import attended_plainly
from rewardkit.network.packed_rows import token_budget_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


# What bytes that are no whole character are decoded to.
BROKEN = "\ufffd"
# A token has a byte or more of a text, but for some special ones; these may stand between.
SPECIAL_TOKENS = 4


class StopTexts:
    """Looks at the end of a row only where its newest token may have brought a stop text's last character."""

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
        self.texts, self.tokenizer = texts, tokenizer
        self.window = max(len(text.encode()) for text in texts) + SPECIAL_TOKENS
        self._may_end: dict[int, bool] = {}

    def ended(self, tokens: Tensor) -> list[bool]:
        """Returns for each row of (rows, new tokens so far) ids whether its newest token completed a stop text."""
        newest = tokens[:, -1].tolist()
        self._learn([token for token in dict.fromkeys(newest) if token not in self._may_end])
        rows = [row for row, token in enumerate(newest) if self._may_end[token]]
        ended = [False] * len(newest)
        if rows:
            tails = self.tokenizer.batch_decode(tokens[rows, -self.window :].tolist())
            for row, tail in zip(rows, tails, strict=True):
                ended[row] = any(text in tail for text in self.texts)
        return ended

    def _learn(self, tokens: Sequence[int]) -> None:
        """Notes for each new token id, once, whether it can complete a stop text."""
        if not tokens:
            return
        last = {text[-1] for text in self.texts} | {BROKEN}
        # Twice, as a space at the beginning of a text may be left out.
        texts = self.tokenizer.batch_decode([[token, token] for token in tokens])
        for token, text in zip(tokens, texts, strict=True):
            self._may_end[token] = not last.isdisjoint(text)


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

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Sampled:
        values = {name: tuple(row[name]) for name in ("prompt", "completion", "logps")}
        return cls(**values, finished=row["finished"])


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
    precision: Precision = "fp32",
    may_copy: bool = True,
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
        precision: of matrix products; fp32 means the number format that the policy has. Softmax is in float32.
        may_copy: whether weights may be copied, which is faster for more than a few samples.
        told: called after every batch with the prompts done and all there are.

    Raises:
        ValueError: if a prompt is empty, or does not fit the model's positions together with the new tokens.
    """
    numbers = range(len(prompts)) if keys is None else keys
    _check(policy, dict(zip(numbers, prompts, strict=True)), sampling, tokenizer)
    lengths = [num_samples * (len(prompt) + sampling.max_new_tokens) for prompt in prompts]
    samples: dict[int, tuple[Sampled, ...]] = {}
    stops = StopTexts(sampling.stop, tokenizer) if sampling.stop and tokenizer is not None else None
    with plain_attention(policy):
        engine = engine_of(policy, precision, may_copy=may_copy)
        for batch in token_budget_batches(lengths, token_budget=token_budget):
            noise = [uniforms(sampling, numbers[index], sample) for index in batch for sample in range(num_samples)]
            batch_prompts = [tuple(prompts[index]) for index in batch]
            decoding = engine(batch_prompts, num_samples, sampling.max_new_tokens)
            batch_rows = _sample(decoding, np.stack(noise), sampling, stops)
            del decoding  # its caches, before those of the next batch
            for position, (index, prompt) in enumerate(zip(batch, batch_prompts, strict=True)):
                rows = batch_rows[position * num_samples : (position + 1) * num_samples]
                samples[index] = tuple(Sampled(prompt=prompt, **row) for row in rows)
            told(len(samples), len(prompts))
    return [samples[index] for index in range(len(prompts))]


def uniforms(sampling: Sampling, key: int, sample: int) -> np.ndarray:
    """Returns (max_new_tokens,) float64 in [0, 1), the random numbers of one sample, the same in any batch."""
    return np.random.default_rng((sampling.seed, key, sample)).random(sampling.max_new_tokens)


def draw(logits: Tensor, uniform: Tensor, *, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """Draws tokens by inversion of the cumulative distribution; returns them and their log-probabilities.

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
        tokens = _invert(probabilities, uniform)
    return tokens, logps.gather(-1, tokens[:, None])[:, 0]


def _invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """(B,) int64 min {v : F(v) > u F(V)}: the block of tokens first, then the token in it.

    So float64 sums, which small probabilities need, are of few numbers.
    """
    size = math.isqrt(probabilities.shape[1] - 1) + 1
    blocks = F.pad(probabilities, (0, -probabilities.shape[1] % size)).unflatten(1, (-1, size))
    before = blocks.sum(-1).cumsum(-1, dtype=torch.float64)
    block, share = _invert_rows(before, uniform)
    tokens, _ = _invert_rows(
        blocks[torch.arange(len(blocks), device=blocks.device), block].cumsum(-1, dtype=torch.float64), share
    )
    return block * size + tokens


def _invert_rows(cumulative: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) int64 places where (B, N) sums pass their share, and (B,) how far within the place, in [0, 1)."""
    wanted = uniform[:, None] * cumulative[:, -1:]
    # Right of equals: what has no probability is never drawn.
    places = torch.searchsorted(cumulative, wanted, right=True)
    above = cumulative.gather(1, places)
    below = F.pad(cumulative, (1, 0)).gather(1, places)
    # Short of 1, which only rounding reaches.
    return places[:, 0], ((wanted - below) / (above - below))[:, 0].clamp(max=1 - 2**-53)


@contextmanager
def plain_attention(policy: PreTrainedModel) -> Iterator[None]:
    """Within the block the policy attends as transformers does and without dropout; what it had before is restored."""
    training = policy.training
    policy.eval()
    try:
        with attended_plainly(base_of(policy)):
            yield
    finally:
        policy.train(training)


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


def _sample(decoding: Decoding, noise: np.ndarray, sampling: Sampling, stops: StopTexts | None) -> list[dict[str, Any]]:
    """Draws all rows of a batch from (rows, max_new_tokens) random numbers; returns `Sampled`'s fields but prompt."""
    logits = decoding.start()
    device = logits.device
    chance = torch.from_numpy(noise).to(device)
    ends = torch.tensor(sampling.end_ids, dtype=torch.int64, device=device)
    tokens = torch.zeros(noise.shape, dtype=torch.int64, device=device)
    logps = torch.zeros(noise.shape, dtype=torch.float32, device=device)
    rows = torch.arange(len(noise), device=device)  # that are still in the batch
    lengths = torch.full_like(rows, noise.shape[1])
    ended = torch.zeros_like(rows, dtype=torch.bool)
    for step in range(noise.shape[1]):
        next_tokens, next_logps = draw(
            logits, chance[rows, step], temperature=sampling.temperature, top_p=sampling.top_p
        )
        tokens[rows, step], logps[rows, step] = next_tokens, next_logps
        now = torch.isin(next_tokens, ends)
        if stops is not None:
            now |= torch.tensor(stops.ended(tokens[rows, : step + 1]), device=device)
        now &= ~ended[rows]
        lengths[rows[now]] = step + 1
        ended[rows[now]] = True
        alive = ~ended[rows]
        num_alive = int(alive.sum())
        if not num_alive or step + 1 == noise.shape[1]:
            break
        if len(rows) - num_alive >= decoding.ended_share * len(rows):
            rows, next_tokens = rows[alive], next_tokens[alive]
            decoding.keep(alive.nonzero()[:, 0])
        logits = decoding.step(next_tokens)
    columns = zip(tokens.tolist(), logps.tolist(), lengths.tolist(), ended.tolist(), strict=True)
    return [
        {"completion": tuple(ids[:length]), "logps": tuple(likelihoods[:length]), "finished": finished}
        for ids, likelihoods, length, finished in columns
    ]
