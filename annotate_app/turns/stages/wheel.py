"""The wheel: begins a turn and its stages, brings each up to date with its job, and sets back, adopts, skips or stops.

What a stage does runs elsewhere: as a job of this folder (`stage_jobs`), as a training, as a judge's run, or before
people. Here only order and record change, each change in one transaction behind the turn's own lock, so that two
servers, a page, a command and the worker may all turn it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignment.config.rewards import read_reward
from annotate_app.access import Actor
from annotate_app.jobs import jobs
from annotate_app.judges import jobs as judge_jobs
from annotate_app.store.jobs import ENDED, Job
from annotate_app.store.loop.turns import STAGES, Stage, StageRecord, Turn, open_turn
from annotate_app.store.store import Store
from annotate_app.trainings import training_jobs
from annotate_app.trainings.options import MODEL, default_of
from annotate_app.trainings.runs import list_policies, list_runs
from annotate_app.turns.chain import ancestors
from annotate_app.turns.plan import TurnPlan, plan_values, read_plan
from annotate_app.turns.policies import find_policy
from annotate_app.turns.stages.adopting import adopted_result
from annotate_app.turns.stages.stage_jobs import read_result
from annotate_app.turns.stages.trainings import align_plan, learn_plan, on_policy_figures
from annotate_app.turns.waiting import count_waiting

logger = logging.getLogger(__name__)
KIND = "loop"


def start_turn(
    store: Store, actor: Actor, project_id: int, values: Mapping[str, Any] | None = None, *, parent: int | None = None
) -> Turn:
    """Opens the project's next turn; none of its stages begins yet. Lead or above.

    Args:
        values: of its plan, as `annotate_app.turns.plan.read_plan` reads them; what they leave out is as in the parent.
        parent: number of the turn that it begins from; None takes the last one that was done, if any.

    Raises:
        ValueError: if a turn is open, or the plan is not allowed: a policy, say, that is not there.
    """
    turns = store.turns.list(actor, project_id)
    if (under_way := open_turn(turns)) is not None:
        raise ValueError(f"turn {under_way.number} is open: finish or stop it first")
    if parent is None:
        parent = max((turn.number for turn in turns if turn.state == "done"), default=None)
    before = next((turn for turn in turns if turn.number == parent), None)
    if parent is not None and before is None:
        raise ValueError(f"parent is {parent}, turns are {', '.join(str(turn.number) for turn in turns) or 'none'}")
    values = values or {}
    plan = read_plan(values, read_plan(before.plan)) if before else first_plan(store, actor, project_id, values)
    if before and plan.policy != read_plan(before.plan).policy:
        raise ValueError(f"policy is turn 0's, {read_plan(before.plan).policy}: begin anew in another project")
    if before is None:
        plan = replace(plan, policy=_named(store, actor, project_id, plan))
    for name in plan.judge.judges:
        store.judges.get(actor, project_id, name)
    if not plan.judge.people and (rule := store.projects.get(actor, project_id).design.rule) != "dawid_skene":
        raise ValueError(
            f"judge.people is false, and the project's rule is {rule}: judges count under dawid_skene alone"
        )
    _check_rights(actor, plan, read_plan(before.plan) if before else None)
    return store.turns.add(actor, project_id, plan_values(plan), parent)


def first_plan(store: Store, actor: Actor, project_id: int, values: Mapping[str, Any]) -> TurnPlan:
    """The plan of a project's first turn: what is left out follows from what is there.

    The policy is the newest that the project trained, the reward model is trained as the project's newest was.

    Raises:
        ValueError: if there is no policy, or the plan is not allowed.
    """
    runs = list_runs(store, actor, project_id)
    defaults: dict[str, Any] = {}
    if policies := list_policies(runs):
        defaults["policy"] = f"run-{policies[0].job.id}"
    if models := [run for run in runs if run.is_scorer]:
        options: Mapping[str, Any] = models[0].plan.get("config") or {}
        changed = {name: value for name, value in options.items() if value != default_of("reward", name)}
        defaults["learn"] = {"config": changed}
    return read_plan(defaults | dict(values))


def _check_rights(actor: Actor, plan: TurnPlan, before: TurnPlan | None) -> None:
    """Files of the server, code and other machines are an admin's to name, as in trainings; the worker runs them all.

    What an admin named for the turn before may stay.
    """
    files = {plan.write.prompts, plan.check.prompts} - {""}
    audits = list(plan.align.config.get("audit_reward") or ())
    outside = {spec for spec in audits if read_reward(spec).kind in ("function", "server")}
    if before:
        files -= {before.write.prompts, before.check.prompts}
        outside -= set(before.align.config.get("audit_reward") or ())
    if files:
        actor.require("admin", "prompts of a file on the server")
    if outside:
        actor.require("admin", "a reward by a function or a server")


def _named(store: Store, actor: Actor, project_id: int, plan: TurnPlan) -> str:
    """The policy of the plan as a preset, a whole path or a hub id."""
    return find_policy(store, actor, project_id, plan.policy).model


def next_stage(turn: Turn) -> Stage | None:
    """The stage to begin: the first that is not behind it; None where one is under way, or all are done."""
    for record in turn.stages:
        match record.state:
            case "done" | "skipped":
                continue
            case "waiting" | "failed":
                return record.stage
            case "running" | "people":
                return None
    return None


def begin_stage(store: Store, actor: Actor, project_id: int, number: int, stage: Stage) -> StageRecord:
    """Begins a stage, or one that failed once more: queues its job, or puts its pairs before people. Lead or above.

    Raises:
        ValueError: if it is not its turn, or what it needs is missing.
    """
    with store.turns.locked(actor, project_id, number) as turn:
        return _begin(store, actor, turn, stage)


def _begin(store: Store, actor: Actor, turn: Turn, stage: Stage) -> StageRecord:
    record = turn.stage(stage)
    if turn.state != "open":
        raise ValueError(f"turn {turn.number} is {turn.state}: its stages do not begin any more")
    if record.state in ("running", "people"):
        raise ValueError(f"{stage} of turn {turn.number} is under way")
    if record.state in ("done", "skipped"):
        raise ValueError(f"{stage} of turn {turn.number} is {record.state}: redo it first")
    if (due := next_stage(turn)) != stage:
        raise ValueError(f"{stage} of turn {turn.number} comes after {due or 'a stage that is under way'}")
    plan = read_plan(turn.plan)
    state: Any = "running"
    result: dict[str, Any] = {}
    job: Job | None = None
    match stage:
        case "write" | "choose" | "check":
            job = _start_own(store, actor, turn, stage)
        case "judge":
            keys = [pair.key for pair in store.turns.pairs(actor, turn.id)]
            if not keys:
                raise ValueError(f"turn {turn.number} has no pairs to judge: choose some")
            started = [
                judge_jobs.start(store, actor, turn.project_id, name, comparisons=keys) for name in plan.judge.judges
            ]
            result = {"jobs": [one.id for one in started], "num_pairs": len(keys)}
            job = started[-1] if started else None
            state = "running" if started else "people"
        case "learn":
            job = training_jobs.start(store, actor, learn_plan(store, actor, turn, plan))
        case "align":
            job = training_jobs.start(store, actor, align_plan(store, actor, turn, plan))
    store.turns.update_stage(
        actor, turn.id, stage, state=state, job_id=job.id if job else None, result=result, begins=True
    )
    return store.turns.get(actor, turn.project_id, turn.number).stage(stage)


def _start_own(store: Store, actor: Actor, turn: Turn, stage: Stage) -> Job:
    project = store.projects.get(actor, turn.project_id)
    command = ["annotate_app", "loop", "stage", project.number, str(turn.number), stage]
    title = f"Turn {turn.number}: {stage}"
    return jobs.start(store, actor, kind=KIND, title=title, command=command, project_id=turn.project_id)


def advance(store: Store, actor: Actor, project_id: int) -> Turn | None:
    """Brings the open turn up to date; with `auto` in its plan, begins what is due. Does the same however often.

    Returns:
        The turn that was open, as it stands now; None where none was.
    """
    turn = open_turn(store.turns.list(actor, project_id))
    if turn is None:
        return None
    with store.turns.locked(actor, project_id, turn.number) as turn:
        for record in turn.stages:
            if record.state == "running":
                _follow(store, actor, turn, record)
            elif record.state == "people":
                _count(store, actor, turn, record)
        turn = store.turns.get(actor, project_id, turn.number)
        if all(record.state in ("done", "skipped") for record in turn.stages):
            store.turns.end(actor, turn.id, "done")
        elif read_plan(turn.plan).auto:
            _begin_due(store, actor, turn)
        return store.turns.get(actor, project_id, turn.number)


def advance_all(store: Store) -> None:
    """Brings all open turns up to date; for the worker, which goes on whatever is wrong with one of them."""
    for project_id in store.turns.open_projects():
        try:
            advance(store, Actor.command_line(), project_id)
        except Exception:  # whatever it is: the turns of other projects, and the worker's jobs, go on
            logger.exception("project %s: its turn does not advance", project_id)


def _begin_due(store: Store, actor: Actor, turn: Turn) -> None:
    """Begins the next stage, if it is no failed one; one that cannot begin has failed."""
    stage = next_stage(turn)
    if stage is None or turn.stage(stage).state == "failed":
        return
    try:
        with store.database.write():  # what a stage that cannot begin has stored is taken back
            _begin(store, actor, turn, stage)
    except ValueError as error:
        store.turns.update_stage(actor, turn.id, stage, state="failed", result={"message": str(error)}, begins=True)


def _follow(store: Store, actor: Actor, turn: Turn, record: StageRecord) -> None:
    """Takes over what the stage's jobs have come to."""
    numbers = [int(number) for number in record.result.get("jobs", ())] or [record.job_id]
    stage_jobs = [store.jobs.get(actor, number) for number in numbers if number is not None]
    if not stage_jobs:
        _fail(store, actor, turn, record, "its job is not known any more")
        return
    if record.stage in ("learn", "align"):  # somebody may have let a training go on, as another job in its folder
        stage_jobs = [_newest(store, actor, stage_jobs[0])]
    if any(job.state not in ENDED for job in stage_jobs):
        return
    if broken := next((job for job in stage_jobs if job.state != "done"), None):
        _fail(store, actor, turn, record, f"job {broken.id} {broken.state}: {broken.message}".rstrip(": "))
        return
    try:
        result = _result_of(store, actor, turn, record, stage_jobs[-1])
    except (ValueError, OSError, KeyError) as error:
        _fail(store, actor, turn, record, f"job {stage_jobs[-1].id} left nothing that can be read: {error}")
        return
    people = record.stage == "check" or (record.stage == "judge" and read_plan(turn.plan).judge.people)
    store.turns.update_stage(actor, turn.id, record.stage, state="people" if people else "done", result=result)
    if people:
        _count(store, actor, turn, replace(record, result=result, state="people"))


