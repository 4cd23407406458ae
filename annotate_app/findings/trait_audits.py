"""Audits of a project's reward models: what they pay for and the project's people do not (`rewardkit.audit`).

traits/votes.jsonl    in the run directory: the released preferences that people's side was made of
traits/audit/         what `rewardkit audit` wrote: audit.json, report.html, pairs.jsonl

A run has one audit, the newest. Its pairs to label go into a project like any import of comparisons.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import Imported, ImportOptions, import_comparisons
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.jobs import jobs
from annotate_app.jobs.jobs import report_progress
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store
from annotate_app.trainings.runs import ModelRun, find_run
from annotate_app.trainings.training_jobs import EVALUATION
from rewardkit.audit.audit_config import AuditConfig
from rewardkit.audit.findings import AUDIT_FILE, Findings
from rewardkit.audit.run import PAIRS_FILE, audit, read_inputs, write_audit
from rewardkit.reward.load import load_reward_fn
from rewardkit.run.directory import Run

KIND = "audit"
FOLDER = "traits"
COMPLETIONS = "completions.jsonl"


def start(
    store: Store, actor: Actor, project_id: int, number: int, *, policy: int | None = None, previous: int | None = None
) -> Job:
    """Queues the audit of a run's reward model. Lead or above.

    Args:
        policy: number of a policy's run, whose answers before and after are held against each other.
        previous: number of a run with an audit, whose list is asked after again.

    Raises:
        ValueError: if a run is not what it should be, or an audit waits or runs in the project.
    """
    _check(store, actor, project_id, number, policy, previous)
    project = store.projects.get(actor, project_id)
    words = ["annotate_app", "traits", "audit", project.number, str(number)]
    words += ["--policy", str(policy)] if policy else []
    words += ["--previous", str(previous)] if previous else []
    title = f"Audit of run {number}"
    return jobs.start(store, actor, kind=KIND, title=title, command=words, project_id=project.id, alone=True)


def make_audit(
    store: Store, actor: Actor, project_id: int, number: int, *, policy: int | None = None, previous: int | None = None
) -> Findings:
    """Audits a run's reward model with the project's votes as they are now; see `start`."""
    run, answers, earlier = _check(store, actor, project_id, number, policy, previous)
    folder = run.folder / FOLDER
    draft = folder.with_name(f"{FOLDER}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    votes = draft / "votes.jsonl"
    export_rows(store, actor, project_id, votes, ExportOptions(ties="keep", sources=True))
    config = AuditConfig(
        out=str(draft / "audit"),
        model=str(run.model),
        votes=str(votes),
        policy=[str(answers)] if answers else [],
        previous=str(earlier) if earlier else "",
        on_bad_row="skip",
    )
    inputs = read_inputs(config)
    written = Run(config.out, config)
    findings, rows = audit(
        config,
        inputs,
        load_reward_fn(config.model),
        told=lambda done, total: report_progress(done, total, "answers scored"),
    )
    write_audit(findings, rows, written.dir)
    written.status("done")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return findings


def read_audit(run: ModelRun) -> Mapping[str, Any] | None:
    """The figures of a run's audit, see `rewardkit.audit.findings`; None where there is none."""
    try:
        return json.loads((run.folder / FOLDER / "audit" / AUDIT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def report_of(run: ModelRun) -> Path:
    """The report of a run's audit."""
    return run.folder / FOLDER / "audit" / "report.html"


def send_pairs(store: Store, actor: Actor, project_id: int, number: int) -> Imported:
    """Imports the audit's pairs to label into the project; those that are there already stay. Lead or above.

    Raises:
        ValueError: if the run has no audit, or it left nothing to label.
    """
    run = find_run(store, actor, project_id, number)
    pairs = run.folder / FOLDER / "audit" / PAIRS_FILE
    if not pairs.is_file():
        raise ValueError(f"the audit of run {number} left no pairs to label, or there is none")
    return import_comparisons(store, actor, project_id, [pairs], ImportOptions(on_bad_row="skip"))


def answers_of(run: ModelRun) -> Path | None:
    """A policy's answers before and after, from its evaluation; None where it has none."""
    path = run.folder / EVALUATION / COMPLETIONS
    return path if run.is_policy and path.is_file() else None


def _check(
    store: Store, actor: Actor, project_id: int, number: int, policy: int | None, previous: int | None
) -> tuple[ModelRun, Path | None, Path | None]:
    """The run, the policy's answers, and the folder of the earlier audit."""
    actor.require("lead", "auditing a reward model", project_id)
    run = find_run(store, actor, project_id, number)
    if not run.is_scorer:
        raise ValueError(f"run {number} has no reward model: it is a {run.trains} run, {run.job.state}")
    answers = answers_of(find_run(store, actor, project_id, policy)) if policy else None
    if policy and answers is None:
        raise ValueError(f"run {policy} has no answers before and after: it is no policy that was evaluated")
    earlier = find_run(store, actor, project_id, previous) if previous else None
    if earlier and read_audit(earlier) is None:
        raise ValueError(f"run {previous} has no audit")
    return run, answers, earlier.folder / FOLDER / "audit" if earlier else None
