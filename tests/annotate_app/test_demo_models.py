"""The demo's models: planned as the page would, queued once for good, and told of on the overview."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate_app import demo_models
from annotate_app.access import Actor
from annotate_app.demo import create_demo
from annotate_app.demo_models import DEMO, NUM_MODELS, demo_jobs, queue_models
from annotate_app.jobs.worker import keep
from annotate_app.pages.overview import say_ended, say_under_way, share_of
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.plan_files import read_plan
from annotate_app.trainings.runs import get_run, read_run
from annotate_app.trainings.sampling_plans import SamplingPlan
from annotate_app.trainings.training_jobs import PLAN, go_on, start

ADMIN = Actor.command_line()


@pytest.fixture
def store(demo_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """In the working directory, as the database of `make start` is: run directories are relative then."""
    shutil.copy(demo_file, tmp_path / "demo.db")
    monkeypatch.chdir(tmp_path)
    with Store.open("sqlite:///demo.db", migrate=False) as store:
        yield store


@pytest.fixture
def demo(store: Store) -> Project:
    return create_demo(store)


def test_two_reward_models_and_two_policies_are_queued_in_the_order_in_which_they_need_each_other(store, demo):
    jobs = queue_models(store, demo)
    assert [read_run(job).trains for job in jobs] == ["reward", "reward", "sft", "grpo"]
    assert [job.state for job in jobs] == ["queued"] * NUM_MODELS
    assert [job.id for job in jobs] == sorted(job.id for job in jobs)
    aligned = read_plan((Path(jobs[3].run_dir) / PLAN).read_text())
    assert isinstance(aligned, SamplingPlan)
    tfidf, tiny, taught = (str(read_run(job).model) for job in jobs[:3])
    assert (aligned.config.model, aligned.config.reward, aligned.config.audit_reward) == (taught, [tiny], [tfidf])
    assert f"run {jobs[2].id}," in jobs[3].title
    assert jobs[3].title.endswith(f"by run {jobs[1].id}")


def test_a_second_start_queues_nothing_whatever_became_of_the_first(store, demo):
    jobs = queue_models(store, demo)
    assert queue_models(store, demo) == []
    store.jobs.cancel(ADMIN, jobs[3].id)
    for state in ("done", "failed", "lost"):
        claimed = store.jobs.claim()
        assert claimed is not None
        store.jobs.finish(claimed.id, state)
    for job in jobs:
        shutil.rmtree(job.run_dir)
    assert queue_models(store, demo) == []
    assert not any(Path(job.run_dir).exists() for job in jobs)
    assert len(store.jobs.list(ADMIN, demo.id)) == NUM_MODELS


def test_another_server_on_the_same_database_queues_nothing(store, demo):
    queue_models(store, demo)
    with Store.open(store.database.url) as other:
        assert queue_models(other, create_demo(other)) == []


def test_trainings_of_people_do_not_count_as_the_demo_s(store, demo):
    start(store, ADMIN, demo_models.plan_model(0, demo.name, []))
    assert len(queue_models(store, demo)) == NUM_MODELS
    assert len(demo_jobs(store, ADMIN, demo.id)) == NUM_MODELS


def test_without_torch_the_tfidf_model_alone_and_the_rest_once_it_is_there(store, demo, monkeypatch):
    installed = {"tfidf"}
    with monkeypatch.context() as patch:
        patch.setattr(demo_models, "missing_packages", lambda model: [] if model in installed else ["torch"])
        assert [job.title for job in queue_models(store, demo)] == ["tfidf, head"]
    assert [read_run(job).trains for job in queue_models(store, demo)] == ["reward", "sft", "grpo"]
    assert queue_models(store, demo) == []


def test_without_scikit_learn_nothing_is_queued_and_nothing_fails(store, demo, monkeypatch):
    monkeypatch.setattr(demo_models, "missing_packages", lambda _: ["torch", "scikit-learn"])
    assert queue_models(store, demo) == []


def test_who_continues_a_model_of_the_demo_s_does_not_make_another(store, demo):
    jobs = queue_models(store, demo)
    store.jobs.cancel(ADMIN, jobs[0].id)
    again = go_on(store, ADMIN, jobs[0].id)
    shown = demo_jobs(store, ADMIN, demo.id)
    assert [job.id for job in shown] == [again.id, *(job.id for job in jobs[1:])]


@pytest.mark.slow
def test_the_first_model_is_really_trained_and_reported(store, demo, monkeypatch):
    monkeypatch.setenv("TIEBREAK_DB", store.database.url)
    first = queue_models(store, demo)[0]
    assert store.jobs.claim() == store.jobs.get(ADMIN, first.id)
    keep(store, first.id)
    run = get_run(store, ADMIN, first.id)
    assert run.job.state == "done", run.job.message
    assert run.is_scorer
    assert run.report is not None
    assert run.evaluation["overall"]["accuracy"]["value"] > 0.7


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_models_are_trained_and_reported(store, demo, monkeypatch):
    monkeypatch.setenv("TIEBREAK_DB", store.database.url)
    for job in queue_models(store, demo):
        claimed = store.jobs.claim()
        assert claimed is not None
        assert claimed.id == job.id
        keep(store, job.id)
        run = get_run(store, ADMIN, job.id)
        assert run.job.state == "done", run.job.message
        assert run.has_model
        assert (run.report is None) == (run.trains == "sft"), "a policy made here has nothing to be held against"


def test_words_say_which_of_how_many_and_what_came_of_them(store, demo):
    jobs = queue_models(store, demo)
    words = say_under_way(jobs, jobs[0])
    assert words.endswith(
        "Waiting for the worker to train model 1 of 4 from these judgments: reward model tfidf\\, head"
    )
    assert share_of(jobs) == 0
    store.jobs.claim()
    store.jobs.finish(jobs[0].id, "failed")
    store.jobs.claim()
    jobs = demo_jobs(store, DEMO, demo.id)
    assert "Training model 2 of 4" in say_under_way(jobs, jobs[1])
    assert say_under_way(jobs, jobs[1]).endswith("1 did not get done")
    assert share_of(jobs) == 0.25
    for job in jobs[1:]:
        store.jobs.finish(job.id, "done")
        store.jobs.claim()
    jobs = demo_jobs(store, DEMO, demo.id)
    assert "3 of 4 models have been trained" in say_ended(jobs)
    assert "3 models have been trained" in say_ended(jobs[1:])


def test_a_plan_of_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="number is 4, allowed are 0 to 3"):
        demo_models.plan_model(4, "desk", [])
