"""What training cost elsewhere: what a plan may ask, which command asks it, and the figures of a run in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_plans import sampling_plan, training_plan

from annotate_app.store.jobs import Job
from annotate_app.trainings.figures import suite_rows
from annotate_app.trainings.plan_files import read_plan, write_plan
from annotate_app.trainings.runs import ModelRun
from annotate_app.trainings.training_jobs import _evaluation

SUITE = ("benign", "gsm8k=/data/gsm8k.jsonl")


def test_a_plan_keeps_its_suite_and_gives_it_to_the_command() -> None:
    for plan in (sampling_plan(suite=SUITE), training_plan("dpo", model="/m", suite=SUITE)):
        assert read_plan(write_plan(plan)) == plan
        words = _evaluation(plan, Path("/runs/1/model"), Path("/runs/1/data"))
        assert words[:2] == ["alignment", "evaluate"]
        assert [word for word in words if "suite" in word] == ["--suite=benign", "--suite=gsm8k=/data/gsm8k.jsonl"]
        assert not any("suite" in word for word in _evaluation(replace(plan, suite=()), Path("/m"), Path("/d")))


@pytest.mark.parametrize(
    ("make", "trains", "values", "reason"),
    [
        (sampling_plan, "grpo", {"suite": ("poetry",)}, "suite names 'poetry', allowed are text"),
        (sampling_plan, "grpo", {"suite": ("gsm8k",)}, "suite gsm8k needs a file"),
        (sampling_plan, "grpo", {"suite": ("gsm8k=data.jsonl",)}, "allowed is the whole path of a file"),
        (sampling_plan, "bon", {"suite": ("benign",)}, "it is for policies that are trained"),
        (training_plan, "reward", {"suite": ("benign",)}, "it is for policies that are trained"),
        (training_plan, "sft", {"suite": ("benign",)}, "tiny is made new, and has no policy to be held against"),
    ],
)
def test_a_suite_that_nothing_could_be_asked_by_is_refused(
    make: Any, trains: str, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        make(trains, **values)


def test_files_of_a_suite_are_for_admins() -> None:
    assert sampling_plan(suite=SUITE).needs_admin
    assert not sampling_plan(suite=("benign", "red_team")).needs_admin


def test_the_figures_of_a_run_stand_in_words() -> None:
    job = Job(
        **{"id": 1, "project_id": 1, "kind": "train", "title": "DPO", "command": [], "run_dir": "/r", "state": "done"},
        **{"created_by": "lea", "created_at": 0.0, "started_at": None, "ended_at": None, "heartbeat_at": None},
        **{"process": None, "cancel": False, "message": ""},
    )  # type: ignore[arg-type]

    def interval(value: float | None, low: float | None, high: float | None) -> dict[str, float | None]:
        return {"value": value, "low": low, "high": high}

    figures = [
        {
            "name": "benign",
            "base": interval(0.25, 0.1, 0.4),
            "trained": interval(0.5, 0.3, 0.7),
            "difference": interval(0.25, 0.05, 0.45),
            "num_items": 20,
        },
        {
            "name": "text",
            "base": interval(2.0, 1.9, 2.1),
            "trained": interval(2.25, 2.1, 2.4),
            "difference": interval(0.25, None, None),
            "num_items": 1200,
        },
    ]
    run = ModelRun(job=job, plan={}, status={}, evaluation={"suite": figures})
    assert suite_rows(run) == [
        {
            "elsewhere": "benign prompts, declined",
            "before": "25.0% (10.0 to 40.0)",
            "after": "50.0% (30.0 to 70.0)",
            "difference": "+25.0 (+5.0 to +45.0)",
            "items": "20",
        },
        {
            "elsewhere": "held-out text, nats a token",
            "before": "2.000 (1.900 to 2.100)",
            "after": "2.250 (2.100 to 2.400)",
            "difference": "+0.250 (too few or too alike to say)",
            "items": "1,200",
        },
    ]
    assert suite_rows(replace(run, evaluation={})) == []
