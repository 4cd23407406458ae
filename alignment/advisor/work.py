"""What passes and drawing take: floating point operations and bytes, and from them seconds at given rates.

forward of a token = 2 (N + L d T),  N weights in products, L layers of width d, rows of T tokens: each token attends to
half of them, twice (scores and values), with a product and a sum each. Kaplan et al. 2020, eq. 2.2 (arXiv 2001.08361).
A backward pass computes the gradient of each product's input and of its weights: two forwards; with frozen weights one.
Recomputing activations is one more forward.

A token that is drawn reads all weights and the keys and values of all rows: bytes / bandwidth, or its products where
these take longer. Under FSDP2 weights travel to each GPU first: where the link is slower than the products, it decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BF16 = 2  # bytes
Pass = Literal["forward", "train", "train_adapters"]
FORWARDS: dict[Pass, int] = {"forward": 1, "train": 3, "train_adapters": 2}
"""Forward passes that a pass is worth, by its operations."""
GATHERS: dict[Pass, int] = {"forward": 1, "train": 3, "train_adapters": 2}
"""Times that weights in parts travel in a pass: gathered forward and backward, and their gradients sent back."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What counts of a network for its time.

    Attributes:
        num_layer_weights: weights in layers.
        num_head_weights: weights of the vocabulary head, or of what stands in its place.
        num_layers, width: L and d above.
        cache_per_token: bytes of the keys and values of a token in bf16.
    """

    num_layer_weights: float
    num_head_weights: float
    num_layers: int
    width: int
    cache_per_token: float

    @property
    def num_weights(self) -> float:
        return self.num_layer_weights + self.num_head_weights


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a GPU gets done.

    Attributes:
        flops: FLOP/s in passes.
        bandwidth: bytes/s while drawing.
        link: bytes/s to other GPUs.
        low, high: factors of the hours between which the truth is expected.
        source: where the rates come from, in words.
    """

    flops: float
    bandwidth: float
    link: float
    low: float
    high: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Rows that go through a network.

    Attributes:
        kind: forward alone, with backward, or with backward through frozen weights.
        tokens: of all rows together.
        head_tokens: those that go through the head.
        length: tokens of a row.
        recomputes: whether activations are computed again in backward.
    """

    network: Network
    kind: Pass
    tokens: float
    head_tokens: float
    length: float
    recomputes: bool = False


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Completions that are drawn.

    Attributes:
        prompts: their number; each has `group` completions.
        prompt_tokens, new_tokens: of a prompt, of a completion.
    """

    network: Network
    prompts: float
    group: int
    prompt_tokens: float
    new_tokens: float

    @property
    def tokens(self) -> float:
        """Tokens that are drawn."""
        return self.prompts * self.group * self.new_tokens


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How work lies on GPUs.

    Attributes:
        gpus: their number.
        sharded: whether weights are in parts (FSDP2).
        token_budget: tokens of a micro-batch on a GPU.
        rows_drawn: completions that are drawn at once on a GPU.
    """

    gpus: int
    sharded: bool = False
    token_budget: float = math.inf
    rows_drawn: float = 64.0


def forward_flops(network: Network, *, tokens: float, head_tokens: float, length: float) -> float:
    """2 (N_layers + L d T) a token, 2 N_head for those that go through the head."""
    attention = network.num_layers * network.width * length
    return 2 * (network.num_layer_weights + attention) * tokens + 2 * network.num_head_weights * head_tokens


def pass_flops(passes: Passes) -> float:
    """Operations of the passes."""
    forwards = FORWARDS[passes.kind] + (passes.recomputes and passes.kind != "forward")
    return forwards * forward_flops(
        passes.network, tokens=passes.tokens, head_tokens=passes.head_tokens, length=passes.length
    )


def pass_seconds(passes: Passes, rates: Rates, setup: Setup) -> float:
    """Products, or under FSDP2 the way of weights where that is longer: both go on at once."""
    products = pass_flops(passes) / (rates.flops * setup.gpus)
    if not setup.sharded:
        return products
    micro_batches = passes.tokens / (setup.gpus * setup.token_budget)
    gathers = GATHERS[passes.kind] * BF16 * passes.network.num_weights * (setup.gpus - 1) / setup.gpus
    return max(products, micro_batches * gathers / rates.link)


def draw_seconds(draws: Draws, rates: Rates, setup: Setup) -> float:
    """Prompts once per group, then a step for each token of the longest: weights and cache read, or products."""
    network = draws.network
    prefill = forward_flops(
        network, tokens=draws.prompts * draws.prompt_tokens, head_tokens=draws.prompts, length=draws.prompt_tokens
    ) / (rates.flops * setup.gpus)
    completions = draws.prompts * draws.group
    rows = min(setup.rows_drawn, max(1.0, completions / setup.gpus))
    context = draws.prompt_tokens + draws.new_tokens / 2
    # A group shares its prompt's keys and values in memory, but each of its rows reads them.
    read = (BF16 * network.num_weights + rows * context * network.cache_per_token) / rates.bandwidth
    products = forward_flops(network, tokens=rows, head_tokens=rows, length=2 * context) / rates.flops
    gathered = BF16 * network.num_weights * (setup.gpus - 1) / setup.gpus / rates.link if setup.sharded else 0.0
    steps = completions / (setup.gpus * rows) * draws.new_tokens
    return prefill + steps * max(read, products, gathered)


def seconds(parts: Sequence[Passes | Draws], rates: Rates, setup: Setup) -> float:
    """Seconds of one after the other."""
    return sum(
        draw_seconds(part, rates, setup) if isinstance(part, Draws) else pass_seconds(part, rates, setup)
        for part in parts
    )
