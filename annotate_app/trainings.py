"""Trainings of reward models and policies: queued from a page, carried out by a job in its run directory, the record.

training.yaml   what was asked for (`TrainingPlan`, `OnlinePlan`)
prompts.*       prompts that were uploaded for PPO or GRPO
data/           the snapshot of the project: train, validation and test rows, split by prompt, with their card; of PPO
                and GRPO prompts alone, train and test
train.yaml      the configuration of the training's command: `rewardkit train`, `alignment sft|dpo|ppo|grpo`
model/          the run of that command, the model in it
evaluation/     report.html of the test rows, which the model has never seen: `rewardkit evaluate` of a reward model,
                `alignment evaluate` of a policy beside the one it began from, where that one lies in a folder
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from annotate_app import jobs
from annotate_app.access import Actor
from annotate_app.export_options import ExportOptions
from annotate_app.exporting import export_rows
from annotate_app.jobs import report_progress
from annotate_app.online_plan import OnlinePlan, read_plan
from annotate_app.prompt_snapshot import take_prompts
from annotate_app.store.jobs import ENDED, Job
from annotate_app.store.store import Store
from annotate_app.training_plan import INSTALL, PRESETS, TrainingPlan, missing_packages
from rewardkit.criteria import criterion_targets
from rewardkit.data import Preference
from rewardkit.files import read_rows
from rewardkit.preference_rows import preference_row, read_preference
from rewardkit.runs import read_status, write_text
from rewardkit.writing import write_rows

logger = logging.getLogger(__name__)
KIND = "train"
PLAN, DATA, CONFIG, MODEL, EVALUATION = "training.yaml", "data", "train.yaml", "model", "evaluation"
STEPS = ("exporting", "training", "evaluating")
SPLITS = ("train", "validation", "test")
NUM_EVALUATED, EVALUATED_TOKENS = 50, 128  # prompts that a policy answers for its report, and tokens of an answer


def start(store: Store, actor: Actor, plan: TrainingPlan | OnlinePlan, *, prompts: bytes = b"") -> Job:
    """Queues a training. Lead or above; admins alone where rewards are code or a server, or prompts any file.

    Args:
        prompts: content of the file that the plan names as uploaded.

    Raises:
        ValueError: if a package is missing that it takes.
    """
    if isinstance(plan, OnlinePlan) and plan.needs_admin:
        actor.require("admin", "a reward by a function or a server, or prompts of a file on the server,")
    if missing := missing_packages(plan.model):
        raise ValueError(f"{plan.model} needs {' and '.join(missing)}: {INSTALL}")
    project = store.projects.get(actor, plan.project)
    trained = (job for job in store.jobs.list(actor, project.id, limit=1000) if job.kind == KIND)
    runs = {str(Path(job.run_dir) / MODEL): f"run {job.id}" for job in trained}
    files: dict[str, str | bytes] = {PLAN: plan.text()}
    if isinstance(plan, OnlinePlan) and plan.prompts and not plan.names_server_file:
        files[plan.prompts] = prompts
    return jobs.start(
        store,
        actor,
        kind=KIND,
        title=plan.title(runs),
        command=["annotate_app", "train"],
        project_id=project.id,
        files=files,
    )


def go_on(store: Store, actor: Actor, job_id: int) -> Job:
    """Queues a training that ended before it was done once more; it continues from its last checkpoint.

    Raises:
        ValueError: if it is under way, or done.
    """
    old = store.jobs.get(actor, job_id)
    if old.kind != KIND:
        raise ValueError(f"job {job_id} is no training")
    same = [job for job in store.jobs.list(actor, old.project_id) if job.run_dir == old.run_dir]
    if any(job.state not in ENDED or job.state == "done" for job in same):
        raise ValueError("this training is under way or done")
    return jobs.start(
        store,
        actor,
        kind=KIND,
        title=old.title,
        command=["annotate_app", "train"],
        project_id=old.project_id,
        run_dir=Path(old.run_dir),
    )


def carry_out(store: Store, actor: Actor, run_dir: Path) -> int:
    """Exports, trains and evaluates, as far as that was not done before; the exit code.

    Raises:
        ValueError: if the plan cannot be read, or nothing of the project can be exported.
    """
    run_dir = run_dir.resolve()
    plan = read_plan((run_dir / PLAN).read_text(encoding="utf-8"))
    report_progress(0, len(STEPS), STEPS[0])
    if not (run_dir / DATA).exists():
        if isinstance(plan, OnlinePlan):
            take_prompts(store, actor, plan, run_dir, run_dir / DATA)
        else:
            take_snapshot(store, actor, plan, run_dir / DATA)
    report_progress(1, len(STEPS), STEPS[1])
    model = run_dir / MODEL
    state = read_status(model).get("state")
    if state != "done":
        values = asdict(plan.config(model, run_dir / DATA))
        write_text(run_dir / CONFIG, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        command = ("rewardkit", "train") if plan.trains == "reward" else ("alignment", plan.trains)
        code = _run(*command, f"--config={run_dir / CONFIG}", *(["--resume"] if state else []))
        if code:
            return code
    report_progress(2, len(STEPS), STEPS[2])
    evaluation = run_dir / EVALUATION
    if read_status(evaluation).get("state") != "done" and (words := _evaluation(plan, model, run_dir / DATA)):
        evaluation = _unused(evaluation)
        code = _run(*words, f"--out={evaluation}")
        if code:
            return code
    report_progress(3, len(STEPS), "done")
    return 0


def _evaluation(plan: TrainingPlan | OnlinePlan, model: Path, data: Path) -> list[str]:
    """The command that writes the report; empty for a policy made here, which has nothing to be held against."""
    if plan.trains == "reward":
        return ["rewardkit", "evaluate", f"--model={model}", f"--data={data}:test"]
    if plan.model in PRESETS:
        return []
    longest, judge = EVALUATED_TOKENS, ""
    if isinstance(plan, OnlinePlan):
        longest, judge = min(longest, plan.max_new_tokens), plan.reward_model
    words = [f"--max_prompts={NUM_EVALUATED}", f"--max_new_tokens={longest}", *([f"--reward={judge}"] if judge else [])]
    return ["alignment", "evaluate", f"--model={model}", f"--base={plan.model}", f"--prompts={data}:test", *words]


def take_snapshot(store: Store, actor: Actor, plan: TrainingPlan, folder: Path) -> None:
    """Writes the project's released preferences, split by prompt, with their card.

    Raises:
        ValueError: if a split stays empty.
    """
    shares = {"train": round(1 - 2 * plan.held_out, 6), "validation": plan.held_out, "test": plan.held_out}
    options = ExportOptions(
        min_votes=plan.min_votes,
        min_agreement=plan.min_agreement,
        adjudicated_only=plan.adjudicated_only,
        ties="keep",
        splits=shares,
        sources=True,
    )
    draft = folder.with_name(f"{folder.name}.draft")
    project = store.projects.get(actor, plan.project)
    exported = export_rows(store, actor, project.id, draft, replace(options, overwrite=True))
    print(", ".join(f"{count:,} {split}" for split, count in exported.num_rows.items()))
    for why, count in sorted(exported.left_out.items(), key=lambda item: -item[1]):
        print(f"left out {count:,}: {why}")
    for split in SPLITS:
        if plan.teaches == "criterion":
            file = draft / f"{split}.jsonl"
            rows = list(criterion_rows((read_preference(row) for _, row in read_rows(str(file))), plan.criterion))
            file.unlink()
            write_rows(file, (preference_row(row, sources=True) for row in rows))
            print(f"{len(rows):,} {split} judged by {plan.criterion}")
        if not (draft / f"{split}.jsonl").stat().st_size:
            raise ValueError(f"there is nothing for {split}: too few items have been judged, or the rule is too strict")
    draft.rename(folder)


def criterion_rows(rows: Iterable[Preference], criterion: str) -> Iterator[Preference]:
    """The rows judged by a criterion, turned so that chosen is the better one by it; equal by it is a tie.

    Items are those released by the overall choice; votes, which are overall, are left out.
    """
    for row in rows:
        (p_chosen,), (weight,) = (values[:, 0] for values in criterion_targets([row], [criterion]))
        if not weight:
            continue
        degree = row.criteria[criterion]
        turned = replace(row, p_chosen=max(p_chosen, 1 - p_chosen), margin=abs(degree), criteria={}, votes={})
        if p_chosen < 0.5:
            turned = replace(
                turned,
                chosen=row.rejected,
                rejected=row.chosen,
                source_chosen=row.source_rejected,
                source_rejected=row.source_chosen,
            )
        yield turned


def _unused(folder: Path) -> Path:
    """The folder, with what an evaluation that broke off left there out of the way."""
    number = 1
    while folder.exists() and (aside := folder.with_name(f"{folder.name}.broken{number}")):
        if aside.exists():
            number += 1
        else:
            folder.rename(aside)
    return folder


def _run(*words: str) -> int:
    """Runs a command of a package and waits for it; a signal to the group reaches it by itself."""
    environment = {name: value for name, value in os.environ.items() if name != "TIEBREAK_RUN_DIR"}
    command = subprocess.Popen([sys.executable, "-u", "-m", *words], env=environment)
    asked = False
    while True:
        try:
            return command.wait() or int(asked)
        except KeyboardInterrupt:
            asked = True
