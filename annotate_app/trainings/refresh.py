"""New priorities from a model fitted to a project's judgments, computed in a job.

    project --> released preferences --> rewardkit train (TF-IDF, head only) --> model
       |                                                                           |
       +------> comparisons that miss judgments ---> rewardkit rank <--------------+
       ^                                                  |
       +---------------- priorities <---------------------+

Both commands of rewardkit run as processes of their own on files of the job's run directory.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.exchange.priorities_in import import_priorities
from annotate_app.jobs import jobs
from annotate_app.jobs.jobs import report_progress
from annotate_app.store.jobs import KIND, Job
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.export_formats import turns
from rewardkit.data.files import write_rows

logger = logging.getLogger(__name__)
STEPS = ("export", "fit", "rank", "set priorities")


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The result of a refresh: the number of comparisons that still need judgments, and the rule used."""

    num_open: int
    rule: str


def start_due(store: Store) -> list[Job]:
    """Queues a refresh of every project that is due; returns the jobs."""
    actor = Actor.command_line()
    started = []
    for project_id in store.refreshes.due():
        project = store.projects.get(actor, project_id)
        try:
            started.append(start(store, actor, project))
        except ValueError as error:  # another worker was first
            logger.info("project %s: %s", project.name, error)
    return started


def start(store: Store, actor: Actor, project: Project) -> Job:
    """Queues a refresh of a project's priorities. Lead or above.

    Raises:
        ValueError: if one waits or runs already.
    """
    command = ["annotate_app", "priorities", "refresh", project.number]
    return jobs.start(
        store, actor, kind=KIND, title="New priorities", command=command, project_id=project.id, alone=True
    )


def refresh_priorities(store: Store, actor: Actor, project: Project, rule: str) -> Refreshed:
    """Fits a model to a project's released preferences and sets the priorities of what misses judgments.

    Files stay in the run directory where this runs as a job.

    Raises:
        ValueError: with the command's own words, if the model cannot be fitted or the comparisons not be ranked.
    """
    with tempfile.TemporaryDirectory() as temporary:
        run_dir = Path(os.environ.get("TIEBREAK_RUN_DIR", temporary)).resolve()
        report_progress(0, len(STEPS), STEPS[0])
        rows = (
            {
                "comparison_id": comparison.id,
                "prompt": turns(comparison.prompt),
                "response_a": comparison.completion_a,
                "response_b": comparison.completion_b,
            }
            for comparison in store.browsing.iterate(actor, project.id, "open")
            if not (comparison.turns_a or comparison.turns_b)  # models read answers that are texts alone
        )
        num_open = write_rows(run_dir / "open.jsonl", rows)
        if not num_open:
            return Refreshed(num_open=0, rule=rule)
        model = run_dir / "model"
        report_progress(1, len(STEPS), STEPS[1])
        words = ["--model=tfidf", "--mode=head", "--on_bad_row=skip", f"--project={project.name}"]
        run_rewardkit(["train", *words, f"--out={model}"], store, run_dir)
        report_progress(2, len(STEPS), STEPS[2])
        files = [f"--input={run_dir / 'open.jsonl'}", f"--labelled={model / 'data' / 'preferences.jsonl'}"]
        words = [f"--model={model}", *files, f"--out={run_dir / 'priorities.jsonl'}", f"--rule={rule}"]
        run_rewardkit(["rank", *words], store, run_dir)
        report_progress(3, len(STEPS), STEPS[3])
        import_priorities(store, actor, project.id, run_dir / "priorities.jsonl")
        report_progress(len(STEPS), len(STEPS), "done")
        return Refreshed(num_open=num_open, rule=rule)


def run_rewardkit(words: list[str], store: Store, run_dir: Path) -> None:
    """Runs a command of rewardkit on this store's database; what it says goes to a file of the run directory.

    Raises:
        ValueError: with its last words, if it fails.
    """
    environment = os.environ | {"TIEBREAK_DB": store.database.url}
    log = run_dir / f"{words[0]}.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "rewardkit", *words]
        done = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise ValueError(lines[-1] if lines else f"rewardkit {words[0]} ended with exit code {done.returncode}")
