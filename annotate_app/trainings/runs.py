"""Trainings as pages see them: a job and its run directory read together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alignment.watch.alarms import Alarm, read_alarms
from annotate_app.access import Actor
from annotate_app.store.jobs import ENDED, Job
from annotate_app.store.loop.run_notes import RunNote
from annotate_app.store.store import Store
from annotate_app.trainings.best_rows import read_choosing
from annotate_app.trainings.options import MODEL, ONLINE, ROWS
from annotate_app.trainings.plan_files import read_plan_values
from annotate_app.trainings.training_jobs import EVALUATION, KIND, PLAN
from rewardkit.reward.metadata import CARD_FILE
from rewardkit.run.directory import read_metrics, read_status

Metrics = list[dict[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """One training.

    Attributes:
        job: the newest of its run directory.
        plan: what was asked for, as `plan_values` writes it; empty where it cannot be read.
        status: of the training's command, of best of n in the same words; empty before it began, or where it cannot be
            read.
        evaluation: what `rewardkit evaluate`, of a policy `alignment evaluate`, found; empty before.
        said: its name, note and tags.
    """

    job: Job
    plan: Mapping[str, Any]
    status: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    said: RunNote = field(default_factory=lambda: RunNote(run_dir=""))

    @property
    def number(self) -> int:
        """What people call it by: that of its newest job."""
        return self.job.id

    @property
    def title(self) -> str:
        """The name that people gave it, else what it trains."""
        return self.said.name or (f"Reward model, {self.job.title}" if self.is_reward_model else self.job.title)

    @property
    def name(self) -> str:
        """For people: its number and its title."""
        return f"{self.number}: {self.title}"

    @property
    def has_something_to_show(self) -> bool:
        """Whether it began: has figures, steps, or words of how it failed."""
        return self.job.state != "queued" and bool(self.status or self.job.message)

    @property
    def under_way(self) -> bool:
        """Whether it waits or runs."""
        return self.job.state not in ENDED

    @property
    def folder(self) -> Path:
        """The run directory, as a whole path: plans name models by it, and a job's own may be relative."""
        return Path(self.job.run_dir).resolve()

    @property
    def model(self) -> Path:
        """The run of `rewardkit train`, in which the model lies."""
        return self.folder / MODEL

    @property
    def trains(self) -> str:
        """One of `annotate_app.trainings.options.Trains`."""
        return str(self.plan.get("trains") or "reward")

    def option(self, name: str) -> Any:
        """What was asked for as an option of the command; None where that is not known."""
        return (self.plan.get("config") or {}).get(name)

    @property
    def is_reward_model(self) -> bool:
        return self.trains == "reward"

    @property
    def is_online(self) -> bool:
        """Whether it learns from rewarded samples of its own."""
        return self.trains in ONLINE

    @property
    def is_best_of_n(self) -> bool:
        """Whether it trains nothing and makes rows to learn from."""
        return self.trains == "bon"

    @property
    def is_policy(self) -> bool:
        """Whether it trains a model that writes answers."""
        return not (self.is_reward_model or self.is_best_of_n)

    @property
    def has_model(self) -> bool:
        files = (CARD_FILE,) if self.is_reward_model else ("config.json", "adapter_config.json")
        return self.status.get("state") == "done" and any((self.model / name).is_file() for name in files)

    @property
    def is_scorer(self) -> bool:
        """Whether it can be asked for rewards."""
        return self.is_reward_model and self.has_model

    @property
    def samples(self) -> dict[int, list[Mapping[str, Any]]]:
        """By step in which it was asked, what a policy wrote: prompt, completion, finished; online its reward too."""
        by_step: dict[int, list[Mapping[str, Any]]] = {}
        for line in _lines(self.model / "samples.jsonl") if self.is_policy else []:
            by_step.setdefault(int(line["step"]), []).append(line)
        return by_step

    @property
    def alarms(self) -> list[Alarm]:
        """What the watcher of an online training raised, newest first; none where `has_unreadable_alarms`."""
        return self._alarms() or []

    @property
    def has_unreadable_alarms(self) -> bool:
        """Whether there is a file of alarms that cannot be read."""
        return self._alarms() is None

    def _alarms(self) -> list[Alarm] | None:
        try:
            return read_alarms(self.model)[::-1]
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def rows(self) -> Path | None:
        """The rows that best of n made; None where there are none."""
        path = self.folder / ROWS
        return path if self.is_best_of_n and path.is_file() else None

    @property
    def report(self) -> Path | None:
        """The report; None where there is none."""
        path = self.folder / EVALUATION / "report.html"
        return path if path.is_file() else None

    @property
    def results(self) -> Mapping[str, Any]:
        """What the training says of itself on its validation rows; empty before it is done."""
        return self.status.get("results") or {}

    @property
    def can_go_on(self) -> bool:
        """Whether it ended before it was done."""
        return self.job.state in ("cancelled", "failed", "lost") and bool(self.plan)

    def metrics(self) -> Metrics:
        """The rows of metrics.jsonl."""
        return list(read_metrics(self.model))