def _newest(store: Store, actor: Actor, job: Job) -> Job:
    same = [one for one in store.jobs.list(actor, job.project_id, limit=1000) if one.run_dir == job.run_dir]
    return max(same, key=lambda one: one.id, default=job)


def _result_of(store: Store, actor: Actor, turn: Turn, record: StageRecord, job: Job) -> dict[str, Any]:
    folder = Path(job.run_dir).resolve()
    match record.stage:
        case "write" | "choose" | "check":
            result = read_result(folder)
            if not result:
                raise ValueError(f"{folder} has no result")
            return result
        case "judge":
            answers = store.turn_votes.judges(actor, turn.project_id).get(turn.number, {})
            return {**record.result, "num_judge_votes": sum(answers.values())}
        case "learn":
            return {"run": job.id, "model": str(folder / MODEL), **on_policy_figures(folder)}
        case "align":
            policy = {"name": f"run-{job.id}", "model": str(folder / MODEL)}
            return {"run": job.id, "policy": policy}


def _fail(store: Store, actor: Actor, turn: Turn, record: StageRecord, message: str) -> None:
    result = {**record.result, "message": message[:500]}
    store.turns.update_stage(actor, turn.id, record.stage, state="failed", result=result)


def _count(store: Store, actor: Actor, turn: Turn, record: StageRecord) -> None:
    """Ends a stage that waits for people once nothing is wanted of them any more."""
    waiting = count_waiting(store, actor, turn, record)
    if waiting.num_wanted == 0:
        store.turns.update_stage(
            actor, turn.id, record.stage, state="done", result={**record.result, "num_judged": waiting.num_judged}
        )


