"""`plan` tells what a training would take in memory and what fits, from a model's configuration alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from alignment.config.advisor import AdvisorConfig
from alignment.config.plan import PlanConfig
from rewardkit.report.table import text_table

if TYPE_CHECKING:
    from alignment.memory.plan import MemoryPart, MemoryPlan


def plan(asked: AdvisorConfig) -> int:
    """Runs `alignment plan`: one training's memory, or all ways side by side; returns the exit code."""
    if asked.published or asked.is_question:
        from alignment.commands.advisor import answer, show_published

        return show_published(asked) if asked.published else answer(asked)
    return _plan_one(asked.memory_config())


def _plan_one(config: PlanConfig) -> int:
    from alignment.memory.plan import plan_memory

    plan = plan_memory(config)
    if config.json:
        values = {**asdict(config), **asdict(plan), "peak": plan.peak, "fits": plan.fits}
        print(json.dumps(values, ensure_ascii=False, indent=1))
        return 0
    print("\n".join(_lines(config, plan)))
    return 0


def _lines(config: PlanConfig, plan: MemoryPlan) -> Iterator[str]:
    split = "each holding all weights" if config.split == "none" else "weights in parts (FSDP2)"
    gpus = "1 GPU" if config.gpus == 1 else f"{config.gpus} GPUs, {split},"
    yield f"{config.method} of {config.model} on {gpus} of {config.memory:g} GiB"
    trained = "" if plan.num_trained == plan.num_parameters else f", {plan.num_trained:,} of them trained"
    yield f"{plan.num_parameters:,} parameters{trained}"
    yield from (f"  {model}" for model in plan.models)
    learned, num_drawn = plan.token_budget or plan.least, plan.draw_budget or plan.least_drawn
    rows = [
        *_rows("GiB on each GPU, all the time", plan.standing),
        *_rows(f"besides, learning from {learned:,} tokens at once", plan.training),
        *(_rows(f"or drawing {num_drawn:,} tokens at once, gradients freed", plan.drawing) if plan.drawing else ()),
        *(_rows("or while scores are taken, gradients freed", plan.scoring) if plan.scoring else ()),
        [],
        ["peak", _gib(plan.peak), ""],
    ]
    yield text_table((), rows)
    yield f"{_gib(plan.limit)} GiB may be used ({config.margin:.0%} left free)"
    yield "~ is an estimate, all else is counted; what the driver takes and gaps between buffers are not in it"
    yield from _conclusion(config, plan)


def _rows(title: str, parts: Sequence[MemoryPart]) -> Iterator[Sequence[str]]:
    yield []
    yield [title]
    for part in parts:
        if part.num_bytes:
            yield [f"  {part.name}", _gib(part.num_bytes), "" if part.exact else "~"]


def _conclusion(config: PlanConfig, plan: MemoryPlan) -> Iterator[str]:
    if not plan.packed:
        yield "it attends in a sliding window: rows run padded, with the prompt before each completion"
    if not plan.fits:
        drawing = f", drawing {plan.least_drawn:,}" if plan.least_drawn else ""
        yield f"does not fit: learning takes {plan.least:,} tokens at once or more{drawing}; {_advice(config)}"
        return
    on_each = " on each GPU" if config.gpus > 1 else ""
    learned = f"{plan.rows:,} usual prompts with their completions" if plan.rows else "part of a group"
    yield f"fits: --token-budget {plan.token_budget} ({learned} at once{on_each})"
    if plan.draw_budget:
        drawing = f"{plan.groups:,} usual prompts with their groups"
        yield f"      --draw-budget {plan.draw_budget} ({drawing} at once{on_each})"
    step = "batch_size" if config.is_offline else "prompts_per_step"
    yield f"{step} is free: gradients add up over micro-batches, more rows a step cost time, not memory"


def _advice(config: PlanConfig) -> str:
    """Names the options that would make it fit, those that cost least."""
    from alignment.memory.advice import advise

    options, plan = advise(config)
    told = ", ".join(f"{name} {value}" if isinstance(value, str) else name for name, value in options.items())
    if plan is None:
        return f"it would not with {told} either: take larger GPUs or more of them, or a smaller model"
    return f"it would with {told} (token_budget {plan.token_budget})"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:,.2f}" if num_bytes >= 2**30 / 100 else f"{num_bytes / 2**30:,.4f}"
