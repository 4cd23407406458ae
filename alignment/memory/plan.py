"""What a training takes on each GPU, byte by byte, and the largest micro-batch that fits.

Exact: numbers of parameters, and so weights, gradients, AdamW's moments and copies; what backward keeps of a token in
the trunk, where attention is a fused kernel (`alignment.memory.network_counts`). Estimates: what the vocabulary head
and the backward pass of a layer hold for a moment, logits while drawing, whole layers under FSDP2; and that what torch
chooses to cast to bf16 on a CPU is what it chooses on the GPU. Not in it: what the driver takes, and gaps between
buffers; that is what the margin is for.

Steps do not depend on the micro-batch: gradients add up over as many as a step takes, so that prompts per step cost
time and no memory here. Under FSDP2 a GPU still keeps the bf16 casts of all layers until the backward pass of its
micro-batch: they are no weights in parts; gradient checkpointing makes them again.

One reference is counted: online-dpo with reference_every holds a second, grpo without any KL (beta and kl_every 0)
holds none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alignment.config.plan import PlanConfig
from alignment.generation.llama_decoding import PREFILL_TOKENS
from alignment.memory.network_counts import FLOAT32, NetworkCounts, count_classifier, count_network
from alignment.memory.shapes import read_shape
from rewardkit.network.vocabulary_head import BLOCK, KEPT_BYTES

GIB = 2**30
STEP = 64  # tokens: budgets are multiples of this
MOST = 2**22  # tokens: no larger budget is looked for
# What the backward pass of a layer holds for a moment, by what the layer keeps; with it computed again. As measured.
LAYER, LAYER_AGAIN = 0.5, 1.25
GRADIENTS = "gradients"


@dataclass(frozen=True, kw_only=True)
class MemoryPart:
    """Something that takes memory.

    Attributes:
        name: for people.
        num_bytes: on each GPU.
        exact: whether it is counted, and not estimated.
    """

    name: str
    num_bytes: int
    exact: bool = True


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What a training takes.

    Attributes:
        num_parameters, num_trained: of the policy.
        models: what is held, in words.
        standing: what is there all the time, on each GPU.
        training: what a micro-batch of `token_budget` tokens takes besides, while it is learned from.
        drawing: what drawing a batch of `draw_budget` tokens takes besides, with gradients freed; empty where nothing
            is drawn.
        limit: bytes of each GPU that may be used.
        least: tokens of the smallest micro-batch: a usual prompt with its completions, or with one of them where they
            may be learned from apart.
        least_drawn: tokens of the smallest batch that is drawn: a usual prompt with its group, the prompt counted for
            each; 0 where nothing is drawn.
        token_budget, draw_budget: tokens of the largest ones that fit; 0 where the smallest does not.
        rows: usual prompts, with all the completions that learn together, in a micro-batch.
        groups: usual prompts with their groups in a batch that is drawn.
        own_loop, packed: as of `NetworkCounts`.
    """

    num_parameters: int
    num_trained: int
    models: tuple[str, ...]
    standing: tuple[MemoryPart, ...]
    training: tuple[MemoryPart, ...]
    drawing: tuple[MemoryPart, ...]
    limit: int
    least: int
    least_drawn: int
    token_budget: int
    draw_budget: int
    rows: int
    groups: int
    own_loop: bool
    packed: bool

    @property
    def fits(self) -> bool:
        return bool(self.token_budget and (self.draw_budget or not self.least_drawn))

    @property
    def peak(self) -> int:
        """Bytes at the token budgets, or at the smallest sizes where nothing fits."""
        learned = total(self.standing) + total(self.training)
        return max(learned, _while_drawing(self.standing) + total(self.drawing))


def total(parts: Sequence[MemoryPart]) -> int:
    """Bytes of all."""
    return sum(part.num_bytes for part in parts)


def plan_memory(config: PlanConfig) -> MemoryPlan:
    """Plans the memory of a configuration.

    Raises:
        ValueError: if a model's configuration cannot be read, or none of its architecture can be counted.
    """
    counts = count_network(
        read_shape(config.model, config.prompt_tokens + config.completion_tokens),
        precision=config.precision,
        lora_rank=config.lora_rank if config.lora else 0,
        lora_layers=config.lora_layers,
        gradient_checkpointing=config.gradient_checkpointing,
    )
    return plan_counted(config, counts)


