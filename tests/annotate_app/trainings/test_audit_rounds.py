"""Rounds of an audit for people: which there are, and what sending one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_plans import sampling_plan

from annotate_app.access import AccessError, Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.audit_rounds import list_rounds, list_sent, send_round
from annotate_app.trainings.plan_files import write_plan
from annotate_app.trainings.runs import get_run
from annotate_app.trainings.training_jobs import KIND

ADMIN = Actor.command_line()


def pair(number: int, reference: str, text: str) -> dict[str, object]:
    responses = [{"model": "reference", "text": reference}, {"model": "step-20", "text": text, "finished": True}]
    return {"prompt": [{"role": "user", "content": f"Question {number}?"}], "responses": responses}


@pytest.fixture
def run_of(sqlite_store: Store, make_project, tmp_path: Path):
    """A training of a project that left two rounds; its job's id and its project."""
    project = make_project(sqlite_store, "desk")
    plan = sampling_plan("grpo", project=project.name)
    folder = tmp_path / "run"
    (folder / "model" / "audit").mkdir(parents=True)
    (folder / "training.yaml").write_text(write_plan(plan))
    for step, rows in ((10, [pair(1, "a", "b")]), (20, [pair(1, "a", "c"), pair(2, "d", "e"), pair(3, "", "")])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "model" / "audit" / f"step-{step:06}.jsonl").write_text(text)
    (folder / "model" / "audit" / "reference.jsonl").write_text("{}\n")
    job = sqlite_store.jobs.add(ADMIN, KIND, "GRPO", ["annotate_app", "train"], project.id, run_dir=str(folder))
    return job.id, project


def test_a_round_is_sent_as_pairs_named_by_run_and_step_and_noted(sqlite_store, make_project, run_of) -> None:
    job_id, _ = run_of
    blind: Project = make_project(sqlite_store, "blind", num_comparisons=0)
    assert list_rounds(get_run(sqlite_store, ADMIN, job_id)) == {10: 1, 20: 3}
    sent = send_round(sqlite_store, ADMIN, job_id, 20, blind.id)
    assert (sent.project, sent.num_added, sent.num_existing, sent.num_left_out) == ("blind", 2, 0, 1)
    found = {(one.completion_a, one.completion_b): one for one in sqlite_store.comparisons.iterate(ADMIN, blind.id)}
    assert {*found} == {("a", "c"), ("d", "e")}
    names = {(one.source_a, one.source_b) for one in found.values()}
    assert names == {(f"run-{job_id}-reference", f"run-{job_id}-step-20")}
    again = send_round(sqlite_store, ADMIN, job_id, 20, blind.id)
    assert (again.num_added, again.num_existing) == (0, 2)
    assert list_sent(get_run(sqlite_store, ADMIN, job_id)) == [again, sent]
    (made,) = sqlite_store.rounds.list(ADMIN, blind.id)  # recorded once
    assert (made.one, made.other, made.num_pairs) == (f"run-{job_id}-step-20", f"run-{job_id}-reference", 2)
    with pytest.raises(ValueError, match="step 30 has no round, there are 10, 20"):
        send_round(sqlite_store, ADMIN, job_id, 30, blind.id)


def test_who_sends_leads_both_projects(sqlite_store: Store, make_project, make_actor, run_of) -> None:
    job_id, project = run_of
    other: Project = make_project(sqlite_store, "other", num_comparisons=0)
    lead = make_actor(sqlite_store, "lead", "lea", project)
    with pytest.raises(AccessError):
        send_round(sqlite_store, lead, job_id, 20, other.id)
    annotator = make_actor(sqlite_store, "annotator", "anna", project)
    with pytest.raises(AccessError):
        send_round(sqlite_store, annotator, job_id, 20, project.id)
    assert send_round(sqlite_store, lead, job_id, 10, project.id).num_added == 1
    assert list_sent(get_run(sqlite_store, ADMIN, job_id))[0].by == "lea"
