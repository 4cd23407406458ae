"""Best of n as a run: its answers rewarded and chosen by `alignment bon`, the rows for a next SFT or DPO.

chosen.jsonl           the rows, whole or not there; chosen.jsonl.partial while they are made
chosen.summary.json    how many they are, and what the best of k would be worth for every k

Nothing here imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.jobs.processes import run_module
from annotate_app.store.store import Store
from annotate_app.trainings.options import DATA, ROWS, TRAIN_PROMPTS
from rewardkit.data.files import count_partial_rows, read_rows
from rewardkit.run.directory import write_text

SUMMARY = "chosen.summary.json"


def make_rows(run_dir: Path, config: Path) -> int:
    """Draws, rewards and chooses, going on where an earlier try ended; the exit code."""
    if (run_dir / ROWS).is_file():
        return 0
    draft = run_dir / f"{SUMMARY}.draft"
    code = run_module("alignment", "bon", f"--config={config}", "--resume", out=draft)
    if code == 0:
        write_text(run_dir / SUMMARY, draft.read_text(encoding="utf-8"))
    draft.unlink(missing_ok=True)
    return code


def rows_of(store: Store, actor: Actor, project: str, job_id: int) -> Path:
    """The rows that a run of the project made, under the rights of its job.

    Raises:
        ValueError: if the job is of another project, or left no rows.
    """
    job = store.jobs.get(actor, job_id)
    path = Path(job.run_dir) / ROWS
    if job.project_id != store.projects.get(actor, project).id or not path.is_file():
        raise ValueError(f"run {job_id} has no rows to learn from in {project}: choose a finished best of n")
    return path


def read_choosing(run_dir: Path, *, most_prompts: int = 0) -> dict[str, Any]:
    """How a run stands, in the words of `rewardkit.run.directory.read_status`, a prompt a step; empty before it began.

    Args:
        most_prompts: what was asked for at most; 0 for all there are.
    """
    try:
        num_prompts = (run_dir / DATA / TRAIN_PROMPTS).read_bytes().count(b"\n")
    except FileNotFoundError:
        return {}
    total = min(num_prompts, most_prompts) if most_prompts else num_prompts
    if (run_dir / ROWS).is_file():
        return {"state": "done", "step": total, "num_steps": total, "results": read_summary(run_dir)}
    return {"state": "running", "step": count_partial_rows(run_dir / ROWS), "num_steps": total}


def read_summary(run_dir: Path) -> dict[str, Any]:
    """How it ended: num_prompts, num_rows, num_without, num_cut and the curve over k; empty where that is not known."""
    try:
        summary = json.loads((run_dir / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def first_rows(run_dir: Path, count: int) -> list[Mapping[str, Any]]:
    """The first rows that were made."""
    return [row for _, row in islice(read_rows(str(run_dir / ROWS)), count)]


def best_curve(results: Mapping[str, Any], name: str, series: str) -> list[dict[str, object]]:
    """What the best of k is worth as chart rows: `at` is k; `name` is reward or audit."""
    points = results.get("curve") or []
    return [{"at": point["k"], "value": point[name]["value"], "series": series} for point in points if point.get(name)]
