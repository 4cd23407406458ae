"""The cheapest ways to make a training fit that does not, tried one after another on its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from alignment.config.plan import PlanConfig
from alignment.memory.plan import MemoryPlan, plan_memory


def advise(config: PlanConfig) -> tuple[dict[str, Any], MemoryPlan | None]:
    """Adds options, the one that costs least first, until the training fits; leaves out those that are not needed.

    Returns:
        The options, and the plan with them; no plan where nothing makes it fit.

    Raises:
        ValueError, ImportError: see `plan_memory`.
    """
    options: dict[str, Any] = {}
    for step in steps(config):
        options |= step
        if (plan := _fitting(config, options)) is not None:
            break
    else:
        return options, None
    for name in list(options)[:-1]:
        fewer = {other: value for other, value in options.items() if other != name}
        if (smaller := _fitting(config, fewer)) is not None:
            options, plan = fewer, smaller
    return options, plan


def steps(config: PlanConfig) -> Iterator[Mapping[str, Any]]:
    """What may be changed, by what it costs: nothing that is learned, then time, then what is learned or held."""
    shards = config.gpus > 1 and config.split == "none" and not config.load_in_4bit
    if not config.holds_bf16 and (config.lora or config.method not in ("sft", "reward")):
        yield {"frozen_weights": "bf16"}  # rounds what is only read
    if shards:
        yield {"split": "fsdp2"}  # costs traffic between GPUs
    if not config.offload_frozen and config.split == "none" and not config.is_offline:
        yield {"offload_frozen": True}  # costs copies to and from the CPU
    if not config.gradient_checkpointing:
        yield {"gradient_checkpointing": True}  # costs a third of the time
    if not config.offload_activations and not shards and config.split == "none":
        yield {"offload_activations": True}
    if not config.lora:
        if config.trained_weights == "fp32" and not shards and config.split == "none":
            yield {"trained_weights": "bf16_kahan"}
        yield {"trained_weights": "fp32", "lora": True}  # learns less
    if not config.load_in_4bit:
        yield {"load_in_4bit": True, "split": "none"}  # rounds the weights below adapters to 16 values


def _fitting(config: PlanConfig, options: Mapping[str, Any]) -> MemoryPlan | None:
    try:
        plan = plan_memory(replace(config, **options))
    except ValueError:  # options that do not go together
        return None
    return plan if plan.fits else None