def cancel_stage(store: Store, actor: Actor, project_id: int, number: int, stage: Stage) -> None:
    """Stops what a stage has under way: its jobs; or its wait for people, with the votes that are there. Lead or above.

    Raises:
        ValueError: if it is not under way.
    """
    with store.turns.locked(actor, project_id, number) as turn:
        record = turn.stage(stage)
        if record.state not in ("running", "people"):
            raise ValueError(f"{stage} of turn {number} is {record.state}, there is nothing to cancel")
        _cancel_jobs(store, actor, record)
        _fail(store, actor, turn, record, f"cancelled by {actor.name}")


def _cancel_jobs(store: Store, actor: Actor, record: StageRecord) -> None:
    if record.state != "running":
        return
    numbers = [int(number) for number in record.result.get("jobs", ())] or [record.job_id]
    for job_id in numbers:
        if job_id is not None:
            store.jobs.cancel(actor, job_id)


def redo_stage(store: Store, actor: Actor, project_id: int, number: int, stage: Stage) -> Turn:
    """Sets a stage and all after it back, so that it can begin once more. Lead or above.

    What they left stays on the disk, runs stay runs, and rounds that people judged stay rounds. Pairs of the turn that
    nobody has touched leave the project where they are chosen anew.

    Raises:
        ValueError: if the turn is not open and not the newest, or the stage has not begun.
    """
    with store.turns.locked(actor, project_id, number) as turn:
        turns = store.turns.list(actor, project_id)
        if turn.stage(stage).state == "waiting":
            raise ValueError(f"{stage} of turn {number} has not begun")
        if later := next((other for other in turns if number in _line(turns, other) and other.number != number), None):
            raise ValueError(f"turn {later.number} stands on turn {number}: what it began from cannot change any more")
        if turn.state != "open" and (other := open_turn(turns)):
            raise ValueError(f"turn {other.number} is open: finish or stop it first")
        behind = STAGES[STAGES.index(stage) :]
        for name in reversed(behind):
            record = turn.stage(name)
            _cancel_jobs(store, actor, record)
            if name == "choose" and record.state != "waiting":
                store.turns.withdraw_pairs(actor, turn.id)
            if record.state != "waiting":
                store.turns.update_stage(actor, turn.id, name, state="waiting")
        if turn.state != "open":
            store.turns.end(actor, turn.id, "open")
        return store.turns.get(actor, project_id, number)