def plan_counted(config: PlanConfig, counts: NetworkCounts) -> MemoryPlan:
    """Plans the memory of a network whose counts are given."""
    standing, models = _standing(config, counts)
    limit = int(config.memory * GIB * (1 - config.margin))
    learning_room, drawing_room = limit - total(standing), limit - _while_drawing(standing)
    least = _row_tokens(config, counts, 1 if config.method in ("ppo", "grpo") else _in_a_row(config))
    budget = _largest(lambda tokens: total(training_parts(config, counts, tokens)) <= learning_room, least)
    group_tokens, draw_budget = 0, 0
    if not config.is_offline:
        group_tokens = config.group_size * (config.prompt_tokens + config.completion_tokens)
        draw_budget = _largest(
            lambda tokens: total(drawing_parts(config, counts, tokens)) <= drawing_room, group_tokens
        )
    return MemoryPlan(
        num_parameters=counts.num_parameters,
        num_trained=counts.num_trained,
        models=models,
        standing=standing,
        training=training_parts(config, counts, budget or least),
        drawing=drawing_parts(config, counts, draw_budget or group_tokens),
        limit=limit,
        least=least,
        least_drawn=group_tokens,
        token_budget=budget,
        draw_budget=draw_budget,
        rows=budget // _row_tokens(config, counts, _in_a_row(config)),
        groups=draw_budget // group_tokens if group_tokens else 0,
        own_loop=counts.own_loop,
        packed=counts.packed,
    )


def _while_drawing(standing: Sequence[MemoryPart]) -> int:
    """Bytes of the standing parts while completions are drawn, when gradients are freed."""
    return sum(part.num_bytes for part in standing if part.name != GRADIENTS)


