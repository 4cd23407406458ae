"""Policies by the names that people and results have for them, and the prompts that they are given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotate_app.access import Actor
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings.options import MODEL
from annotate_app.trainings.plans import PRESETS, check_model, model_name
from annotate_app.trainings.runs import get_run
from annotate_app.trainings.training_jobs import KIND
from rewardkit.data.export_formats import turns
from rewardkit.data.files import write_rows
from rewardkit.data.prompts import Prompt, distinct, read_prompts

_RUN = re.compile(r"(?:run-)?(\d+)")


@dataclass(frozen=True, kw_only=True)
class PolicyRef:
    """A policy: its name as a source of answers, and the folder or hub id that commands take."""

    name: str
    model: str

    @property
    def is_preset(self) -> bool:
        """Whether it is random weights that have to learn to write first."""
        return self.model in PRESETS


def find_policy(store: Store, actor: Actor, project_id: int, text: str) -> PolicyRef:
    """The policy that somebody names: a run's number (12 or run-12), a folder, a hub id or a preset.

    A folder that is a run of the project has that run's name, `run-12`.

    Raises:
        ValueError: if there is none.
    """
    text = text.strip()
    if match := _RUN.fullmatch(text):
        run = get_run(store, actor, int(match[1]))
        if run.job.project_id != project_id:
            raise ValueError(f"run {match[1]} is of another project")
        if not (run.is_policy and run.has_model):
            raise ValueError(f"run {match[1]} has no policy: it is a {run.trains} run, {run.job.state}")
        return PolicyRef(name=f"run-{run.job.id}", model=str(run.model))
    if not text:
        raise ValueError("policy is empty, allowed are a run's number, a folder, a hub id and tiny or small")
    if Path(text).is_dir():
        text = str(Path(text).resolve())
    model = check_model(text)
    if model == "tfidf":
        raise ValueError("policy is 'tfidf', which writes no answers: name a run, a folder, a hub id, tiny or small")
    return PolicyRef(name=source_name(store.jobs.list(actor, project_id, limit=10_000), model), model=model)


def source_name(jobs: Sequence[Job], model: str) -> str:
    """What results call a model: its run's number, else the name of its folder, of a preset or of the hub."""
    for job in jobs:
        if job.kind == KIND and job.run_dir and str(Path(job.run_dir).resolve() / MODEL) == model:
            return f"run-{job.id}"
    return model_name(model) if model.startswith("/") else model


def write_prompts(
    store: Store, actor: Actor, project_id: int, path: Path, *, source: str = "", num_prompts: int = 0, seed: int = 0
) -> int:
    """Writes different prompts as rows to a file, in a random order; their number.

    Args:
        source: rows with a prompt, as `rewardkit.data.prompts.read_prompts` takes them; empty for the project's.
        num_prompts: number to take; 0 takes all.

    Raises:
        ValueError: if there is none.
    """
    if source:
        prompts: list[Prompt] = read_prompts(source).rows
    else:
        prompts = [comparison.prompt for comparison in store.comparisons.iterate(actor, project_id)]
    different = distinct(prompts)
    if not different:
        raise ValueError(
            f"prompts is {source!r}: there are none" if source else "the project has no prompts: import some"
        )
    order = np.random.default_rng(seed).permutation(len(different))[: num_prompts or None]
    return write_rows(path, ({"prompt": turns(different[number])} for number in order))
