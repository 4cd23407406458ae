"""Jobs as real processes: what is left of them when the app, the worker, the keeper or the command itself ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from annotate_app.access import Actor
from annotate_app.jobs import jobs
from annotate_app.jobs.processes import is_running, started_at
from annotate_app.jobs.worker import keep
from annotate_app.store.jobs import Job
from annotate_app.store.schema import tables
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
# A training in a few lines: writes progress, obeys SIGTERM (or not), may leave a child behind.
COMMAND = """
import json, os, pathlib, signal, subprocess, sys, time
steps, stubborn, child, code = int(sys.argv[1]), *sys.argv[2:5]
run = pathlib.Path(os.environ["TIEBREAK_RUN_DIR"])
stopping = []
signal.signal(signal.SIGTERM, (lambda *_: None) if stubborn == "stubborn" else (lambda *_: stopping.append(1)))
if child == "child":
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (run / "child").write_text(str(grandchild.pid))
print("begins", flush=True)
for step in range(steps):
    (run / "progress.new").write_text(json.dumps({"done": step + 1, "total": steps, "what": "steps"}))
    (run / "progress.new").replace(run / "progress.json")
    time.sleep(0.05)
    if stopping:
        print("checkpoint saved"); sys.exit(143)
print("ends"); sys.exit(int(code))
"""


ALLOW = """
import os, sys
sys.path.insert(0, os.getcwd())
from annotate_app.jobs import jobs
jobs.COMMANDS = ("rewardkit_steps",)
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `rewardkit_steps` a module that jobs may run, here and in the processes of the worker."""
    (tmp_path / "rewardkit_steps.py").write_text(COMMAND)
    (tmp_path / "sitecustomize.py").write_text(ALLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(jobs, "COMMANDS", ("rewardkit_steps",))


@pytest.fixture
def start_worker(commands: None, sqlite_url: str) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts workers on the database of `sqlite_url`; all end with the test."""
    workers: list[subprocess.Popen] = []

    def start(limit: int = 1) -> subprocess.Popen:
        command = [sys.executable, "-m", "annotate_app", "worker", "--limit", str(limit)]
        workers.append(subprocess.Popen(command, env=os.environ | {"TIEBREAK_DB": sqlite_url}))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.fixture
def start_job(commands: None, sqlite_store: Store) -> Iterator[Callable[..., Job]]:
    """Queues the command above; whatever still runs at the end of the test is killed."""
    started: list[Job] = []

    def start(steps: int = 5, *, stubborn: bool = False, child: bool = False, code: int = 0) -> Job:
        words = ["stubborn" if stubborn else "-", "child" if child else "-", str(code)]
        command = ["rewardkit_steps", str(steps), *words]
        started.append(jobs.start(sqlite_store, ADMIN, kind="test", title="count", command=command))
        return started[-1]

    yield start
    for job in started:
        process = sqlite_store.jobs.get(ADMIN, job.id).process or {}
        for key in ("keeper", "command"):
            if key in process and is_running(process[key], process[f"{key}_started"]):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process[key], signal.SIGKILL)


def wait_for(store: Store, job: Job, holds: Callable[[Job], bool], seconds: float = 30.0) -> Job:
    """The job as soon as something holds of it."""
    deadline = time.monotonic() + seconds
    while not holds(now := store.jobs.get(ADMIN, job.id)):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return now


def works(job: Job) -> bool:
    """Whether the job's command has begun."""
    return "command" in (job.process or {}) and (jobs.read_progress(job).share or 0) > 0


def test_a_job_runs_and_leaves_log_and_progress(sqlite_store, start_job, start_worker):
    job = start_job(3)
    assert job.state == "queued"
    start_worker()
    done = wait_for(sqlite_store, job, lambda job: job.state == "done")
    assert jobs.read_log(done).split() == ["begins", "ends"]
    assert jobs.read_progress(done) == jobs.JobProgress(share=1.0, text="3 of 3 steps")


def test_a_failed_job_says_its_last_words(sqlite_store, start_job, start_worker):
    job = start_job(1, code=3)
    start_worker()
    failed = wait_for(sqlite_store, job, lambda job: job.state == "failed")
    assert failed.message == "exit code 3: ends"


@pytest.mark.slow
def test_only_so_many_run_at_once_and_two_workers_share(sqlite_store, start_job, start_worker):
    queued = [start_job(20) for _ in range(4)]
    start_worker(limit=2)
    start_worker(limit=2)
    most = 0
    while any(sqlite_store.jobs.get(ADMIN, job.id).state in ("queued", "running") for job in queued):
        most = max(most, len(sqlite_store.jobs.running()))
        time.sleep(0.05)
    assert most == 2
    assert {sqlite_store.jobs.get(ADMIN, job.id).state for job in queued} == {"done"}
    for job in queued:
        assert jobs.read_log(job).count("begins") == 1  # nobody ran it twice


def test_a_job_outlives_its_worker_and_the_next_one_lets_it_be(sqlite_store, start_job, start_worker):
    job = start_job(60)
    worker = start_worker()
    wait_for(sqlite_store, job, works)
    worker.kill()
    worker.wait()
    start_worker()
    done = wait_for(sqlite_store, job, lambda job: job.state != "running")
    assert done.state == "done"
    assert jobs.read_log(done).count("begins") == 1


