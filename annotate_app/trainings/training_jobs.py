"""Trainings of reward models and policies, and best of n: queued from a page, carried out by a job, its run directory.

training.yaml   what was asked for, see `annotate_app.trainings.plan_files`
prompts.*       prompts that were uploaded for what draws answers
data/           the snapshot: train, validation and test rows of the project or of best of n, split by prompt; for what
                draws answers prompts alone, train and test
train.yaml      the configuration of the command: `rewardkit train`, `alignment sft|dpo|ppo|grpo|online-dpo|bon`
data/on_policy.jsonl   rows of a turn of the loop that its reward model does not learn from
model/          the run of that command, the model in it
evaluation/     report.html of the test rows, which the model has never seen: `rewardkit evaluate` of a reward model,
                `alignment evaluate` of a policy beside the one it began from, where that one lies in a folder

on-policy-before/, on-policy-after/   reports on the rows of on_policy.jsonl, of the reward model before and of this one

Best of n trains nothing: in place of model/ and evaluation/ it leaves what `annotate_app.trainings.best_rows`
describes.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import yaml

from annotate_app.access import Actor
from annotate_app.jobs import jobs
from annotate_app.jobs.jobs import report_progress
from annotate_app.jobs.processes import run_module
from annotate_app.store.jobs import ENDED, Job
from annotate_app.store.store import Store
from annotate_app.trainings.best_rows import make_rows, rows_of
from annotate_app.trainings.options import DATA, MODEL, TRAININGS, Config, place_config
from annotate_app.trainings.plan_files import Plan, read_plan, write_plan
from annotate_app.trainings.plans import INSTALL, PRESETS, TrainingPlan, missing_packages, names_files
from annotate_app.trainings.sampling_plans import SamplingPlan
from annotate_app.trainings.snapshot import ON_POLICY_ROWS, take_prompts, take_rows, take_snapshot
from rewardkit.data.files import read_rows
from rewardkit.run.directory import read_status, write_text

KIND = "train"
ON_POLICY_BEFORE, ON_POLICY_AFTER = "on-policy-before", "on-policy-after"
PLAN, CONFIG, EVALUATION = "training.yaml", "train.yaml", "evaluation"
STEPS = ("exporting", "training", "evaluating")
NUM_EVALUATED, EVALUATED_TOKENS = 50, 128  # prompts that a policy answers for its report, and tokens of an answer


def start(store: Store, actor: Actor, plan: Plan, *, prompts: bytes = b"") -> Job:
    """Queues a training. Lead or above; admins alone where rewards are code or a server, or prompts any file.

    Args:
        prompts: content of the file that the plan names as uploaded.

    Raises:
        ValueError: if a package is missing that it takes, or rows that it is to learn from.
    """
    if isinstance(plan, SamplingPlan) and plan.needs_admin:
        actor.require("admin", "a reward by a function, a server or a rubric, or a file on the server,")
    if isinstance(plan, TrainingPlan) and names_files(plan.suite):
        actor.require("admin", "a suite of files on the server")
    if missing := missing_packages(plan.config.model):
        raise ValueError(f"{plan.config.model} needs {' and '.join(missing)}: {INSTALL}")
    project = store.projects.get(actor, plan.project)
    if isinstance(plan, TrainingPlan) and plan.rows_of:
        rows_of(store, actor, plan.project, plan.rows_of)
    trained = (job for job in store.jobs.list(actor, project.id, limit=1000) if job.kind == KIND)
    runs = {str(Path(job.run_dir).resolve() / MODEL): f"run {job.id}" for job in trained}
    files: dict[str, str | bytes] = {PLAN: write_plan(plan)}
    if isinstance(plan, SamplingPlan) and plan.prompts and not plan.names_server_file:
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
        if isinstance(plan, SamplingPlan):
            take_prompts(store, actor, plan, run_dir, run_dir / DATA)
        elif plan.rows_of:
            take_rows(rows_of(store, actor, plan.project, plan.rows_of), plan, run_dir / DATA)
        else:
            take_snapshot(store, actor, plan, run_dir / DATA)
    report_progress(1, len(STEPS), STEPS[1])
    if plan.trains == "bon":
        return make_rows(run_dir, _write_config(run_dir, plan.config))
    model = run_dir / MODEL
    state = read_status(model).get("state")
    if state != "done":
        config = _write_config(run_dir, plan.config)
        code = run_module(*TRAININGS[plan.trains].command, f"--config={config}", *(["--resume"] if state else []))
        if code:
            return code
    report_progress(2, len(STEPS), STEPS[2])
    evaluation = run_dir / EVALUATION
    if read_status(evaluation).get("state") != "done" and (words := _evaluation(plan, model, run_dir / DATA)):
        evaluation = _unused(evaluation)
        code = run_module(*words, f"--out={evaluation}")
        if code:
            return code
    if isinstance(plan, TrainingPlan) and (run_dir / DATA / ON_POLICY_ROWS).is_file():
        for folder, measured in ((ON_POLICY_BEFORE, plan.before), (ON_POLICY_AFTER, str(model))):
            code = _measure_on_policy(run_dir, folder, measured) if measured else 0
            if code:
                return code
    report_progress(3, len(STEPS), "done")
    return 0


def _write_config(run_dir: Path, config: Config) -> Path:
    """Writes the file that the command is given."""
    path = run_dir / CONFIG
    write_text(path, yaml.safe_dump(asdict(place_config(config, run_dir)), sort_keys=False, allow_unicode=True))
    return path


def _evaluation(plan: Plan, model: Path, data: Path) -> list[str]:
    """The command that writes the report; empty for a policy made here, which has nothing to be held against."""
    if plan.trains == "reward":
        return ["rewardkit", "evaluate", f"--model={model}", f"--data={data}:test"]
    if plan.config.model in PRESETS:
        return []
    longest, judge = EVALUATED_TOKENS, ""
    if isinstance(plan, SamplingPlan):
        longest, judge = min(longest, plan.config.max_new_tokens), plan.reward_model
    words = [f"--max_prompts={NUM_EVALUATED}", f"--max_new_tokens={longest}", *([f"--reward={judge}"] if judge else [])]
    words += [f"--suite={part}" for part in plan.suite]
    return [
        "alignment",
        "evaluate",
        f"--model={model}",
        f"--base={plan.config.model}",
        f"--prompts={data}:test",
        *words,
    ]


def _measure_on_policy(run_dir: Path, name: str, model: str) -> int:
    """Evaluates a reward model on the rows that a turn kept apart; the exit code.

    Their prompts may have been trained on with other answers, as prompts come again from turn to turn; the pairs not.
    """
    out = run_dir / name
    if read_status(out).get("state") == "done":
        return 0
    data = run_dir / DATA / ON_POLICY_ROWS
    if not any(row["p_chosen"] > 0.5 for _, row in read_rows(str(data))):
        return 0  # people are even on all of them, so nothing can be right or wrong
    words = [f"--model={model}", f"--data={data}", "--allow_leakage", f"--out={_unused(out)}"]
    return run_module("rewardkit", "evaluate", *words)


def _unused(folder: Path) -> Path:
    """The folder, with what an evaluation that broke off left there out of the way."""
    number = 1
    while folder.exists() and (aside := folder.with_name(f"{folder.name}.broken{number}")):
        if aside.exists():
            number += 1
        else:
            folder.rename(aside)
    return folder
