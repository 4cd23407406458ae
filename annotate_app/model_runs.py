"""Trainings as pages see them: a job and its run directory read together; what is under way, what came of the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alignment.alarms import Alarm, read_alarms
from annotate_app.access import Actor
from annotate_app.store.jobs import ENDED, Job
from annotate_app.store.store import Store
from annotate_app.trainings import EVALUATION, KIND, MODEL, PLAN
from rewardkit.card import CARD_FILE
from rewardkit.runs import read_metrics, read_status

MOST_POINTS = 400
"""Of one curve on a page."""

TRAINS_WORDS = {"reward": "reward model", "sft": "SFT", "dpo": "DPO", "ppo": "PPO", "grpo": "GRPO"}

Metrics = list[dict[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """One training.

    Attributes:
        job: the newest of its run directory.
        plan: what was asked for, plain values; empty where it cannot be read.
        status: of the training's command; empty before it began.
        evaluation: what `rewardkit evaluate`, of a policy `alignment evaluate`, found; empty before.
    """

    job: Job
    plan: Mapping[str, Any]
    status: Mapping[str, Any]
    evaluation: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For people: its number and what it trains."""
        return f"{self.job.id}: {self.job.title}"

    @property
    def under_way(self) -> bool:
        """Whether it waits or runs."""
        return self.job.state not in ENDED

    @property
    def folder(self) -> Path:
        """The run directory."""
        return Path(self.job.run_dir)

    @property
    def model(self) -> Path:
        """The run of `rewardkit train`, in which the model lies."""
        return self.folder / MODEL

    @property
    def trains(self) -> str:
        """One of `annotate_app.training_options.Trains`."""
        return str(self.plan.get("trains") or "reward")

    @property
    def has_model(self) -> bool:
        """Whether a whole model is there."""
        files = (CARD_FILE,) if self.trains == "reward" else ("config.json", "adapter_config.json")
        return self.status.get("state") == "done" and any((self.model / name).is_file() for name in files)

    @property
    def is_scorer(self) -> bool:
        """Whether it can be asked for rewards."""
        return self.trains == "reward" and self.has_model

    @property
    def samples(self) -> dict[int, list[Mapping[str, Any]]]:
        """By step in which it was asked, what a policy wrote: prompt, completion, finished; online its reward too."""
        by_step: dict[int, list[Mapping[str, Any]]] = {}
        for line in _lines(self.model / "samples.jsonl") if self.trains != "reward" else []:
            by_step.setdefault(int(line["step"]), []).append(line)
        return by_step

    @property
    def alarms(self) -> list[Alarm]:
        """What the watcher of an online training raised, newest first; none where the file cannot be read."""
        try:
            return read_alarms(self.model)[::-1]
        except (OSError, ValueError, TypeError, KeyError):
            return []

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
    return [read_run(job) for job in newest.values()]


def get_run(store: Store, actor: Actor, job_id: int) -> ModelRun:
    """One training, under the rights of its job.

    Raises:
        ValueError: if the job is no training.
    """
    job = store.jobs.get(actor, job_id)
    if job.kind != KIND:
        raise ValueError(f"job {job_id} is no training")
    return read_run(job)


def list_policies(runs: Iterable[ModelRun]) -> list[ModelRun]:
    """The policies that are there to begin from, newest first."""
    return [run for run in runs if run.trains != "reward" and run.has_model]


def read_run(job: Job) -> ModelRun:
    """What the run directory of a job says."""
    folder = Path(job.run_dir)
    return ModelRun(
        job=job,
        plan=_yaml(folder / PLAN),
        status=read_status(folder / MODEL),
        evaluation=_evaluation(folder / EVALUATION / "evaluation.json"),
    )


def _evaluation(path: Path) -> Mapping[str, Any]:
    """Of a reward model or a policy; of the former the part that is about preferences."""
    values = _json(path)
    return values.get("evaluation", values) or {}


