"""The quickest configuration of a way that fits: `alignment.memory.plan` is asked for each of a list."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING

from alignment.advisor.gpus import Cluster
from alignment.advisor.ways import TRAINED_BY, WayName, draws_with_model, group_size, stages
from alignment.advisor.work import Network, Rates, Setup, seconds
from alignment.config.advisor import AdvisorConfig
from alignment.config.plan import PlanConfig

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from alignment.memory.network_counts import NetworkCounts
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
    return _network(config.model, config), _network(config.reward_model or config.model, config)


def fits(way: WayName, config: AdvisorConfig, cluster: Cluster, rates: Rates) -> tuple[Fit, ...]:
    """All configurations of a way that fit, least hours first; of the first tier that has any.

    Raises:
        ValueError: if a model's shape cannot be read or counted.
    """
    policy, reward = networks(config)
    for tier in tiers(way, cluster.number):
        fitting = []
        for options in tier:
            plan = plan_of(way, config, cluster, options)
            if not is_fit(way, plan):
                continue
            setup = setup_of(way, config, cluster, plan, options)
            parts = stages(
                way,
                config,
                policy,
                reward,
                lora=bool(options.get("lora")),
                recomputes=bool(options.get("gradient_checkpointing")),
            )
            hours = tuple(StageHours(name=part.name, hours=seconds(part.work, rates, setup) / 3600) for part in parts)
            fitting.append(Fit(options=options, plan=plan, stages=hours))
        if fitting:
            return tuple(sorted(fitting, key=lambda fit: fit.hours))
    return ()


def tiers(way: WayName, num_gpus: int) -> Iterator[list[dict[str, object]]]:
    """Configurations to try, by what they cost besides time: none first."""
    ways_to_train = ({"lora": True},) if way == "best-of-n" else ({}, {"lora": True})
    splits: tuple[dict[str, object], ...] = ({}, {"split": "fsdp2"}) if num_gpus > 1 and way == "sft+dpo" else ({},)
    again: tuple[dict[str, object], ...] = ({}, {"gradient_checkpointing": True})
    yield [{**how, **split, **recomputed} for how, split, recomputed in itertools.product(ways_to_train, splits, again)]


def plan_of(way: WayName, config: AdvisorConfig, cluster: Cluster, options: Mapping[str, object]) -> MemoryPlan:
    """The memory of a way's training on each GPU; of best-of-n that of one that draws as many."""
    from alignment.memory.plan import plan_counted

    method = TRAINED_BY.get(way, "grpo")
    drawing: dict[str, object] = {}
    if way != "sft+dpo":
        drawing = {
            "completions_per_prompt": group_size(way, config),
            "completion_tokens": config.drawn_tokens,
            "reward_model": (config.reward_model or config.model) if draws_with_model(way, config) else "",
        }
    else:
        drawing = {"completions_per_prompt": 0, "reward_model": ""}
    asked = config.memory_config(gpus=cluster.number, memory=cluster.gpu.memory, method=method, **drawing, **options)
    return plan_counted(asked, counts_of(asked))


def is_fit(way: WayName, plan: MemoryPlan) -> bool:
    """Whether it fits; best-of-n learns nothing, and only draws."""
    return plan.draw_budget > 0 if way == "best-of-n" else plan.fits


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


def counts_of(config: PlanConfig) -> NetworkCounts:
    """Parameters and bytes of the policy's network under a configuration; counted once a process."""
    return _counts(
        config.model,
        config.prompt_tokens + config.completion_tokens,
        config.precision,
        config.lora_rank if config.lora else 0,
        config.lora_layers,
        config.gradient_checkpointing,
    )


@cache
def _counts(model: str, length: int, precision: str, rank: int, layers: int, recomputes: bool) -> NetworkCounts:
    from alignment.memory.network_counts import count_network
    from alignment.memory.shapes import read_shape

    def count(shape: PretrainedConfig) -> NetworkCounts:
        return count_network(
            shape,
            precision=precision,  # pyright: ignore[reportArgumentType]
            lora_rank=rank,
            lora_layers=layers,
            gradient_checkpointing=recomputes,
        )

    shape = read_shape(model, length)
    num_layers = shape.get_text_config().num_hidden_layers
    if num_layers <= 4 or layers or not _layers_are_alike(shape):
        return count(shape)
    return extrapolated(count(_cut(shape, 2)), count(_cut(shape, 4)), num_layers)


def extrapolated(two: NetworkCounts, four: NetworkCounts, num_layers: int) -> NetworkCounts:
    """Counts of a network of many layers that are alike, from those of two and four: each is a x layers + b."""
    values = {}
    for field in fields(two):
        low, high = getattr(two, field.name), getattr(four, field.name)
        if isinstance(low, bool) or low == high:
            values[field.name] = high
            continue
        if field.name == "kept_in_layer":  # of all layers, over their number
            low, high = 2 * low, 4 * high
        whole = low + (high - low) / 2 * (num_layers - 2)
        if field.name == "kept_in_layer":
            values[field.name] = whole / num_layers
        else:
            values[field.name] = round(whole) if isinstance(low, int) else whole
    return type(two)(**values)


def _layers_are_alike(shape: PretrainedConfig) -> bool:
    kinds = getattr(shape.get_text_config(), "layer_types", None)
    return shape.model_type in ("llama", "qwen2", "qwen3", "mistral", "gpt2", "gpt_neox") and len(set(kinds or ())) <= 1


def _cut(shape: PretrainedConfig, num_layers: int) -> PretrainedConfig:
    shape = copy.deepcopy(shape)
    shape.num_hidden_layers = num_layers
    if getattr(shape, "layer_types", None):
        shape.layer_types = shape.layer_types[:num_layers]
    return shape


@cache
def _shape_network(model: str, length: int) -> Network:
    from alignment.memory.shapes import read_shape

    text = read_shape(model, length).get_text_config()
    counts = _counts(model, length, "bf16", 0, 0, False)
    heads, width = text.num_attention_heads, text.hidden_size
    return Network(
        num_layer_weights=counts.num_parameters - counts.num_outside,
        num_head_weights=counts.vocab_size * counts.hidden_size,
        num_layers=text.num_hidden_layers,
        width=heads * (getattr(text, "head_dim", None) or width // heads),
        cache_per_token=counts.cache_per_token,
    )


def _network(model: str, config: AdvisorConfig) -> Network:
    return _shape_network(model, config.prompt_tokens + max(config.completion_tokens, config.drawn_tokens))
