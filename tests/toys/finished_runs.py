"""Trainings of the demo project as they end, with the files that they leave, for tests that draw them."""

from __future__ import annotations

import json
from pathlib import Path

from toy_plans import training_plan
from train_page import demo_of

from annotate_app.access import Actor
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings.training_jobs import start

ADMIN = Actor.command_line()


def queued(store: Store, **values: object) -> Job:
    return start(store, ADMIN, training_plan(project=demo_of(store).name, model="tfidf", mode="head", **values))  # type: ignore[arg-type]


def finished(store: Store, **values: object) -> Job:
    """A training that ended well, with the files that one leaves; no model in it can be asked anything."""
    job = queued(store, **values)
    store.jobs.claim(10)
    store.jobs.finish(job.id, "done")
    model, evaluation = (Path(job.run_dir) / name for name in ("model", "evaluation"))
    model.mkdir()
    evaluation.mkdir()
    figures = {"nll": 0.6, "brier": 0.2, "ece": 0.1}
    results = {"accuracy": 0.75, "accuracy_interval": [0.6, 0.9], "nll": 0.55, "num_train": 200, "num_held_out": 40}
    results |= {"calibration": {"before": figures, "after": figures}, "num_members": 32, "margin_std": 1.5}
    status = {"state": "done", "step": 2, "num_steps": 2, "pid": 1, "results": results}
    (model / "status.json").write_text(json.dumps(status))
    (model / "rewardkit.json").write_text("{}")
    rows = [{"step": n, "time/at": 1.0 * n, "prior_precision": 10.0**n, "eval/nll": 0.7 - 0.1 * n} for n in (1, 2)]
    (model / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bins = [{"predicted": 0.3, "observed": 0.25, "count": 20}]
    overall = {"accuracy": {"value": 0.8, "low": 0.7, "high": 0.9}, "num_pairs": 32}
    (evaluation / "evaluation.json").write_text(json.dumps({"evaluation": {"overall": overall, "bins": bins}}))
    (evaluation / "report.html").write_text("<p>report</p>")
    return job


def sft_done(store: Store) -> Job:
    """An SFT that ended well, with the files that one leaves."""
    job = start(store, ADMIN, training_plan("sft", project=demo_of(store).name))
    store.jobs.claim(10)
    store.jobs.finish(job.id, "done")
    model = Path(job.run_dir) / "model"
    model.mkdir()
    results = {"num_train": 90, "num_held_out": 10, "eval/loss": 2.5, "eval/mean_token_accuracy": 0.4}
    (model / "status.json").write_text(json.dumps({"state": "done", "step": 2, "num_steps": 2, "results": results}))
    (model / "config.json").write_text("{}")
    rows = [{"step": n, "time/at": 1.0 * n, "loss": 3.0 - n, "eval/loss": 3.1 - n} for n in (1, 2)]
    (model / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sample = {"prompt": [{"role": "user", "content": "Where is it?"}], "completion": "*On* its way.", "finished": True}
    (model / "samples.jsonl").write_text("".join(json.dumps({"step": n} | sample) + "\n" for n in (1, 2)))
    return job
