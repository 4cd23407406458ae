"""What is measured on a turn's policy without people: KL and proxy reward against turn 0, words, gold where known."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from annotate_app.access import Actor
from annotate_app.jobs.processes import run_module
from annotate_app.store.store import Store
from annotate_app.turns.policies import PolicyRef
from annotate_app.turns.stages.simulated_people import gold_of_project
from rewardkit.data.conversations import read_messages
from rewardkit.data.files import read_rows
from rewardkit.run.directory import read_status
from rewardkit.stats.metrics import average_interval

MOST_PROMPTS = 100


def measure_policy(
    store: Store,
    actor: Actor,
    project_id: int,
    *,
    policy: PolicyRef,
    first: PolicyRef,
    reward_model: str,
    prompts: Path,
    folder: Path,
    temperature: float,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Holds a policy against turn 0's by `alignment evaluate`; intervals by name, as plain values.

    kl, words and gold as in `annotate_app.turns.turn.TurnFigures`; proxy on the scale of turn 0's answers.

    Raises:
        ValueError: if the command fails.
    """
    if read_status(folder).get("state") != "done":
        words = [f"--model={policy.model}", f"--base={first.model}", f"--prompts={prompts}", f"--out={folder}"]
        words += [f"--max_prompts={MOST_PROMPTS}", f"--temperature={temperature}"]
        words += [f"--max_new_tokens={max_new_tokens}", *([f"--reward={reward_model}"] if reward_model else [])]
        if code := run_module("alignment", "evaluate", *words):
            raise ValueError(f"alignment evaluate ended with exit code {code}, its own words stand above")
    values = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    figures: dict[str, Any] = {}
    if kl := next((one for one in values["kl"] if one["estimator"] == "k3"), None):
        figures["kl"] = _bounds(kl["per_sequence"])
    rows = [row for _, row in read_rows(str(folder / "completions.jsonl"))]
    answers = [(read_messages(row["prompt"], "prompt"), row["responses"]) for row in rows]
    figures["words"] = _interval([len(both[1]["text"].split()) for _, both in answers])
    if answers and "model_reward" in answers[0][1][0]:
        before, after = (np.array([both[side]["model_reward"] for _, both in answers]) for side in (0, 1))
        if (spread := float(before.std(ddof=1))) > 0:
            figures["proxy"] = _interval(list((after - before.mean()) / spread))
    gold = gold_of_project(store, actor, project_id)
    if gold is not None:
        figures["gold"] = _interval([gold(prompt, both[1]["text"]) for prompt, both in answers])
        figures["gold_first"] = _interval([gold(prompt, both[0]["text"]) for prompt, both in answers])
    return figures


def _interval(values: Sequence[float]) -> dict[str, float | None]:
    """The mean over prompts with its interval."""
    return _bounds(asdict(average_interval(values)))


def _bounds(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """An interval for JSON: what is not known is None."""
    bounds = {name: values[name] for name in ("value", "low", "high")}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in bounds.items()}