def list_runs(store: Store, actor: Actor, project_id: int) -> list[ModelRun]:
    """The trainings of a project, newest first, one per run directory. Lead or above."""
    newest: dict[str, Job] = {}
    for job in store.jobs.list(actor, project_id, limit=1000):
        if job.kind == KIND:
            newest.setdefault(job.run_dir, job)
    said = store.run_notes.list(actor, project_id)
    return [_with_note(read_run(job), said) for job in newest.values()]


def find_run(store: Store, actor: Actor, project_id: int, number: int) -> ModelRun:
    """The run of a project that has this number, also that of an earlier job of its run directory. Lead or above.

    Raises:
        ValueError: if there is none, naming those there are.
    """
    runs = list_runs(store, actor, project_id)
    for run in runs:
        if run.number == number:
            return run
    jobs = store.jobs.list(actor, project_id, limit=1000)
    run_dir = next((job.run_dir for job in jobs if job.id == number and job.kind == KIND), None)
    if run_dir is not None:
        return next(run for run in runs if run.job.run_dir == run_dir)
    there = ", ".join(str(run.number) for run in runs[:20]) or "none"
    raise ValueError(f"run is {number}, the project's are {there}{' and more' if len(runs) > 20 else ''}")


def get_run(store: Store, actor: Actor, job_id: int) -> ModelRun:
    """One training, under the rights of its job.

    Raises:
        ValueError: if the job is no training.
    """
    job = store.jobs.get(actor, job_id)
    if job.kind != KIND:
        raise ValueError(f"job {job_id} is no training")
    said = store.run_notes.list(actor, job.project_id) if job.project_id is not None else {}
    return _with_note(read_run(job), said)


def _with_note(run: ModelRun, said: Mapping[str, RunNote]) -> ModelRun:
    return replace(run, said=said[run.job.run_dir]) if run.job.run_dir in said else run


def list_policies(runs: Iterable[ModelRun]) -> list[ModelRun]:
    """The policies that are there to begin from, newest first."""
    return [run for run in runs if run.is_policy and run.has_model]


def read_run(job: Job) -> ModelRun:
    """What the run directory of a job says."""
    folder = Path(job.run_dir)
    plan = _plan(folder / PLAN)
    chooses = plan.get("trains") == "bon"
    most = int(plan["config"].get("max_prompts") or 0) if chooses else 0
    return ModelRun(
        job=job,
        plan=plan,
        status=read_choosing(folder, most_prompts=most) if chooses else _status(folder / MODEL),
        evaluation=_evaluation(folder / EVALUATION / "evaluation.json"),
    )


def _status(folder: Path) -> Mapping[str, Any]:
    """Empty where the file is damaged: one such run does not hide all others."""
    try:
        return read_status(folder)
    except (OSError, ValueError):
        return {}


def _evaluation(path: Path) -> Mapping[str, Any]:
    """Of a reward model or a policy; of the former the part that is about preferences."""
    values = _json(path)
    return values.get("evaluation", values) or {}


def model_files(run: ModelRun) -> Iterator[tuple[Path, str]]:
    """The files of a model with their names in an archive: without checkpoints, data and half-written ones."""
    for path in sorted(run.model.rglob("*")):
        inside = path.relative_to(run.model)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not path.is_symlink() and not hidden and inside.parts[0] not in ("checkpoints", "data"):
            yield path, str(inside)


def _plan(path: Path) -> Mapping[str, Any]:
    try:
        return read_plan_values(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _lines(path: Path) -> list[Mapping[str, Any]]:
    """Whole lines of JSON; empty where there are none yet."""
    try:
        text = path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    except (OSError, ValueError):
        return []