def _line(turns: Sequence[Turn], turn: Turn) -> set[int]:
    return {one.number for one in ancestors(turns, turn)}


def adopt_stage(store: Store, actor: Actor, project_id: int, number: int, stage: Stage, what: str) -> StageRecord:
    """Takes over as a stage's result what was done by hand: a run, a file, a folder, a round. Lead or above.

    Args:
        what: see `annotate_app.turns.stages.adopting.adopted_result`.

    Raises:
        ValueError: if it is not the stage's turn, or `what` is nothing of that kind.
    """
    with store.turns.locked(actor, project_id, number) as turn:
        if turn.state != "open" or turn.stage(stage).state in ("done", "skipped", "running"):
            raise ValueError(f"{stage} of turn {number} is {turn.stage(stage).state}, turn {turn.state}: redo it first")
        if turn.stage(stage).state == "waiting" and next_stage(turn) != stage:
            raise ValueError(f"{stage} of turn {number} comes after {next_stage(turn) or 'a stage that is under way'}")
        result = adopted_result(store, actor, turn, stage, what)
        state: Any = "people" if stage == "check" else "done"
        store.turns.update_stage(actor, turn.id, stage, state=state, result=result, adopted=True)
        if state == "people":
            _count(store, actor, turn, replace(turn.stage(stage), result=result, state="people"))
    advance(store, actor, project_id)
    return store.turns.get(actor, project_id, number).stage(stage)


def skip_stage(store: Store, actor: Actor, project_id: int, number: int, stage: Stage) -> Turn:
    """Passes a stage over; one that waits for people ends with the votes that are there. Lead or above.

    Raises:
        ValueError: if the turn cannot do without it, or it is not its turn.
    """
    with store.turns.locked(actor, project_id, number) as turn:
        record = turn.stage(stage)
        if turn.state != "open":
            raise ValueError(f"turn {number} is {turn.state}")
        if record.state == "people":
            store.turns.update_stage(actor, turn.id, stage, state="done", result={**record.result, "cut_short": True})
        elif stage in ("write", "choose"):
            raise ValueError(f"{stage} cannot be skipped: adopt a file in its place")
        elif next_stage(turn) != stage:
            raise ValueError(f"{stage} of turn {number} is {record.state}: only the stage that is due can be skipped")
        else:
            store.turns.update_stage(actor, turn.id, stage, state="skipped")
    return advance(store, actor, project_id) or store.turns.get(actor, project_id, number)


def stop_turn(store: Store, actor: Actor, project_id: int, number: int) -> Turn:
    """Ends a turn as it stands: what is under way is cancelled, what was found stays. Lead or above.

    Raises:
        ValueError: if it is not open.
    """
    with store.turns.locked(actor, project_id, number) as turn:
        if turn.state != "open":
            raise ValueError(f"turn {number} is {turn.state}")
        for record in turn.stages:
            if record.state in ("running", "people"):
                _cancel_jobs(store, actor, record)
                _fail(store, actor, turn, record, f"the turn was stopped by {actor.name}")
        store.turns.end(actor, turn.id, "stopped")
        return store.turns.get(actor, project_id, number)
