"""Jobs as pages see them: starting one, its progress and its log. The worker runs them.

A command that knows how far it is writes `progress.json` into the directory named by TIEBREAK_RUN_DIR; a training
writes `metrics.jsonl` there. Neither has to import anything of ours.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.installation import data_folder
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store

COMMANDS = ("annotate_app", "rewardkit", "alignment")
"""The modules a job may run."""


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """How far a job is: a share from 0 to 1, None where it cannot be known, and a few words."""

    share: float | None = None
    text: str = ""


def check_command(command: object) -> None:
    """Raises ValueError unless these are words for one of our own commands: what is queued, and what is started.

    Asked twice, since rows of jobs also come from backups and from whoever can write into the database.
    """
    words = command if isinstance(command, list) and all(isinstance(word, str) for word in command) else []
    if not words or words[0].partition(".")[0] not in COMMANDS:
        raise ValueError(f"command is {str(command)[:200]}, allowed are {', '.join(COMMANDS)}")


def start(
    store: Store,
    actor: Actor,
    *,
    kind: str,
    title: str,
    command: list[str],
    project_id: int | None = None,
    alone: bool = False,
    files: Mapping[str, str | bytes] | None = None,
    run_dir: Path | None = None,
) -> Job:
    """Queues a command: the words after `python -m`, for example `["annotate_app", "import", ...]`.

    Args:
        alone: at most one job of this kind may wait or run in the project.
        files: to leave in its run directory beforehand, by name.
        run_dir: of an earlier job that this one goes on with; None makes a new one.

    Raises:
        ValueError: if the command is none of ours, or the job would not be alone.
    """
    check_command(command)
    if run_dir is None:
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        run_dir = data_folder(store.database.url) / "jobs" / stamp
    for name, content in (files or {}).items():
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return store.jobs.add(actor, kind, title, command, project_id, run_dir=str(run_dir), alone=alone)


def read_progress(job: Job) -> JobProgress:
    """How far a job says it is."""
    run_dir = Path(job.run_dir)
    try:
        report = json.loads((run_dir / "progress.json").read_text())
        done, total = int(report["done"]), int(report.get("total") or 0)
        text = f"{done:,} of {total:,}" if total else f"{done:,}"
        return JobProgress(share=min(1.0, done / total) if total else None, text=f"{text} {report.get('what', '')}")
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or from another hand: the metrics may know
    lines = read_tail(run_dir / "metrics.jsonl", 4000).splitlines()
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        return JobProgress(text=", ".join(f"{name} {value:g}" for name, value in row.items() if _is_number(value)))
    return JobProgress()


def report_progress(done: int, total: int = 0, what: str = "") -> None:
    """Says how far this process is, where it runs as a job; nothing otherwise. `total` 0 is unknown."""
    run_dir = os.environ.get("TIEBREAK_RUN_DIR")
    if run_dir is None:
        return
    draft = Path(run_dir) / "progress.json.draft"
    draft.write_text(json.dumps({"done": done, "total": total, "what": what}))
    draft.replace(Path(run_dir) / "progress.json")


def read_log(job: Job, num_bytes: int = 4000) -> str:
    """The end of what a job's command wrote."""
    return read_tail(Path(job.run_dir) / "log.txt", num_bytes)


def read_tail(path: Path, num_bytes: int) -> str:
    """The last whole lines of a file within so many bytes; nothing where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - num_bytes))
            tail = file.read()
    except FileNotFoundError:
        return ""
    if size > num_bytes:
        tail = tail.partition(b"\n")[2]
    return tail.decode(errors="replace")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
