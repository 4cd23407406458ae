"""Running jobs: a worker claims what is queued and starts a keeper for each; the keeper starts the command and watches.

A keeper is a session of its own, so that jobs outlive the app and the worker. The command is a process group of its own
that dies with its keeper. All three talk through the job's row and its run directory only.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.jobs.jobs import check_command
from annotate_app.jobs.processes import die_with_parent, is_running, signal_group, started_at
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store

POLL_S = 0.5
HEARTBEAT_S = 1.0
REFRESH_S = 5.0
"""Between looks at which projects want new priorities."""
GRACE_S = 5.0
TRAINING_GRACE_S = 120.0
"""Between asking a cancelled command to stop and killing it; a training finishes its step and writes a checkpoint."""
SILENCE_S = 60.0
"""Without a heartbeat, a job on another machine counts as lost."""


def work(store: Store, *, start_due: Callable[[Store], object], limit: int = 1, parent: int = 0) -> int:
    """Runs jobs until told to stop, or until the process `parent` has ended; returns the exit code.

    Jobs already running go on.

    Args:
        start_due: called every few seconds, to queue what is due.
        limit: jobs that run at the same time.
    """
    if limit < 1:
        raise ValueError(f"--limit is {limit}, allowed is 1 or more")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    keepers: list[subprocess.Popen[bytes]] = []
    looked_at = -REFRESH_S
    while not stop.is_set() and parent in (0, os.getppid()):
        keepers = [keeper for keeper in keepers if keeper.poll() is None]  # reaps those that ended
        mark_lost_jobs(store)
        if time.monotonic() - looked_at >= REFRESH_S:
            looked_at = time.monotonic()
            start_due(store)
        while not stop.is_set() and (job := store.jobs.claim(limit)) is not None:
            keepers.append(start_keeper(store, job))
        stop.wait(POLL_S)
    return 0


def start_keeper(store: Store, job: Job) -> subprocess.Popen[bytes]:
    """Starts the process that carries out one job, detached from this one."""
    keeper = subprocess.Popen(
        [sys.executable, "-m", "annotate_app.jobs.worker", str(job.id)],
        env=os.environ | {"TIEBREAK_DB": store.database.url},  # not as an argument: it may hold a password
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store.jobs.heartbeat(job.id, process=identity(keeper.pid))
    return keeper


def identity(keeper: int, command: int | None = None) -> dict[str, object]:
    """What names a job's processes for good: `command` is also the id of its process group."""
    process: dict[str, object] = {"host": socket.gethostname(), "keeper": keeper, "keeper_started": started_at(keeper)}
    if command is not None:
        process |= {"command": command, "command_started": started_at(command)}
    return process


def mark_lost_jobs(store: Store) -> None:
    """Marks jobs whose keeper is gone as lost, and ends what their command left running."""
    for job in store.jobs.running():
        process: dict[str, Any] = dict(job.process or {})
        if process.get("host") == socket.gethostname():
            lost = not is_running(process["keeper"], process["keeper_started"])
        else:
            lost = time.time() - max(job.heartbeat_at or 0.0, job.started_at or 0.0) > SILENCE_S
        if not lost:
            continue
        if process.get("host") == socket.gethostname() and "command" in process:
            end_command(process["command"], process["command_started"])
        store.jobs.finish(job.id, "lost", "the process that watched over this job ended without a word")


def end_command(group: int, started: str) -> None:
    """Kills a command whose keeper is gone, and what it started.

    Its process id is that of its group; it is not given to others while any member lives. So the group is ours unless
    a process with that id exists that began at another time.
    """
    if started_at(group) in ("", started):
        signal_group(group, signal.SIGKILL)


def keep(store: Store, job_id: int) -> None:
    """Carries out one job: starts its command, watches it, obeys a cancel, records how it ended.

    A job whose command is none of ours fails before anything is started.
    """
    job = store.jobs.get(Actor.command_line(), job_id)
    try:
        check_command(job.command)
    except ValueError as error:
        store.jobs.finish(job_id, "failed", str(error))
        return
    run_dir = Path(job.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "log.txt").open("ab", buffering=0) as log:
        command = subprocess.Popen(
            [sys.executable, "-u", "-m", *job.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGKILL),
            env=os.environ | {"TIEBREAK_DB": store.database.url, "TIEBREAK_RUN_DIR": str(run_dir.resolve())},
        )
    grace = TRAINING_GRACE_S if job.kind == "train" else GRACE_S
    process, cancelled_at, beat_at = identity(os.getpid(), command.pid), 0.0, 0.0
    while command.poll() is None:
        now = time.monotonic()
        if now - beat_at >= HEARTBEAT_S:
            cancel = store.jobs.heartbeat(job_id, process=process)
            beat_at = now
            if cancel and not cancelled_at:
                cancelled_at = now
                signal_group(command.pid, signal.SIGTERM)
        if cancelled_at and now - cancelled_at > grace:
            signal_group(command.pid, signal.SIGKILL)
        time.sleep(0.1)
    if cancelled_at:
        signal_group(command.pid, signal.SIGKILL)  # what the command started and left behind
        store.jobs.finish(job_id, "cancelled", f"stopped after {time.monotonic() - cancelled_at:.1f} s")
    elif command.returncode == 0:
        store.jobs.finish(job_id, "done", "")
    else:
        store.jobs.finish(job_id, "failed", _last_words(run_dir / "log.txt", command.returncode))


def _last_words(log: Path, returncode: int) -> str:
    """The last line a failed command wrote."""
    ended = f"exit code {returncode}" if returncode >= 0 else f"killed by signal {-returncode}"
    lines = log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
    return f"{ended}: {lines[-1][:500]}" if lines else ended


if __name__ == "__main__":
    keep(Store.open(migrate=False), int(sys.argv[1]))