def _standing(config: PlanConfig, counts: NetworkCounts) -> tuple[tuple[MemoryPart, ...], tuple[str, ...]]:
    """Returns the parts that each GPU always holds, and descriptions of the models."""
    shares = config.gpus if config.split == "fsdp2" else 1
    weights, trained = (-(-FLOAT32 * number // shares) for number in (counts.num_parameters, counts.num_trained))
    how = "its adapters are trained" if config.lora else "all weights are trained"
    models = [f"policy: {how}"]
    parts = [
        MemoryPart(name="policy, weights", num_bytes=weights),
        MemoryPart(name=GRADIENTS, num_bytes=trained),
        MemoryPart(name="AdamW, two moments", num_bytes=2 * trained),
    ]
    if config.method == "dpo" and config.reference == "precomputed":
        models.append("reference: log-probabilities computed once before the first step, no weights")
    elif config.method != "sft" and config.lora:
        models.append("reference: the policy without its adapters, no weights of its own")
    elif config.method != "sft":
        models.append("reference: a frozen copy")
        parts.append(MemoryPart(name="reference, weights", num_bytes=weights))
    if config.method == "ppo" and config.value == "separate":
        models.append("value: a network of its own, trained")
        size = counts.num_trunk + counts.hidden_size + 1
        parts.append(MemoryPart(name="value, weights, gradients, moments", num_bytes=4 * FLOAT32 * size))
    elif config.method == "ppo":
        models.append("value: a head on the policy")
        parts.append(MemoryPart(name="value, head", num_bytes=4 * FLOAT32 * (counts.hidden_size + 1)))
    if config.reward_model:
        models.append(f"reward model: {config.reward_model}")
        size = count_classifier(read_shape(config.reward_model))
        parts.append(MemoryPart(name="reward model, weights", num_bytes=FLOAT32 * size))
    elif not config.is_offline:
        models.append("rewards: without a model here; name one with reward_model")
    if shares > 1:
        # Outside of layers all is whole, with its gradient; of the layers one that computes, the next, and a gradient.
        whole = FLOAT32 * (2 * counts.num_outside + 3 * counts.num_in_layer)
        parts.append(MemoryPart(name="whole layers while they compute", num_bytes=whole, exact=False))
    return tuple(parts), tuple(models)


def training_parts(config: PlanConfig, counts: NetworkCounts, tokens: int) -> tuple[MemoryPart, ...]:
    """Returns the memory of one micro-batch in training, besides the standing parts."""
    networks = 2 if config.method == "ppo" and config.value == "separate" else 1
    completion = int(tokens * _completion_share(config, counts))
    layer = counts.kept_in_layer * tokens * (LAYER_AGAIN if config.gradient_checkpointing else LAYER)
    head_kept, moment = head_bytes(config, counts, completion)
    return (
        MemoryPart(name="weights in bf16, kept for backward", num_bytes=networks * counts.kept_once),
        MemoryPart(name="activations of layers", num_bytes=round(networks * counts.kept_per_token * tokens)),
        MemoryPart(name="vocabulary head, kept for backward", num_bytes=head_kept),
        # The head's backward is over when that of the layers begins.
        MemoryPart(name="backward, for a moment", num_bytes=round(max(moment, layer - head_kept)), exact=False),
    )


def head_bytes(config: PlanConfig, counts: NetworkCounts, completion_tokens: int) -> tuple[int, int]:
    """Bytes that the blockwise head keeps for backward, and those that its backward holds for a moment."""
    width = 2 if config.precision == "bf16" else FLOAT32
    casts = width if config.precision == "bf16" else 0
    scaled = 0 if config.is_offline else FLOAT32  # a temperature: the states are multiplied by it
    blocks = -(-counts.vocab_size // BLOCK)
    logits = min(KEPT_BYTES, completion_tokens * counts.vocab_size * width)
    # Index, target and branch of a token, two numbers of it, and its share of each block's probability.
    of_token = 3 * 8 + 2 * FLOAT32 + blocks * FLOAT32
    saved = completion_tokens * (counts.hidden_size * (FLOAT32 + max(casts, scaled)) + of_token) + logits
    block = completion_tokens * min(BLOCK, counts.vocab_size) * 2 * FLOAT32
    own_gradient = FLOAT32 * counts.vocab_size * counts.hidden_size if counts.trains_head else 0
    return saved, block + own_gradient + completion_tokens * counts.hidden_size * FLOAT32


def drawing_parts(config: PlanConfig, counts: NetworkCounts, tokens: int) -> tuple[MemoryPart, ...]:
    """Returns the memory of drawing a batch of completions, besides the standing parts; empty for offline methods."""
    if config.is_offline:
        return ()
    size, whole = config.group_size, config.prompt_tokens + config.completion_tokens
    groups = max(1, tokens // (size * whole))
    prompts = groups * config.prompt_tokens * (1 if counts.own_loop else size)
    cached = (prompts + groups * size * config.completion_tokens) * counts.cache_per_token
    logits = groups * size * counts.vocab_size * 4 * FLOAT32
    prefill = counts.kept_in_layer * min(prompts, PREFILL_TOKENS)
    return (
        MemoryPart(name="copies of weights to draw with", num_bytes=counts.decoding),
        MemoryPart(name="keys and values", num_bytes=cached),
        MemoryPart(name="logits, prompts in a layer", num_bytes=round(logits + prefill), exact=False),
    )


def _in_a_row(config: PlanConfig) -> int:
    """Returns the completions of a prompt that share a row in training: two of the group for online-dpo."""
    return 2 if config.method == "online-dpo" else config.group_size


def _row_tokens(config: PlanConfig, counts: NetworkCounts, num_completions: int) -> int:
    """Tokens of a prompt with completions; where rows are padded, with the prompt before each."""
    prompts = 1 if counts.packed else num_completions
    return prompts * config.prompt_tokens + num_completions * config.completion_tokens


def _completion_share(config: PlanConfig, counts: NetworkCounts) -> float:
    """Share of a row's tokens that go through the head."""
    size = _in_a_row(config)
    return size * config.completion_tokens / _row_tokens(config, counts, size)


def _largest(fits: Callable[[int], bool], least: int) -> int:
    """The largest multiple of STEP that fits, given that all smaller ones do then; 0 if that is less than `least`."""
    low, high = 0, MOST // STEP
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle * STEP):
            low = middle
        else:
            high = middle - 1
    return low * STEP if low * STEP >= least else 0