def seconds_left(run: ModelRun, metrics: Metrics) -> float | None:
    """How long the training still takes at the pace of its last steps; None where that is not known."""
    steps = [row for row in metrics if row.get("time/at") is not None]
    num_steps = int(run.status.get("num_steps") or 0)
    if not steps or not num_steps or "loss" not in steps[-1]:
        return None
    last, first = steps[-1], steps[max(0, len(steps) - 51)]
    if last is first:
        return (num_steps - last["step"]) * (last.get("time/step_s") or 0.0) or None  # type: ignore[operator]
    pace = (last["time/at"] - first["time/at"]) / max(1.0, last["step"] - first["step"])  # type: ignore[operator]
    return max(0.0, (num_steps - last["step"]) * pace)  # type: ignore[operator]


def curve(metrics: Metrics, name: str, series: str, *, over: str = "step") -> list[dict[str, object]]:
    """One figure of the metrics as chart rows: `at`, `value`, `series`; long ones thinned to 400 points."""
    rows = [row for row in metrics if row.get(name) is not None and row.get(over) is not None]
    every = -(-len(rows) // MOST_POINTS) or 1
    kept = [row for number, row in enumerate(rows) if number % every == 0 or number == len(rows) - 1]
    return [{"at": row[over], "value": row[name], "series": series} for row in kept]


def calibration_rows(run: ModelRun) -> list[dict[str, object]]:
    """NLL, Brier score and ECE on the validation rows, before and after calibration."""
    fitted = run.results.get("calibration") or {}
    before, after = fitted.get("before") or {}, fitted.get("after") or {}
    names = {"nll": "NLL", "brier": "Brier score", "ece": "Calibration error (ECE)"}
    return [
        {"figure": said, "when": when, "value": values[name]}
        for name, said in names.items()
        for when, values in (("before", before), ("after", after))
        if values.get(name) is not None
    ]


def summary_row(run: ModelRun) -> dict[str, object]:
    """One line of a table of runs."""
    plan = run.plan
    test = ((run.evaluation.get("overall") or {}).get("accuracy") or {}).get("value")
    return {
        "run": run.name,
        "trains": TRAINS_WORDS.get(run.trains, run.trains),
        "state": run.job.state,
        "alarms": ", ".join(dict.fromkeys(alarm.title for alarm in run.alarms if alarm.is_open)),
        "started": run.job.created_at,
        "took": (run.job.ended_at or 0) - (run.job.started_at or 0)
        if run.job.ended_at and run.job.started_at
        else None,
        "teaches": plan.get("criterion") or plan.get("teaches") or _reward_name(str(plan.get("reward", ""))),
        "members": run.results.get("num_members") or plan.get("ensemble"),
        "rows": run.results.get("num_train"),
        "validation accuracy": run.results.get("accuracy", run.results.get("eval/rewards/accuracies")),
        "validation NLL": run.results.get("nll"),
        "validation loss": run.results.get("eval/loss"),
        "test accuracy": test,
        "reward": run.results.get("eval/raw"),
        "audit reward": run.results.get("eval/reward"),
    }


def _reward_name(reward: str) -> str:
    """What answers are rewarded by, short: not the folder that a reward model lies in."""
    return "a reward model" if reward.startswith("/") and ".py:" not in reward else reward


def differences(runs: Sequence[ModelRun]) -> list[dict[str, str]]:
    """The options in which runs differ, a row an option, a column a run."""
    configs = {run.name: _flat(run.plan) for run in runs}
    names = dict.fromkeys(name for values in configs.values() for name in values)
    rows = [
        {"option": name} | {run: str(values.get(name, "default")) for run, values in configs.items()} for name in names
    ]
    return [row for row in rows if len({value for name, value in row.items() if name != "option"}) > 1]


def model_files(run: ModelRun) -> Iterator[tuple[Path, str]]:
    """The files of a model with their names in an archive: without checkpoints, data and half-written ones."""
    for path in sorted(run.model.rglob("*")):
        inside = path.relative_to(run.model)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not path.is_symlink() and not hidden and inside.parts[0] not in ("checkpoints", "data"):
            yield path, str(inside)


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in plan.items() if name not in ("advanced", "project")}
    return values | dict(plan.get("advanced") or {})


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


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


def overlaid(runs: Iterable[ModelRun], name: str) -> list[dict[str, object]]:
    """One figure of several runs as chart rows."""
    return [row for run in runs for row in curve(run.metrics(), name, run.name)]
