"""A training as a job: snapshot, model, report, in its run directory; cancelled, continued, refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_plans import sampling_plan, training_plan

from annotate_app.access import AccessError, Actor
from annotate_app.demo import create_demo
from annotate_app.jobs.worker import keep
from annotate_app.pages.projects import OWN_RUBRIC
from annotate_app.protocol.collection_design import Design
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings.audit_rounds import list_rounds, send_round
from annotate_app.trainings.figures import calibration_rows, curve, differences, suite_rows, summary_row
from annotate_app.trainings.plan_files import Plan, read_plan
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.trainings.runs import get_run, list_runs, model_files
from annotate_app.trainings.snapshot import criterion_rows, take_snapshot
from annotate_app.trainings.training_jobs import carry_out, go_on, start
from rewardkit.data.files import read_rows
from rewardkit.data.records import Message, Preference

ADMIN = Actor.command_line()


def plan_of(store: Store, **values: object) -> TrainingPlan:
    [project] = store.projects.list(ADMIN)
    model = {} if values.get("trains") or values.get("model") else {"model": "tfidf", "mode": "head"}
    return training_plan(**({"project": project.name} | model | values))  # type: ignore[arg-type]


@pytest.fixture
def demo_store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The demo project in a database of its own."""
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    store = Store.open(sqlite_url)
    create_demo(store, now=1_700_000_000.0)
    return store


@pytest.fixture
def carried_out(demo_store: Store) -> Callable[[Job], Job]:
    """Does what the worker does with a queued job; the job as it ended."""

    def carry(job: Job) -> Job:
        claimed = demo_store.jobs.claim(10)
        assert claimed is not None
        assert claimed.id == job.id
        keep(demo_store, job.id)
        return demo_store.jobs.get(ADMIN, job.id)

    return carry


def test_rows_are_turned_to_the_criterion_and_those_without_it_left_out():
    def row(degree: float | None) -> Preference:
        criteria = {} if degree is None else {"tone": degree}
        return Preference(
            prompt=(Message(role="user", content="Hi"),),
            chosen="x",
            rejected="y",
            criteria=criteria,
            votes={"chosen": 2},
            source_chosen="mx",
            source_rejected="my",
        )

    rows = list(criterion_rows([row(1.5), row(-0.5), row(0.0), row(None)], "tone"))
    assert [(r.chosen, r.p_chosen, r.margin, r.source_chosen) for r in rows] == [
        ("x", 1.0, 1.5, "mx"),
        ("y", 1.0, 0.5, "my"),  # better by tone, though rejected overall
        ("x", 0.5, 0.0, "mx"),
    ]
    assert all(r.votes == {} and r.criteria == {} for r in rows)


def test_the_snapshot_splits_by_prompt_and_follows_the_export_flags(demo_store, tmp_path):
    def prompts(folder: Path, split: str) -> list[str]:
        return [str(row["prompt"]) for _, row in read_rows(str(folder / f"{split}.jsonl"))]

    take_snapshot(demo_store, ADMIN, plan_of(demo_store), tmp_path / "all")
    sides = [set(prompts(tmp_path / "all", split)) for split in ("train", "validation", "test")]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    take_snapshot(demo_store, ADMIN, plan_of(demo_store, min_agreement=0.9), tmp_path / "sure")
    assert 0 < len(prompts(tmp_path / "sure", "train")) < len(prompts(tmp_path / "all", "train"))
    take_snapshot(demo_store, ADMIN, plan_of(demo_store, criterion="tone"), tmp_path / "tone")
    rows = [row for _, row in read_rows(str(tmp_path / "tone" / "train.jsonl"))]
    assert rows
    assert not any(row.get("criteria") for row in rows)


