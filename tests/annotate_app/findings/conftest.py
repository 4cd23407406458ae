"""A finished run of a reward model, of which only the card is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate_app.store.jobs import Job
from annotate_app.trainings.runs import ModelRun


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., ModelRun]:
    """A finished reward-model run: `make_run(12, temperature=2.0)`; its members' margins are divided by that."""

    def make(number: int, *, temperature: float = 1.0, **plan: object) -> ModelRun:
        folder = tmp_path / f"run-{number}"
        (folder / "model").mkdir(parents=True)
        calibration = {"kind": "temperature", "temperature": temperature}
        (folder / "model" / "rewardkit.json").write_text(json.dumps({"kind": "tfidf", "calibration": calibration}))
        fields = ("project_id", "started_at", "ended_at", "heartbeat_at", "process")
        job = Job(
            id=number,
            kind="train",
            title="toy",
            command=[],
            run_dir=str(folder),
            state="done",
            created_by="lea",
            created_at=1.0,
            cancel=False,
            message="",
            **dict.fromkeys(fields),  # type: ignore[arg-type]
        )
        return ModelRun(job=job, plan={"trains": "reward"} | plan, status={"state": "done"}, evaluation={})

    return make
