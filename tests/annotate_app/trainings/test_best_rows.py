"""Best of n as a run: its plan, how far it is, its rows, and a policy that learns from them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_plans import sampling_plan, training_plan

from alignment.config.sampling import BonConfig
from annotate_app.access import Actor
from annotate_app.demo import create_demo
from annotate_app.jobs.worker import keep
from annotate_app.pages.projects import OWN_RUBRIC
from annotate_app.protocol.collection_design import Design
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings.best_rows import SUMMARY, best_curve, first_rows, read_choosing, rows_of
from annotate_app.trainings.figures import summary_row
from annotate_app.trainings.options import ROWS, place_config
from annotate_app.trainings.plan_files import Plan, read_plan, write_plan
from annotate_app.trainings.runs import get_run
from annotate_app.trainings.sampling_plans import SamplingPlan
from annotate_app.trainings.snapshot import SPLITS, take_rows
from annotate_app.trainings.training_jobs import go_on, start
from rewardkit.data.files import read_rows

ADMIN = Actor.command_line()


def plan_of(**values: object) -> SamplingPlan:
    return sampling_plan("bon", **({"reward": ["length:9"], "max_new_tokens": 128} | values))


def test_a_plan_makes_the_configuration_it_says_and_survives_being_written() -> None:
    plan = plan_of(keep="above", threshold=0.75, threshold_of="quantile", n=4, temperature=0.7)
    config = place_config(plan.config, Path("/r"))
    assert isinstance(config, BonConfig)
    assert (config.window, config.json) == (16, True)
    assert (config.model, config.prompts, config.out) == ("/m", "/r/data/train.jsonl", "/r/chosen.jsonl")
    assert (config.n, config.keep, config.threshold, config.threshold_of) == (4, "above", 0.75, "quantile")
    assert (config.reward, config.temperature, config.max_new_tokens) == (["length:9"], 0.7, 128)
    assert read_plan(write_plan(plan)) == plan
    assert plan.title({"/m": "run 1"}) == "Best of 4, run 1, those above a threshold, by length:9"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"keep": "above"}, "a threshold goes with keep above"),
        ({"keep": "some"}, "keep is 'some', allowed are best, above, pairs"),
        ({"soft_labels": True}, "soft_labels are for keep pairs"),
        ({"n": 1}, "n is 1"),
        ({"held_out": 0.1}, "held_out is 0.1, allowed is 0"),
        ({"reward": []}, "reward is missing"),
        ({"window": 4}, "window is set by the app"),
        ({"temperature": 0}, "temperature is 0"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        plan_of(**values)


def test_how_far_it_is_is_read_off_its_files(tmp_path: Path) -> None:
    assert read_choosing(tmp_path) == {}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("{}\n" * 5)
    assert read_choosing(tmp_path) == {"state": "running", "step": 0, "num_steps": 5}
    (tmp_path / f"{ROWS}.partial").write_text("{}\n" * 3)  # how they are made, and two prompts
    assert read_choosing(tmp_path, most_prompts=4) == {"state": "running", "step": 2, "num_steps": 4}
    (tmp_path / ROWS).write_text('{"prompt": "x"}\n')
    assert read_choosing(tmp_path)["state"] == "done"
    curve = [{"k": k, "reward": {"value": 0.1 * k, "low": 0, "high": 1}, "audit": None, "kl": 0.0} for k in (1, 2)]
    (tmp_path / SUMMARY).write_text(json.dumps({"num_rows": 1, "curve": curve}))
    results = read_choosing(tmp_path)["results"]
    assert [(row["at"], row["value"]) for row in best_curve(results, "reward", "r")] == [(1, 0.1), (2, 0.2)]
    assert best_curve(results, "audit", "a") == []


def row_of(number: int, **values: object) -> dict[str, object]:
    return {"prompt": [{"role": "user", "content": f"Question {number // 2}"}]} | values


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_rows_are_split_by_prompt_and_single_answers_are_not_for_dpo(tmp_path: Path) -> None:
    file = tmp_path / ROWS
    rows = [row_of(number, completion=answer(f"a{number}")) for number in range(80)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sft = training_plan("sft", rows_of=3, held_out=0.2)
    take_rows(file, sft, tmp_path / "data")
    sides = [[str(row["prompt"]) for _, row in read_rows(str(tmp_path / "data" / f"{name}.jsonl"))] for name in SPLITS]
    assert sum(map(len, sides)) == 80
    assert len(set(sides[0]) | set(sides[1]) | set(sides[2])) == sum(len(set(side)) for side in sides) == 40
    with pytest.raises(ValueError, match="DPO learns from pairs"):
        take_rows(file, training_plan("dpo", rows_of=3), tmp_path / "pairs")
    file.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(ValueError, match="best of n gave 1 rows, too few"):
        take_rows(file, sft, tmp_path / "few")
    assert not (tmp_path / "few").exists()


def test_rows_go_with_no_choice_of_votes_and_with_no_reward_model() -> None:
    assert training_plan("sft", rows_of=3).title({}) == "SFT, tiny, full, rows of run 3"
    with pytest.raises(ValueError, match="rows_of is for policies"):
        training_plan(rows_of=3)
    with pytest.raises(ValueError, match="carry no votes"):
        training_plan("sft", rows_of=3, min_votes=2)


@pytest.fixture
def carried_out(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan | Job], Job]:
    """Queues a plan in the demo project, or takes a queued job, and does what the worker does with it."""
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    store = Store.open(sqlite_url)
    create_demo(store, now=1_700_000_000.0)

    def carry(what: Plan | Job) -> Job:
        job = what if isinstance(what, Job) else start(store, ADMIN, what)
        assert store.jobs.claim(10) is not None
        keep(store, job.id)
        return store.jobs.get(ADMIN, job.id)

    return carry


@pytest.mark.slow
def test_best_of_n_makes_pairs_that_dpo_learns_from_and_online_dpo_makes_its_own(carried_out, sqlite_url) -> None:
    pytest.importorskip("transformers")
    store = Store.open(sqlite_url)
    [project] = store.projects.list(ADMIN)
    name, few = project.name, {"max_steps": 2}
    sft = carried_out(training_plan("sft", project=name, **few))
    model = str(Path(sft.run_dir) / "model")
    draws: dict[str, Any] = {
        "project": name,
        "model": model,
        "reward": ["length:8", "0.5*regex:e"],
        "max_new_tokens": 8,
    }
    best = carried_out(sampling_plan("bon", **draws, keep="pairs", n=3, audit_reward=["json"], max_prompts=40))
    assert (best.state, best.message) == ("done", "")
    run = get_run(store, ADMIN, best.id)
    assert run.status["state"] == "done"
    assert run.results["num_prompts"] == run.status["num_steps"] == 40
    assert len(run.results["curve"]) == 3
    assert run.rows is not None
    assert {"prompt", "chosen", "rejected", "margin"} <= {*first_rows(run.folder, 1)[0]}
    row = summary_row(run)
    assert (row["trains"], row["rows"]) == ("best of n", run.results["num_rows"])
    assert row["teaches"] == "length:8 + 0.5 regex:e"
    assert not run.has_model
    with pytest.raises(ValueError, match="under way or done"):
        go_on(store, ADMIN, best.id)
    values: dict[str, Any] = {"model": model, "rows_of": best.id, "held_out": 0.2} | few
    dpo = carried_out(training_plan("dpo", project=name, **values))
    assert (dpo.state, dpo.message) == ("done", "")
    run = get_run(store, ADMIN, dpo.id)
    assert run.has_model
    assert run.report is not None
    assert summary_row(run)["teaches"] == f"rows of run {best.id}"
    size: dict[str, Any] = {"prompts_per_step": 2, "completions_per_prompt": 2, "max_steps": 2, "audit_samples": 0}
    online = carried_out(sampling_plan("online-dpo", **draws, **size, audit_prompts=2))
    assert (online.state, online.message) == ("done", "")
    run = get_run(store, ADMIN, online.id)
    assert run.is_online
    assert run.has_model
    assert summary_row(run)["trains"] == "online DPO"
    names = {name for row in run.metrics() for name in row}
    assert {"rewards/length/mean", "rewards/regex/mean", "reward/raw", "kl"} <= names
    other = store.projects.create(ADMIN, "other", rubric_text=OWN_RUBRIC, design=Design())
    with pytest.raises(ValueError, match="has no rows to learn from in other"):
        rows_of(store, ADMIN, other.name, best.id)
    with pytest.raises(ValueError, match="has no rows to learn from"):
        start(store, ADMIN, training_plan("sft", project=name, rows_of=sft.id))
    store.close()


@pytest.mark.slow
def test_a_cancelled_best_of_n_keeps_what_was_drawn_and_goes_on_from_it(carried_out, sqlite_url) -> None:
    pytest.importorskip("transformers")
    store = Store.open(sqlite_url)
    [project] = store.projects.list(ADMIN)
    sft = carried_out(training_plan("sft", project=project.name, max_steps=1))
    model = str(Path(sft.run_dir) / "model")
    size: dict[str, Any] = {"n": 48, "max_new_tokens": 32, "max_prompts": 64}
    plan = sampling_plan("bon", project=project.name, model=model, reward=["length:8"], **size)
    job = start(store, ADMIN, plan)
    store.jobs.claim()
    keeper = subprocess.Popen([sys.executable, "-m", "annotate_app.jobs.worker", str(job.id)], env=dict(os.environ))
    deadline = time.monotonic() + 120
    while not get_run(store, ADMIN, job.id).status.get("step"):
        assert time.monotonic() < deadline
        assert keeper.poll() is None
        time.sleep(0.1)
    store.jobs.cancel(ADMIN, job.id)
    keeper.wait(60)
    run = get_run(store, ADMIN, job.id)
    assert (run.job.state, run.rows, run.can_go_on) == ("cancelled", None, True)
    kept = run.status["step"]
    assert 0 < kept < run.status["num_steps"]
    again = carried_out(go_on(store, ADMIN, job.id))
    assert (again.state, again.message) == ("done", "")
    assert get_run(store, ADMIN, again.id).results["num_continued"] == kept
    store.close()