def test_a_snapshot_without_rows_is_refused_and_leaves_none(demo_store, tmp_path):
    plan = plan_of(demo_store, criterion="nobody judged this")
    with pytest.raises(ValueError, match="there is nothing for train"):
        take_snapshot(demo_store, ADMIN, plan, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_training_is_queued_as_words_without_any_path_and_by_leads_only(demo_store):
    job = start(demo_store, ADMIN, plan_of(demo_store))
    assert job.command == ["annotate_app", "train"]
    assert Path(job.run_dir).parent.name == "jobs"
    assert read_plan((Path(job.run_dir) / "training.yaml").read_text()) == plan_of(demo_store)
    user = demo_store.people.add(ADMIN, "anna", role="annotator")
    with pytest.raises(AccessError):
        start(demo_store, demo_store.people.actor_of(user), plan_of(demo_store))


def test_what_is_not_installed_is_said_before_anything_is_queued(demo_store, monkeypatch):
    monkeypatch.setattr("annotate_app.trainings.plans.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r'tfidf needs scikit-learn: pip install "tiebreak\[train\]"'):
        start(demo_store, ADMIN, plan_of(demo_store))
    assert not demo_store.jobs.list(ADMIN)


@pytest.mark.slow
def test_tfidf_from_the_demo_ends_with_model_and_report_and_is_continued_only_if_it_broke_off(demo_store, carried_out):
    pytest.importorskip("sklearn")
    job = carried_out(start(demo_store, ADMIN, plan_of(demo_store)))
    assert (job.state, job.message) == ("done", "")
    [run] = list_runs(demo_store, ADMIN, job.project_id)
    assert run.has_model
    assert run.report is not None
    assert run.evaluation["overall"]["accuracy"]["value"] > 0.6
    assert run.results["accuracy"] > 0.6
    assert {row["when"] for row in calibration_rows(run)} == {"before", "after"}
    assert curve(run.metrics(), "eval/nll", "s", over="prior_precision")
    assert summary_row(run)["test accuracy"] == run.evaluation["overall"]["accuracy"]["value"]
    names = {name for _, name in model_files(run)}
    assert {"rewardkit.json", "config.yaml"} <= names
    assert not any(name.startswith(("checkpoints", "data/")) for name in names)
    with pytest.raises(ValueError, match="under way or done"):
        go_on(demo_store, ADMIN, job.id)
    (run.folder / "evaluation" / "status.json").unlink()  # as if it had been killed while it wrote the report
    done_at = run.status["updated_at"]
    assert carry_out(demo_store, ADMIN, run.folder) == 0
    again = get_run(demo_store, ADMIN, job.id)
    assert again.report is not None
    assert again.status["updated_at"] == done_at  # the model was not trained twice


@pytest.mark.slow
def test_dpo_goes_on_from_what_sft_wrote_and_is_held_against_it(demo_store, carried_out):
    pytest.importorskip("transformers")
    policy = {"max_steps": 3}
    sft = carried_out(start(demo_store, ADMIN, plan_of(demo_store, trains="sft", model="tiny", **policy)))
    assert (sft.state, sft.message) == ("done", "")
    run = get_run(demo_store, ADMIN, sft.id)
    assert run.has_model
    assert not run.is_scorer
    assert run.report is None  # there is nothing that a policy made here could be held against
    assert run.samples
    assert run.results["eval/loss"] > 0
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {name for _, name in model_files(run)}
    plan = plan_of(demo_store, trains="dpo", model=str(run.model), beta=0.3, suite=("benign",), **policy)
    dpo = carried_out(start(demo_store, ADMIN, plan))
    assert (dpo.state, dpo.message) == ("done", "")
    run = get_run(demo_store, ADMIN, dpo.id)
    assert run.report is not None
    assert {kl["estimator"] for kl in run.evaluation["kl"]} == {"k1", "k3"}
    assert [(row["elsewhere"], row["items"]) for row in suite_rows(run)] == [("benign prompts, declined", "20")]
    first = next(row for row in run.metrics() if "loss" in row)
    assert first["loss"] == pytest.approx(0.6931, abs=2e-3)  # ln 2: policy and reference are the same
    assert summary_row(run)["trains"] == "DPO"


@pytest.mark.slow
def test_grpo_learns_from_a_check_and_its_audit_is_sent_to_people(demo_store, carried_out):
    pytest.importorskip("transformers")
    policy = {"model": "tiny", "max_steps": 2}
    sft = carried_out(start(demo_store, ADMIN, plan_of(demo_store, trains="sft", **policy)))
    [project] = demo_store.projects.list(ADMIN)
    plan = sampling_plan(
        "grpo",
        project=project.name,
        model=str(Path(sft.run_dir) / "model"),
        reward=["length:8"],
        audit_reward=["regex:e"],
        max_steps=3,
        prompts_per_step=2,
        completions_per_prompt=2,
        max_new_tokens=8,
        audit_samples=2,
        audit_every=3,
        audit_prompts=2,
        sample_every=2,
    )
    job = carried_out(start(demo_store, ADMIN, plan))
    assert (job.state, job.message) == ("done", "")
    run = get_run(demo_store, ADMIN, job.id)
    assert run.has_model
    assert run.report is not None
    assert {*run.samples} == {1, 2, 3}
    assert {"eval/raw", "eval/reward", "eval/kl"} <= {*run.results}
    assert summary_row(run)["trains"] == "GRPO"
    assert list_rounds(run) == {3: 2}
    other = demo_store.projects.create(ADMIN, "blind", rubric_text=OWN_RUBRIC, design=Design())
    sent = send_round(demo_store, ADMIN, job.id, 3, other.id)
    assert sent.num_added + sent.num_left_out == 2


@pytest.mark.slow
@pytest.mark.parametrize("trains", ["reward", "grpo"])
def test_a_cancelled_training_leaves_a_checkpoint_and_goes_on_from_it(demo_store, carried_out, trains):
    pytest.importorskip("transformers")
    plan: Plan = plan_of(demo_store, model="tiny", epochs=30)
    if trains == "grpo":
        first = plan_of(demo_store, trains="sft", model="tiny", max_steps=1)
        model = Path(carried_out(start(demo_store, ADMIN, first)).run_dir) / "model"
        few = {"max_steps": 5000, "prompts_per_step": 2, "completions_per_prompt": 2, "max_new_tokens": 8}
        plan = sampling_plan("grpo", project=plan.project, model=str(model), **few)
    job = start(demo_store, ADMIN, plan)
    demo_store.jobs.claim()
    keeper = subprocess.Popen([sys.executable, "-m", "annotate_app.jobs.worker", str(job.id)], env=dict(os.environ))
    deadline = time.monotonic() + 120
    while not get_run(demo_store, ADMIN, job.id).status.get("step"):
        assert time.monotonic() < deadline
        assert keeper.poll() is None
        time.sleep(0.2)
    demo_store.jobs.cancel(ADMIN, job.id)
    keeper.wait(130)
    run = get_run(demo_store, ADMIN, job.id)
    assert run.job.state == "cancelled"
    assert run.status["state"] == "cancelled"
    assert run.can_go_on
    assert not run.has_model
    step = run.status["step"]
    second = go_on(demo_store, ADMIN, job.id)
    assert second.run_dir == job.run_dir
    demo_store.jobs.claim()
    keeper = subprocess.Popen([sys.executable, "-m", "annotate_app.jobs.worker", str(second.id)], env=dict(os.environ))
    while get_run(demo_store, ADMIN, second.id).status.get("first_step") != step:
        assert time.monotonic() < deadline + 120
        assert keeper.poll() is None
        time.sleep(0.2)
    demo_store.jobs.cancel(ADMIN, second.id)
    keeper.wait(130)
    assert list_runs(demo_store, ADMIN, job.project_id)[0].job.id == second.id
    assert get_run(demo_store, ADMIN, second.id).folder == run.folder


def test_runs_are_compared_by_what_was_asked_differently(demo_store):
    first = start(demo_store, ADMIN, plan_of(demo_store))
    second = start(demo_store, ADMIN, plan_of(demo_store, min_votes=3, seed=5))
    runs = [get_run(demo_store, ADMIN, job.id) for job in (first, second)]
    columns = [run.name for run in runs]
    assert [tuple(row[name] for name in ("option", *columns)) for row in differences(runs)] == [
        ("min_votes", "1", "3"),
        ("seed", "0", "5"),
    ]
    assert runs[0].under_way
    assert not runs[0].has_model
    assert runs[0].report is None


def test_only_trainings_are_runs(demo_store):
    [project] = demo_store.projects.list(ADMIN)
    other = demo_store.jobs.add(ADMIN, "export", "x", ["annotate_app", "export"], project.id)
    assert list_runs(demo_store, ADMIN, project.id) == []
    with pytest.raises(ValueError, match="is no training"):
        get_run(demo_store, ADMIN, other.id)
    with pytest.raises(ValueError, match="is no training"):
        go_on(demo_store, ADMIN, other.id)
