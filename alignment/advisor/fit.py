"""The quickest configuration of a way that fits: `alignment.memory.plan` is asked for each of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from alignment.advisor.gpus import Cluster
from alignment.advisor.ways import TRAINED_BY, WayName, draws_with_model, group_size, stages
from alignment.advisor.work import Network, Rates, Setup, seconds
from alignment.config.advisor import AdvisorConfig

if TYPE_CHECKING:
    from alignment.memory.plan import MemoryPlan

MOST_ROWS_DRAWN = 512
"""Completions at once on a GPU that an estimate counts on; beyond, products decide and not memory."""


@dataclass(frozen=True, kw_only=True)
class StageHours:
    """Hours of a stage."""

    name: str
    hours: float


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A configuration and what it takes.

    Attributes:
        options: what differs from the defaults of `plan`, by name; its flags.
        plan: memory on each GPU.
        stages: hours of each.
    """

    options: Mapping[str, object]
    plan: MemoryPlan
    stages: tuple[StageHours, ...]

    @property
    def hours(self) -> float:
        return sum(stage.hours for stage in self.stages)

    @property
    def lora(self) -> bool:
        return bool(self.options.get("lora"))


def networks(config: AdvisorConfig) -> tuple[Network, Network]:
    """The policy's and the reward model's networks.

    Raises:
        ValueError: if a model's shape cannot be read or counted.
    """
    length = config.prompt_tokens + max(config.completion_tokens, config.drawn_tokens)
    judge = config.reward_model[0] if config.reward_model else config.model
    return _network(config.model, length), _network(judge, length)


def fits(way: WayName, config: AdvisorConfig, cluster: Cluster, rates: Rates) -> tuple[Fit, ...]:
    """The first configuration that fits of each ladder, least hours first; of the first tier that has any.

    Raises:
        ValueError: if a model's shape cannot be read or counted.
    """
    policy, _ = networks(config)
    for tier in tiers(way, cluster.number):
        fitting = []
        for ladder in tier:
            for options in ladder:
                if not may_fit(options, policy.num_weights, config, cluster):
                    continue
                plan = plan_of(way, config, cluster, options)
                if is_fit(way, plan):
                    hours = _hours(way, config, cluster, rates, plan, options)
                    fitting.append(Fit(options=options, plan=plan, stages=hours))
                    break
        if fitting:
            return tuple(sorted(fitting, key=lambda fit: fit.hours))
    return ()


def _hours(
    way: WayName,
    config: AdvisorConfig,
    cluster: Cluster,
    rates: Rates,
    plan: MemoryPlan,
    options: Mapping[str, object],
) -> tuple[StageHours, ...]:
    policy, reward = networks(config)
    setup = setup_of(way, config, cluster, plan, options)
    parts = stages(
        way,
        config,
        policy,
        reward,
        lora=bool(options.get("lora")),
        recomputes=bool(options.get("gradient_checkpointing")),
    )
    return tuple(StageHours(name=part.name, hours=seconds(part.work, rates, setup) / 3600) for part in parts)


def tiers(way: WayName, num_gpus: int) -> Iterator[tuple[tuple[dict[str, object], ...], ...]]:
    """Ladders of configurations, from the one that takes most memory to the one that takes most time.

    A tier is tried where nothing of those before fits: first what changes no number of the training, then bf16 weights
    with 8-bit moments and 4-bit frozen weights, then what lies on the CPU in between. Hours count no way to the CPU.
    """
    split: dict[str, object] = {"split": "fsdp2"} if num_gpus > 1 else {}
    again: dict[str, object] = {"gradient_checkpointing": True}
    away: dict[str, object] = {"offload_frozen": True, "offload_activations": True}
    lora: dict[str, object] = {"lora": True}
    rounded: dict[str, object] = {"trained_weights": "bf16_kahan", "optimizer": "adamw_8bit"}
    four: dict[str, object] = {**lora, "load_in_4bit": True}
    steps = ({}, split, {**split, **again}) if split else ({}, again)
    whole = ({}, again)  # on each GPU: sharded weights are in fp32, with AdamW's moments, and activations stay

    def ladder(how: dict[str, object], *steps: dict[str, object]) -> tuple[dict[str, object], ...]:
        return tuple({**how, **step} for step in steps)

    full = way != "best-of-n"
    yield (ladder(lora, *steps), *((ladder({}, *steps),) if full else ()))
    yield (ladder(four, {}, again), *((ladder(rounded, *whole),) if full else ()))
    yield (
        ladder({**lora, **away}, again),
        ladder({**four, **away}, again),
        *((ladder({**rounded, **away}, again),) if full else ()),
    )


