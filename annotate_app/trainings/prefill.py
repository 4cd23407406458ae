"""What a process reward model gives the steps of a project's answers, so that they come to people filled in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.refresh import run_rewardkit
from rewardkit.data.comparison_rows import plain_key
from rewardkit.data.export_formats import turns
from rewardkit.data.files import detect_format, place, read_rows, write_rows
from rewardkit.data.records import StepLabels
from rewardkit.data.tables.cells import decode_literal

COLUMNS = ("step_scores", "step_rewards")
"""Where a row holds its scores; the latter is as `rewardkit score` writes it."""


def prefill_steps(store: Store, actor: Actor, project: Project, source: Path) -> int:
    """Sets the scores of steps from a file, or from a model for all answers that nobody has judged; their number.

    Args:
        source: rows with id and one of `COLUMNS`, or the folder of a process reward model.

    Raises:
        ValueError: if a row has no scores, or not one for each step, or the model cannot score; nothing is changed.
        AccessError: for anybody below lead.
    """
    actor.require("lead", "setting scores of steps", project.id)
    if not source.is_dir():
        return _set(store, actor, project, source)
    with tempfile.TemporaryDirectory() as folder:
        rows, scored = Path(folder) / "answers.jsonl", Path(folder) / "scored.jsonl"
        if not write_rows(rows, _unjudged(store, actor, project)):
            return 0
        run_rewardkit(["score", f"--model={source}", f"--input={rows}", f"--output={scored}"], store, Path(folder))
        return _set(store, actor, project, scored)


def _unjudged(store: Store, actor: Actor, project: Project) -> Iterator[dict[str, Any]]:
    judged = {judgment.comparison_id for judgment in store.judgments.iterate(actor, project.id)}
    for comparison in store.comparisons.iterate(actor, project.id):
        if comparison.steps and comparison.id not in judged:
            labels = [None] * len(comparison.steps)
            prompt = turns(comparison.prompt)
            yield {"id": comparison.id, "prompt": prompt, "completions": list(comparison.steps), "labels": labels}


def _set(store: Store, actor: Actor, project: Project, source: Path) -> int:
    format = detect_format(source)
    scores: dict[str, StepLabels] = {}
    for number, row in read_rows(source, format):
        value = next((row[name] for name in COLUMNS if row.get(name) is not None), None)
        items = decode_literal(value) if isinstance(value, str) else value
        if row.get("id") in (None, "") or not isinstance(items, list | tuple):
            needed = f"needed are an id and a list in {' or '.join(COLUMNS)}"
            raise ValueError(f"{place(source, number, format)}: {needed}")
        scores[plain_key(row["id"])] = tuple(items)
    store.comparisons.set_step_scores(actor, project.id, scores)
    return len(scores)
