"""Jobs on both databases: from the queue to an end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store

ADMIN = Actor.command_line()


def test_a_job_waits_runs_and_ends(store: Store, project: Project, lead: Actor) -> None:
    job = store.jobs.add(lead, "export", "all judgments", ["annotate_app", "export", "1"], project.id, run_dir="runs/1")
    assert (job.state, job.command, job.run_dir, job.created_by) == (
        "queued",
        ["annotate_app", "export", "1"],
        "runs/1",
        "lea",
    )
    claimed = store.jobs.claim()
    assert claimed is not None
    assert (claimed.id, claimed.state, claimed.process) == (job.id, "running", None)
    assert store.jobs.claim() is None
    assert store.jobs.heartbeat(job.id, {"pid": 7}) is False
    assert [(running.id, running.process) for running in store.jobs.running()] == [(job.id, {"pid": 7})]
    store.jobs.finish(job.id, "done", "12 rows")
    store.jobs.finish(job.id, "failed", "too late")
    ended = store.jobs.get(lead, job.id)
    assert (ended.state, ended.message) == ("done", "12 rows")
    assert ended.ended_at is not None
    assert store.jobs.running() == []


def test_a_waiting_job_is_cancelled_at_once_a_running_one_is_told(store: Store, lead: Actor, project: Project) -> None:
    waiting = store.jobs.add(lead, "export", "first", ["x"], project.id)
    store.jobs.cancel(lead, waiting.id)
    assert store.jobs.get(lead, waiting.id).state == "cancelled"
    assert store.jobs.claim() is None
    running = store.jobs.add(lead, "export", "second", ["x"], project.id)
    store.jobs.claim()
    store.jobs.cancel(lead, running.id)
    assert store.jobs.get(lead, running.id).state == "running"
    assert store.jobs.heartbeat(running.id) is True
    with pytest.raises(ValueError, match="state is 'queued'"):
        store.jobs.finish(running.id, "queued")


def test_no_job_is_claimed_twice(store: Store) -> None:
    jobs = {store.jobs.add(ADMIN, "export", f"job {number}", ["x"]).id for number in range(6)}
    with ThreadPoolExecutor(4) as pool:
        claimed = [job.id for job in pool.map(lambda _: store.jobs.claim(limit=99), range(12)) if job is not None]
    assert sorted(claimed) == sorted(jobs)


def test_no_more_jobs_run_than_the_limit(store: Store) -> None:
    for number in range(3):
        store.jobs.add(ADMIN, "export", f"job {number}", ["x"])
    first, second = store.jobs.claim(limit=2), store.jobs.claim(limit=2)
    assert first is not None
    assert second is not None
    assert store.jobs.claim(limit=2) is None
    store.jobs.finish(first.id, "done")
    assert store.jobs.claim(limit=2) is not None
