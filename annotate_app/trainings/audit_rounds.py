"""Audit rounds for people: a policy's answers beside those of its base, sent into a project as blind pairs.

rounds.jsonl   in the run directory: which round went into which project, when and by whom
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import ImportOptions, import_comparisons
from annotate_app.store.store import Store
from annotate_app.trainings.runs import ModelRun, get_run
from rewardkit.data.files import read_rows, write_rows

FILE = "rounds.jsonl"
_ROUND = re.compile(r"step-(\d+)\.jsonl")


@dataclass(frozen=True, kw_only=True)
class SentRound:
    """An audit round that was sent into a project.

    Attributes:
        step: of the audit.
        project: its name then.
        num_added, num_existing, num_left_out: pairs that are new there, that were there, that cannot be judged.
    """

    step: int
    project: str
    num_added: int
    num_existing: int
    num_left_out: int
    by: str
    at: float


def list_rounds(run: ModelRun) -> dict[int, int]:
    """By the step of each audit that was kept for people, its number of pairs."""
    files = (run.model / "audit").glob("step-*.jsonl")
    steps = {int(match[1]): path for path in files if (match := _ROUND.fullmatch(path.name))}
    return {step: path.read_bytes().count(b"\n") for step, path in sorted(steps.items())}


def list_sent(run: ModelRun) -> list[SentRound]:
    """What was sent so far, newest first."""
    path = run.folder / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [SentRound(**json.loads(line)) for line in reversed(lines)]


def send_round(store: Store, actor: Actor, job_id: int, step: int, project_id: int) -> SentRound:
    """Imports the pairs of an audit into a project. Lead or above, and a member of both projects.

    People see two answers and not whose they are; results name them by run and step, so that rounds of several runs
    stay apart. Pairs without any answer are left out. The first time, it is recorded as a blind round of the project.

    Raises:
        ValueError: if there is no such round.
    """
    run = get_run(store, actor, job_id)
    path = run.model / "audit" / f"step-{step:06}.jsonl"
    if not path.is_file():
        raise ValueError(f"step {step} has no round, there are {', '.join(map(str, list_rounds(run))) or 'none'}")
    project = store.projects.get(actor, project_id)
    with tempfile.TemporaryDirectory() as scratch:
        named = Path(scratch) / path.name
        write_rows(named, (_named(row, job_id) for _, row in read_rows(str(path))))
        done = import_comparisons(store, actor, project.id, [named], ImportOptions(on_bad_row="skip"))
    _record_round(store, actor, project.id, job_id, step)
    sent = SentRound(
        step=step,
        project=project.name,
        num_added=done.num_added,
        num_existing=done.num_existing,
        num_left_out=len(done.bad),
        by=actor.name,
        at=time.time(),
    )
    with (run.folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(sent), ensure_ascii=False) + "\n")
    return sent


def _record_round(store: Store, actor: Actor, project_id: int, job_id: int, step: int) -> None:
    """Makes what was imported a blind round of the step against the reference, once."""
    one, other = f"run-{job_id}-step-{step}", f"run-{job_id}-reference"
    if any((round.one, round.other) == (one, other) for round in store.rounds.list(actor, project_id)):
        return
    sources = store.comparisons.sources(actor, project_id)
    if keys := [key for key, both in sources.items() if set(both) == {one, other}]:
        detail = {"run": job_id, "audit_step": step}
        store.rounds.add(actor, project_id, one=one, other=other, comparisons=keys, detail=detail)


def _named(row: dict, job_id: int) -> dict:
    """The row with the run's number before the name of each model."""
    responses = [response | {"model": f"run-{job_id}-{response['model']}"} for response in row["responses"]]
    return row | {"responses": responses}
