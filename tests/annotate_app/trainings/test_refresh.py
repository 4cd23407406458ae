"""New priorities by themselves: a real worker, a real fit, on the demo project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.demo import create_demo
from annotate_app.jobs import jobs, worker
from annotate_app.jobs.processes import is_running, signal_group
from annotate_app.protocol.collection_design import Design
from annotate_app.store.jobs import ENDED, Job
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.trainings import refresh
from rewardkit.data.files import read_rows
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()
pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: no model can be fitted")


@pytest.fixture
def start_worker(sqlite_url: str, sqlite_store: Store) -> Iterator[Callable[[], None]]:
    """Starts a worker on the database of `sqlite_url`; it and its jobs end with the test."""
    workers: list[subprocess.Popen] = []

    def start() -> None:
        command = [sys.executable, "-m", "annotate_app", "worker"]
        workers.append(subprocess.Popen(command, env=os.environ | {"TIEBREAK_DB": sqlite_url}))

    yield start
    for process in workers:
        process.kill()
        process.wait()
    for job in sqlite_store.jobs.running():
        for key in ("keeper", "command"):
            found = dict(job.process or {})
            if key in found and is_running(found[key], found[f"{key}_started"]):
                signal_group(found[key], 9)


def rank_jobs(store: Store, project_id: int) -> list[Job]:
    return [job for job in store.jobs.list(ADMIN, project_id) if job.kind == "rank"]


def wait_until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_the_worker_sets_new_priorities_after_every_so_many_judgments(sqlite_store, start_worker):
    project = create_demo(sqlite_store)
    design = replace(project.design, policy="priority", refresh_every=4)
    sqlite_store.projects.update(ADMIN, project.id, design=design)
    before = {
        item.comparison.id
        for item in sqlite_store.browsing.find(ADMIN, project.id, ComparisonFilter(state="open"), limit=500)
    }
    start_worker()
    wait_until(lambda: [job.state in ENDED for job in rank_jobs(sqlite_store, project.id)] == [True])
    (job,) = rank_jobs(sqlite_store, project.id)
    assert job.state == "done", job.message
    assert jobs.read_progress(job).share == 1.0
    assert f"priorities of {len(before)} open comparisons" in jobs.read_log(job)
    found = sqlite_store.browsing.find(ADMIN, project.id, ComparisonFilter(state="open"), limit=500)
    rows = [row for _, row in read_rows(Path(job.run_dir) / "priorities.jsonl")]
    assert {item.comparison.id: item.priority for item in found} == {
        row["comparison_id"]: row["priority"] for row in rows
    }
    assert {row["comparison_id"] for row in rows} == before
    assert len({row["priority"] for row in rows}) > len(rows) / 2
    assert all(row["rule"] == "bal_pm" and row["std"] > 0 for row in rows)
    assert (Path(job.run_dir) / "model" / "data" / "preferences.jsonl").exists()

    # The most informative open pair goes first, and a worker that looks again finds nothing new.
    user = sqlite_store.people.add(ADMIN, "anna", role="annotator")
    sqlite_store.projects.add_member(ADMIN, project.id, user.id)
    anna = sqlite_store.people.actor_of(user)
    leases = sqlite_store.work.lease(anna, project.id, count=3)
    work = [lease.comparison.id for lease in leases if lease.comparison.id in before]
    assert work == [row["comparison_id"] for row in rows][: len(work)]
    assert work
    time.sleep(worker.REFRESH_S + 2 * worker.POLL_S)
    assert len(rank_jobs(sqlite_store, project.id)) == 1

    now = time.time()
    judgments = [
        Judgment(comparison_id=key, annotator=name, choice="a", strength=1, created_at=now + 1)
        for key in sorted(before)[:2]
        for name in ("new-one", "new-two")
    ]
    assert sqlite_store.judgments.import_many(ADMIN, project.id, judgments).num_added == 4
    wait_until(lambda: len(rank_jobs(sqlite_store, project.id)) == 2)
    wait_until(lambda: rank_jobs(sqlite_store, project.id)[0].state in ENDED)
    job = rank_jobs(sqlite_store, project.id)[0]
    assert job.state == "done", job.message


def test_a_project_with_too_few_judgments_says_so(sqlite_url, sqlite_store, make_project, monkeypatch, capsys):
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    project = make_project(sqlite_store, "-few", design=Design(policy="priority"))
    assert main(["priorities", "refresh", "--", "-few"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("annotate-app priorities refresh: rewardkit train: ")
    assert error.count("\n") == 1
    assert [item.priority for item in sqlite_store.browsing.find(ADMIN, project.id)] == [0.0] * 5


def test_where_nothing_is_open_nothing_is_fitted(sqlite_url, sqlite_store, make_project, monkeypatch, capsys):
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    make_project(sqlite_store, "p", num_comparisons=0)
    assert main(["priorities", "refresh", "p", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"num_open": 0, "rule": "bal_pm"}


def test_only_what_is_due_is_queued_and_once(sqlite_store, make_project, make_actor):
    project = make_project(sqlite_store, design=Design(policy="priority", refresh_every=2))
    make_project(sqlite_store, "never", design=Design(policy="priority"))
    assert refresh.start_due(sqlite_store) == []
    votes = [Judgment(comparison_id=key, annotator="anna", choice="b", strength=1) for key in ("c0", "c1")]
    sqlite_store.judgments.import_many(ADMIN, project.id, votes)
    (job,) = refresh.start_due(sqlite_store)
    assert (job.kind, job.project_id, job.state) == ("rank", project.id, "queued")
    assert job.command == ["annotate_app", "priorities", "refresh", f"#{project.id}"]
    assert refresh.start_due(sqlite_store) == []
    with pytest.raises(ValueError, match="waits or runs already"):
        refresh.start(sqlite_store, ADMIN, project)
