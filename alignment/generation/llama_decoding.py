"""The decode loop of Llama-shaped models: prompts computed once, unpadded; then a token for every row in each step.

A new token attends to its prompt, whose keys and values all samples of the prompt share
(`alignment.generation.prompt_cache`), and to the row's own new tokens, in a cache of fixed size.
Shapes change only when rows leave: on a GPU a step is captured as a CUDA graph, and replayed until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from alignment.generation.llama_weights import Layer, LlamaWeights
from alignment.generation.prompt_cache import Own, PromptCache, attend
from rewardkit.network import attention
from rewardkit.network.packed_rows import Branched, pack

# A prompt shorter than this share of the longest is cached elsewhere: the padding it saves costs more than a call.
SIMILAR = 3 / 4
# Prompt tokens that are computed at once, so that what stands between two products stays small.
PREFILL_TOKENS = 4096


class LlamaDecoding:
    """One batch; see `alignment.generation.engine.Decoding`. Prompts are best sorted by length."""

    def __init__(
        self, weights: LlamaWeights, prompts: Sequence[Sequence[int]], num_samples: int, max_new_tokens: int
    ) -> None:
        self.weights, self.prompts, self.num_samples = weights, prompts, num_samples
        device, dtype = weights.device, weights.dtype
        self.on_gpu = device.type == "cuda"
        # Whenever rows leave a GPU's batch, its graph is captured anew.
        self.ended_share = 1 / 2 if self.on_gpu else 1 / 8
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.positions = (lengths - 1).repeat_interleave(num_samples)
        self.cos, self.sin = self._rotations(int(lengths.max()) + max_new_tokens)
        shape = (2, len(self.positions), weights.num_key_heads, max_new_tokens, weights.head_dim)
        # Zeros, as a GPU multiplies what it masks too; on a CPU they take no memory before they are written.
        self.own = [torch.zeros(shape, dtype=dtype, device=device) for _ in weights.layers]
        self.mask = torch.full((max_new_tokens,), float("-inf"), dtype=dtype, device=device)
        self.place = torch.full((1,), -1, device=device)
        self.num_new = 0
        self.tokens = torch.zeros_like(self.positions)
        self.caches: list[PromptCache] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.logits: Tensor | None = None

    def start(self) -> Tensor:
        """(rows, V) logits of the first new token."""
        states = torch.cat([self._prefill(prompts) for prompts in _similar(self.prompts)])
        self.weights = self.weights.for_rows(len(states))
        return self._logits(states)

    def step(self, tokens: Tensor) -> Tensor:
        """(rows, V) logits after one more token per row."""
        self.num_new += 1
        self.tokens.copy_(tokens)
        self.positions += 1
        self.place += 1
        self.mask[self.num_new - 1] = 0.0
        return self._replayed() if self.on_gpu else self._advance(self.num_new)

    def keep(self, places: Tensor) -> None:
        self.own = [cache[:, places] for cache in self.own]
        self.positions, self.tokens = self.positions[places], self.tokens[places]
        row_numbers = places.tolist()
        start, caches = 0, []
        for cache in self.caches:
            end = start + cache.num_rows
            if inside := [row - start for row in row_numbers if start <= row < end]:
                cache.keep(inside)
                caches.append(cache)
            start = end
        self.caches, self.graph = caches, None
        self.weights = self.weights.for_rows(len(row_numbers))

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Caches some prompts; returns (rows, h) last hidden states of their samples before the last norm.

        The last layer gives keys and values of all tokens, and goes on with the last of each prompt alone.
        """
        batch = pack([Branched(prompt=(), branches=(tuple(prompt),)) for prompt in prompts])
        device, dtype = self.weights.device, self.weights.dtype
        positions = batch.position_ids[0].to(device)
        cos, sin = self.cos[positions, None], self.sin[positions, None]
        x = self.weights.embedding[batch.input_ids[0].to(device)].to(dtype)
        lengths = [len(prompt) for prompt in prompts]
        cache = PromptCache(lengths, num_samples=self.num_samples, device=device, dtype=dtype)
        *layers, last_layer = self.weights.layers
        with attention.packed_rows(batch):
            for layer in layers:
                query, key, value = self._project(layer, x, cos, sin)
                cache.add(key, value)
                heads_first = (part.transpose(0, 1)[None] for part in (query, key, value))
                x = _rest(layer, x, attention.attend_rows(*heads_first, layer.scale)[0])
        query, key, value = self._project(last_layer, x, cos, sin)
        cache.add(key, value)
        self.caches.append(cache)
        last = batch.last_index.to(device).repeat_interleave(self.num_samples)
        return _rest(last_layer, x[last], attend([cache], len(layers), query[last], None, last_layer.scale))

    def _advance(self, length: int) -> Tensor:
        """(rows, V) logits after `tokens`, which become the new token at `place`; `length` of the own cache are read.

        May be run again without harm: it changes nothing but the own cache's content at `place`.
        """
        weights = self.weights
        cos, sin = self.cos[self.positions, None], self.sin[self.positions, None]
        x = weights.embedding[self.tokens].to(weights.dtype)
        mask, slot = (self.mask, self.place) if self.on_gpu else (None, slice(length - 1, length))
        for number, (layer, (keys, values)) in enumerate(zip(weights.layers, self.own, strict=True)):
            query, key, value = self._project(layer, x, cos, sin)
            keys[:, :, slot] = key[:, :, None]
            values[:, :, slot] = value[:, :, None]
            own = Own(keys[:, :, :length], values[:, :, :length], mask)
            x = _rest(layer, x, attend(self.caches, number, query, own, layer.scale))
        return self._logits(x)

    def _replayed(self) -> Tensor:
        """Runs `_advance` as a CUDA graph over the whole own cache; the next step overwrites the returned logits."""
        if self.graph is None:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # what libraries set up at first use must not be captured
                self._advance(len(self.mask))
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.logits = self._advance(len(self.mask))
        self.graph.replay()
        assert self.logits is not None, "captured above"
        return self.logits

    def _project(self, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, heads, D) queries, keys and values of (N, h) states, the first two rotated."""
        num_heads, num_key_heads = self.weights.num_heads, self.weights.num_key_heads
        heads = layer.qkv(layer.attention_norm(x)).unflatten(1, (-1, self.weights.head_dim))
        rotated = heads[:, : num_heads + num_key_heads]
        if layer.query_norm is not None and layer.key_norm is not None:
            query, key = rotated.split((num_heads, num_key_heads), 1)
            rotated = torch.cat((layer.query_norm(query), layer.key_norm(key)), 1)
        rotated = torch.addcmul(rotated * cos, rotated.roll(self.weights.head_dim // 2, -1), sin)
        query, key = rotated.split((num_heads, num_key_heads), 1)
        return query, key, heads[:, num_heads + num_key_heads :]

    def _rotations(self, length: int) -> tuple[Tensor, Tensor]:
        """(length, D) cosines and sines of positions by the model's own module.

        The sign of a sine's first half is turned: x cos + roll(x, D / 2) sin is then the rotation.
        """
        weights = self.weights
        positions = torch.arange(length, device=weights.device)[None]
        cos, sin = weights.rotary(torch.empty(1, dtype=weights.dtype, device=weights.device), positions)
        first, second = sin[0].chunk(2, -1)
        return cos[0], torch.cat((-first, second), -1)

    def _logits(self, x: Tensor) -> Tensor:
        return self.weights.head(self.weights.norm(x))


def _rest(layer: Layer, x: Tensor, attended: Tensor) -> Tensor:
    """Returns (N, h) states after a layer, from those before it and its (N, heads, D) attention."""
    x = x + layer.out(attended.flatten(1))
    gate, up = layer.gate_up(layer.mlp_norm(x)).chunk(2, -1)
    return x + layer.down(layer.activation(gate) * up)


def _similar(prompts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Splits prompts into runs of similar length, each of at most PREFILL_TOKENS tokens or one prompt."""
    run: list[Sequence[int]] = []
    for prompt in prompts:
        longest = len(run[0]) if run else 0
        if run and not (SIMILAR * longest <= len(prompt) <= longest and (len(run) + 1) * longest <= PREFILL_TOKENS):
            yield run
            run = []
        run.append(prompt)
    yield run
