"""What a training takes on each GPU, byte by byte, and the largest micro-batch that fits.

Exact: numbers of parameters, and so weights, gradients, AdamW's moments and copies; what forward and backward hold of a
token in the trunk, where attention is a fused kernel (`alignment.memory.network_counts`). Estimates: what the
vocabulary head holds for a moment, logits while drawing, whole layers under FSDP2; and that what torch chooses to cast
to bf16 on a CPU is what it chooses on the GPU. Not in it: what the driver takes, and gaps between
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
from functools import lru_cache
from typing import Any

from alignment.config.plan import PlanConfig
from alignment.memory.network_counts import Held, NetworkCounts, count_network
from alignment.memory.passing_parts import drawing_parts, in_a_row, row_tokens, scoring_parts, training_parts
from alignment.memory.shapes import read_shape
from alignment.memory.standing_parts import GRADIENTS, MemoryPart, Networks, models, standing_parts, total

GIB = 2**30
STEP = 64  # tokens: budgets are multiples of this
MOST = 2**22  # tokens: no larger budget is looked for


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
        scoring: what a pass of a reference or reward model over `token_budget` tokens takes besides, with gradients
            freed; empty where there is none.
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
    scoring: tuple[MemoryPart, ...]
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
        return bool(self.token_budget and (self.draw_budget or not self.least_drawn)) and self.peak <= self.limit

    @property
    def peak(self) -> int:
        """Bytes at the token budgets, or at the smallest sizes where nothing fits."""
        freed = total(without_gradients(self.standing))
        learned = total(self.standing) + total(self.training)
        return max(learned, freed + total(self.drawing), freed + total(self.scoring))


def plan_memory(config: PlanConfig) -> MemoryPlan:
    """Plans the memory of a configuration.

    Raises:
        ValueError: if a model's configuration cannot be read, or none of its architecture can be counted.
        ImportError: if adapters are asked for and peft is missing.
    """
    return plan_counted(config, count_networks(config))


def count_networks(config: PlanConfig) -> Networks:
    """Counts the networks of a training.

    Raises:
        ValueError, ImportError: see `plan_memory`.
    """
    length = config.prompt_tokens + config.completion_tokens
    in_bf16 = config.trained_weights != "fp32"
    how: dict[str, Any] = {
        "precision": config.precision,
        "by_modules": config.split == "fsdp2",
        "gradient_checkpointing": config.gradient_checkpointing,
    }
    policy = Held(
        **how,
        frozen_in_bf16=config.lora and config.holds_bf16,
        trained_in_bf16=in_bf16,
        lora_rank=config.lora_rank if config.lora else 0,
        lora_layers=config.lora_layers,
        load_in_4bit=config.load_in_4bit,
        task="reward" if config.method == "reward" else "policy",
        members=config.ensemble if config.members == "lora" else 1,
    )
    value = Held(**how, trained_in_bf16=in_bf16, task="reward")
    reward = Held(precision=config.precision, frozen_in_bf16=config.holds_bf16, task="reward", is_trained=False)
    return Networks(
        policy=_counted(config.model, length, policy),
        value=_counted(config.model, length, value) if config.value == "separate" else None,
        rewards=tuple((name, _counted(name, 0, reward)) for name in config.reward_model),
    )


@lru_cache(maxsize=64)
def _counted(model: str, length: int, held: Held) -> NetworkCounts:
    """Counts a network once: many plans are made of few."""
    return count_network(read_shape(model, length), held)


def plan_counted(config: PlanConfig, networks: Networks) -> MemoryPlan:
    """Plans the memory of networks whose counts are given."""
    counts = networks.policy
    held = standing_parts(config, networks)
    standing = tuple(part for part in held if not (part.frozen and config.offload_frozen))
    limit = int(config.memory * GIB * (1 - config.margin))
    learning_room, freed_room = limit - total(standing), limit - total(without_gradients(standing))
    least = row_tokens(config, counts, 1 if config.method in ("ppo", "grpo") else in_a_row(config))
    group_tokens = 0 if config.is_offline else config.group_size * (config.prompt_tokens + config.completion_tokens)

    def learns(tokens: int) -> bool:
        scored = total(scoring_parts(config, networks, held, tokens))
        return total(training_parts(config, networks, tokens)) <= learning_room and scored <= freed_room

    def draws(tokens: int) -> bool:
        return total(drawing_parts(config, counts, tokens)) <= freed_room

    budget = config.token_budget or _largest(learns, least)
    draw_budget = config.draw_budget or (_largest(draws, group_tokens) if group_tokens else 0)
    return MemoryPlan(
        num_parameters=counts.num_parameters,
        num_trained=counts.num_trained,
        models=tuple(models(config)),
        standing=standing,
        training=training_parts(config, networks, budget or least),
        drawing=drawing_parts(config, counts, draw_budget or group_tokens),
        scoring=scoring_parts(config, networks, held, budget or least),
        limit=limit,
        least=least,
        least_drawn=group_tokens,
        token_budget=budget,
        draw_budget=draw_budget,
        rows=budget // row_tokens(config, counts, in_a_row(config)),
        groups=draw_budget // group_tokens if group_tokens else 0,
        own_loop=counts.own_loop,
        packed=counts.packed,
    )


def without_gradients(standing: Sequence[MemoryPart]) -> tuple[MemoryPart, ...]:
    """The standing parts while nothing is learned, when gradients are freed."""
    return tuple(part for part in standing if part.name != GRADIENTS)


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