def test_cancelling_asks_first(sqlite_store, start_job, start_worker):
    job = start_job(2000)
    start_worker()
    wait_for(sqlite_store, job, works)
    sqlite_store.jobs.cancel(ADMIN, job.id)
    ended = wait_for(sqlite_store, job, lambda job: job.state != "running", seconds=5)
    assert ended.state == "cancelled"
    assert "checkpoint saved" in jobs.read_log(ended)


@pytest.mark.slow
def test_cancelling_kills_what_does_not_listen_and_what_it_started(sqlite_store, start_job, start_worker):
    job = start_job(2000, stubborn=True, child=True)
    start_worker()
    process = wait_for(sqlite_store, job, works).process
    child = int((Path(job.run_dir) / "child").read_text())
    assert process is not None
    assert started_at(child)
    sqlite_store.jobs.cancel(ADMIN, job.id)
    ended = wait_for(sqlite_store, job, lambda job: job.state != "running", seconds=15)
    assert ended.state == "cancelled"
    assert not is_running(process["command"], process["command_started"])
    assert not started_at(child)


def test_a_waiting_job_is_cancelled_without_a_worker(sqlite_store, start_job):
    job = start_job()
    sqlite_store.jobs.cancel(ADMIN, job.id)
    assert sqlite_store.jobs.get(ADMIN, job.id).state == "cancelled"


def test_a_killed_keeper_takes_its_command_along_and_the_job_is_lost(sqlite_store, start_job, start_worker):
    job = start_job(2000, stubborn=True, child=True)
    start_worker()
    process = wait_for(sqlite_store, job, works).process
    assert process is not None
    os.kill(process["keeper"], signal.SIGKILL)
    lost = wait_for(sqlite_store, job, lambda job: job.state != "running", seconds=10)
    assert lost.state == "lost"
    time.sleep(0.2)
    assert not is_running(process["command"], process["command_started"])
    assert not started_at(int((Path(job.run_dir) / "child").read_text()))


def test_a_pid_used_again_is_another_process():
    mine = started_at(os.getpid())
    assert is_running(os.getpid(), mine)
    assert not is_running(os.getpid(), mine + "1")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    while started_at(ended.pid):
        time.sleep(0.01)
    assert not is_running(ended.pid, mine)  # a zombie runs no more
    ended.wait()


def test_a_job_runs_nothing_but_our_own_commands(sqlite_store):
    for command in ([], ["http.server"], ["os"], ["-c", "print()"], ["annotate_appx"]):
        with pytest.raises(ValueError, match="allowed are"):
            jobs.start(sqlite_store, ADMIN, kind="test", title="no", command=command)


@pytest.mark.parametrize(
    "command",
    [
        ["timeit", "-n1", "-r1", "-s", "import os; os.system('touch {mark}')"],
        ["-c", "open('{mark}', 'w')"],
        ["", "x"],
        "annotate_app",
        {"annotate_app": 1},
        ["annotate_app", 1],
        ["rewardkit_steps", "1"],
        [],
        None,
    ],
)
def test_a_row_with_a_command_that_is_none_of_ours_starts_nothing(sqlite_store, tmp_path, command):
    """The row comes from elsewhere: no function of ours queued it."""
    mark = tmp_path / "mark"
    filled = command
    if isinstance(command, list):
        filled = [word.format(mark=mark) if isinstance(word, str) else word for word in command]
    job = sqlite_store.jobs.add(ADMIN, "test", "strange", ["annotate_app"], run_dir=str(tmp_path / "run"))
    with sqlite_store.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(command=filled))
    assert sqlite_store.jobs.claim().id == job.id
    keep(sqlite_store, job.id)
    ended = sqlite_store.jobs.get(ADMIN, job.id)
    assert ended.state == "failed"
    assert ended.message.endswith("allowed are annotate_app, rewardkit, alignment")
    assert not mark.exists()
    assert not (tmp_path / "run").exists()


def test_progress_is_read_from_metrics_where_there_is_no_share(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.7}\n{"step": 2, "loss": 0.65}\n{"step": 3, "lo')
    job = Job(
        id=1,
        project_id=None,
        kind="train",
        title="",
        command=[],
        run_dir=str(tmp_path),
        state="running",
        created_by="",
        created_at=0.0,
        started_at=None,
        ended_at=None,
        heartbeat_at=None,
        process=None,
        cancel=False,
        message="",
    )
    assert jobs.read_progress(job) == jobs.JobProgress(text="step 2, loss 0.65")
    (tmp_path / "progress.json").write_text(json.dumps({"done": 1, "total": 4}))
    assert jobs.read_progress(job).share == 0.25


def test_a_process_reports_progress_only_where_it_is_a_job(tmp_path, monkeypatch):
    monkeypatch.delenv("TIEBREAK_RUN_DIR", raising=False)
    jobs.report_progress(1, 2)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("TIEBREAK_RUN_DIR", str(tmp_path))
    jobs.report_progress(1, 2, "rows")
    assert json.loads((tmp_path / "progress.json").read_text()) == {"done": 1, "total": 2, "what": "rows"}