def may_fit(options: Mapping[str, object], num_weights: float, config: AdvisorConfig, cluster: Cluster) -> bool:
    """Whether the policy's own weights, gradients and moments leave room: less than any plan of these options.

    Bytes of a weight: 16 where fp32 is trained with AdamW, 6 in bf16 with 8-bit moments; frozen 2, or a half.
    """
    if options.get("lora"):
        width = 0.5 if options.get("load_in_4bit") else 2.0
    else:
        width = 6.0 if options.get("trained_weights") else 16.0
    shares = cluster.number if options.get("split") else 1
    return width * num_weights / shares <= cluster.gpu.memory * 2**30 * (1 - config.margin)


def plan_of(way: WayName, config: AdvisorConfig, cluster: Cluster, options: Mapping[str, object]) -> MemoryPlan:
    """The memory of a way's training on each GPU; of best-of-n that of one that draws as many."""
    from alignment.memory.plan import plan_memory

    drawing: dict[str, object] = {"completions_per_prompt": 0, "reward_model": []}
    if way != "sft+dpo":
        judges = (config.reward_model or [config.model]) if draws_with_model(way, config) else []
        drawing = {
            "completions_per_prompt": group_size(way, config),
            "completion_tokens": config.drawn_tokens,
            "reward_model": judges,
        }
    method = TRAINED_BY.get(way, "grpo")
    return plan_memory(
        config.memory_config(gpus=cluster.number, memory=cluster.gpu.memory, method=method, **drawing, **options)
    )


def is_fit(way: WayName, plan: MemoryPlan) -> bool:
    """Whether it fits; best-of-n learns nothing, and only draws."""
    return plan.draw_budget > 0 and peak_of(way, plan) <= plan.limit if way == "best-of-n" else plan.fits


def peak_of(way: WayName, plan: MemoryPlan) -> int:
    """Bytes on each GPU."""
    from alignment.memory.plan import total, without_gradients

    if way != "best-of-n":
        return plan.peak
    return total(without_gradients(plan.standing)) + total(plan.drawing)


def setup_of(
    way: WayName, config: AdvisorConfig, cluster: Cluster, plan: MemoryPlan, options: Mapping[str, object]
) -> Setup:
    """How the work lies on the GPUs with a plan's budgets."""
    return Setup(
        gpus=cluster.number,
        sharded=options.get("split") == "fsdp2",
        token_budget=plan.token_budget or plan.least,
        rows_drawn=min(MOST_ROWS_DRAWN, max(1, plan.groups) * max(1, group_size(way, config))),
    )


@cache
def _network(model: str, length: int) -> Network:
    from alignment.config.plan import PlanConfig
    from alignment.memory.plan import count_networks
    from alignment.memory.shapes import read_shape

    text = read_shape(model, length).get_text_config()
    counts = count_networks(PlanConfig(model=model, prompt_tokens=length - 1, completion_tokens=1)).policy
    heads, width = text.num_attention_heads, text.hidden_size
    return Network(
        num_layer_weights=counts.num_parameters - counts.num_outside,
        num_head_weights=counts.vocab_size * counts.hidden_size,
        num_layers=text.num_hidden_layers,
        width=heads * (getattr(text, "head_dim", None) or width // heads),
        cache_per_token=counts.cache_per_token,
    )
