"""Figures of trainings as rows of tables and charts; the trainings themselves are in `annotate_app.trainings.runs`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from alignment.config.sampling import SUITE
from annotate_app.trainings.options import TRAININGS
from annotate_app.trainings.runs import Metrics, ModelRun
from annotate_app.trainings.sampling_plans import reward_words
from rewardkit.report.table import interval_text, number_text, points_text, signed_text
from rewardkit.stats.metrics import Interval

MOST_POINTS = 400
"""Of one curve on a page."""


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
    thinned = [row for number, row in enumerate(rows) if number % every == 0 or number == len(rows) - 1]
    return [{"at": row[over], "value": row[name], "series": series} for row in thinned]


def overlaid(runs: Iterable[ModelRun], name: str, *, over: str = "step") -> list[dict[str, object]]:
    """One figure of several runs as chart rows."""
    return [row for run in runs for row in curve(run.metrics(), name, run.name, over=over)]


def calibration_rows(run: ModelRun) -> list[dict[str, object]]:
    """NLL, Brier score and ECE on the validation rows, before and after calibration."""
    fitted = run.results.get("calibration") or {}
    before, after = fitted.get("before") or {}, fitted.get("after") or {}
    names = {"nll": "NLL", "brier": "Brier score", "ece": "Calibration error (ECE)"}
    return [
        {"figure": figure, "when": when, "value": values[name]}
        for name, figure in names.items()
        for when, values in (("before", before), ("after", after))
        if values.get(name) is not None
    ]


def matching(
    runs: Iterable[ModelRun],
    *,
    text: str = "",
    tags: Collection[str] = (),
    trains: Collection[str] = (),
    states: Collection[str] = (),
    archived: bool = False,
) -> list[ModelRun]:
    """The runs that a filter lets through, in their order.

    Args:
        text: every word of it is in the number, title, name, note, tags or what trains, letters' case aside.
        tags: all of them stand on a run.
        trains, states: one of them is a run's; empty for any.
        archived: whether archived runs are let through too.
    """
    words = text.casefold().split()
    return [
        run
        for run in runs
        if (archived or not run.said.archived)
        and set(tags) <= set(run.said.tags)
        and (not trains or run.trains in trains)
        and (not states or run.job.state in states)
        and all(word in _told_of(run) for word in words)
    ]


def _told_of(run: ModelRun) -> str:
    parts = (run.name, run.job.title, run.said.note, *run.said.tags, trains_words(run), run.job.created_by)
    return "\n".join(parts).casefold()


def trains_words(run: ModelRun) -> str:
    """What a run trains, for people."""
    return TRAININGS[run.trains].words if run.trains in TRAININGS else run.trains


def first_to_show(runs: Sequence[ModelRun]) -> ModelRun | None:
    """The newest run that has something to show, else the newest; None of none."""
    return next((run for run in runs if run.has_something_to_show), runs[0] if runs else None)


def summary_row(run: ModelRun) -> dict[str, object]:
    """One line of a table of runs."""
    test = ((run.evaluation.get("overall") or {}).get("accuracy") or {}).get("value")
    open_alarms = [alarm.title for alarm in run.alarms if alarm.is_open]
    best = (run.results.get("curve") or [{}])[-1]  # of best of n: the best of all that were drawn
    return {
        "run": run.name,
        "trains": trains_words(run),
        "state": run.job.state,
        "tags": list(run.said.tags),
        "alarms": "cannot be read" if run.has_unreadable_alarms else ", ".join(dict.fromkeys(open_alarms)),
        "started": run.job.created_at,
        "took": (run.job.ended_at or 0) - (run.job.started_at or 0)
        if run.job.ended_at and run.job.started_at
        else None,
        "teaches": _taught_by(run),
        "members": run.results.get("num_members") or run.option("ensemble"),
        "rows": run.results.get("num_train", run.results.get("num_rows")),
        "validation accuracy": run.results.get("accuracy", run.results.get("eval/rewards/accuracies")),
        "validation NLL": run.results.get("nll"),
        "validation loss": run.results.get("eval/loss"),
        "test accuracy": test,
        "reward": run.results.get("eval/raw", (best.get("reward") or {}).get("value")),
        "audit reward": run.results.get("eval/reward", (best.get("audit") or {}).get("value")),
    }


def _taught_by(run: ModelRun) -> str:
    """Names the data of a training: a criterion, the overall choice, rows of another run, or its rewards."""
    if run.plan.get("rows_of"):
        return f"rows of run {run.plan['rows_of']}"
    if rewards := run.option("reward"):
        models = {reward.rpartition("*")[2]: "a reward model" for reward in rewards}
        return " + ".join(reward_words(reward, models) for reward in rewards)
    return str(run.plan.get("criterion") or ("all" if run.option("criteria") else "overall" if run.plan else ""))


def differences(runs: Sequence[ModelRun]) -> list[dict[str, str]]:
    """The options in which runs differ, a row an option, a column a run; of different trainings those that all have.

    Of a run whose plan cannot be read no option is known.
    """
    configs = {run.name: _flat(run.plan) for run in runs}
    names = dict.fromkeys(name for values in configs.values() for name in values)
    if len({run.trains for run in runs}) > 1:
        names = {name: None for name in names if all(name in values for values in configs.values())}
    rows = [
        {"option": name} | {run: _shown(values.get(name)) if values else "not known" for run, values in configs.items()}
        for name in names
    ]
    return [row for row in rows if len({value for name, value in row.items() if name != "option"}) > 1]


def _shown(value: object) -> str:
    if value is None:
        return "default"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in plan.items() if name not in ("config", "project")}
    return values | dict(plan.get("config") or {})


def suite_rows(run: ModelRun) -> list[dict[str, str]]:
    """What training cost elsewhere in words, a row a part of the suite; differences of shares are in points."""
    rows = []
    for figure in run.evaluation.get("suite") or []:
        before, after, difference = (
            Interval(**{name: math.nan if value is None else value for name, value in figure[side].items()})
            for side in ("base", "trained", "difference")
        )
        is_share = figure["name"] != "text"
        rows.append(
            {
                "elsewhere": SUITE.get(figure["name"], figure["name"]),
                "before": interval_text(before) if is_share else number_text(before, 3),
                "after": interval_text(after) if is_share else number_text(after, 3),
                "difference": points_text(difference) if is_share else signed_text(difference, 3),
                "items": f"{figure['num_items']:,}",
            }
        )
    return rows
