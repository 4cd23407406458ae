"""`loop`: turns of the wheel from the shell; what its page does, by the same functions."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import opened_project, project_arguments

if TYPE_CHECKING:
    from annotate_app.store.loop.turns import Turn
    from annotate_app.store.projects.projects import Project
    from annotate_app.store.store import Store
    from rewardkit.stats.metrics import Interval

STAGES = ("write", "choose", "judge", "learn", "align", "check")


def _turn_number(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turn", type=int, default=0, help="number of the turn (default: the newest)")


def _stage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", choices=STAGES, help="stage of the turn")


def _newest(store: Store, project: Project, number: int) -> Turn:
    """The turn that the options name, or the newest."""
    if number:
        return store.turns.get(ACTOR, project.id, number)
    turns = store.turns.list(ACTOR, project.id)
    if not turns:
        raise ValueError(f"{project.name} has no turns: `annotate-app loop start` begins one")
    return turns[-1]


def _start_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument(
        "--policy", default="", help="policy of turn 0: a run's number, a folder, a hub id, tiny or small"
    )
    parser.add_argument("--plan", default="", help="YAML file with the turn's plan (default: as the turn before)")
    parser.add_argument("--parent", type=int, default=0, help="turn that it begins from (default: the last done)")
    parser.add_argument("--auto", action="store_true", help="let the worker begin each stage when it is due")
    parser.add_argument("--wait", action="store_true", help="open the turn, and leave its first stage to `loop next`")


def _plan_values(options: argparse.Namespace) -> dict[str, Any]:
    from pathlib import Path

    from annotate_app.turns.plan import read_plan_text

    values = read_plan_text(Path(options.plan).read_text(encoding="utf-8")) if options.plan else {}
    values |= {"policy": options.policy} if options.policy else {}
    return values | ({"auto": True} if getattr(options, "auto", False) else {})


def _start(options: argparse.Namespace) -> int:
    from annotate_app.turns.stages.wheel import begin_stage, start_turn

    with opened_project(options) as (store, project):
        turn = start_turn(store, ACTOR, project.id, _plan_values(options), parent=options.parent or None)
        if not options.wait:
            begin_stage(store, ACTOR, project.id, turn.number, "write")
        return _show(options, store, project, store.turns.get(ACTOR, project.id, turn.number))


def _next_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)


def _next(options: argparse.Namespace) -> int:
    from annotate_app.turns.stages.wheel import advance, begin_stage, next_stage, start_turn

    with opened_project(options) as (store, project):
        turn = advance(store, ACTOR, project.id)
        if turn is None or turn.state != "open":
            _newest(store, project, 0)
            turn = start_turn(store, ACTOR, project.id)
        stage = next_stage(turn)
        if stage is None:
            running = next(record for record in turn.stages if record.state in ("running", "people"))
            waits = "waits for people" if running.state == "people" else f"runs as job {running.job_id}"
            raise ValueError(f"{running.stage} of turn {turn.number} {waits}; `loop skip` or `loop cancel` ends it")
        begin_stage(store, ACTOR, project.id, turn.number, stage)
        return _show(options, store, project, store.turns.get(ACTOR, project.id, turn.number))


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    _turn_number(parser)


def _status(options: argparse.Namespace) -> int:
    from annotate_app.turns.stages.wheel import advance

    with opened_project(options) as (store, project):
        advance(store, ACTOR, project.id)
        return _show(options, store, project, _newest(store, project, options.turn))


def _show(options: argparse.Namespace, store: Store, project: Project, turn: Turn) -> int:
    """Prints how a turn stands."""
    from annotate_app.turns.stages.cost import estimate
    from annotate_app.turns.stages.summary import stage_words
    from annotate_app.turns.stages.wheel import next_stage
    from annotate_app.turns.waiting import count_waiting
    from rewardkit.report.table import text_table

    stage = next_stage(turn) if turn.state == "open" else None
    cost = estimate(store, ACTOR, turn, stage) if stage else None
    waiting = {r.stage: count_waiting(store, ACTOR, turn, r) for r in turn.stages if r.state == "people"}
    if options.json:
        stages = {record.stage: asdict(record) for record in turn.stages}
        for name, counts in waiting.items():
            stages[name]["waiting"] = asdict(counts)
        values = asdict(turn) | {"stages": stages, "next": stage, "cost": asdict(cost) if cost else None}
        print_json({"project": project.name, **values})
        return 0
    print(f"{project.name}, turn {turn.number}: {turn.state}")
    rows = [[record.stage, record.state, stage_words(record, waiting.get(record.stage))] for record in turn.stages]
    print(text_table(("stage", "state", ""), rows, num_left=3))
    if stage and cost:
        print(f"next: {stage}, {cost.words}")
    for record in turn.stages:
        if record.state == "running" and record.job_id and store.jobs.get(ACTOR, record.job_id).state == "queued":
            print(f"job {record.job_id} waits for a worker: the server has one; `annotate-app loop run` does it here")
    return 0


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="let simulated annotators judge; a project that is not there is made in the support-desk world",
    )
    parser.add_argument("--policy", default="", help="policy of turn 0, where no turn is there yet")
    parser.add_argument("--plan", default="", help="YAML file with the turn's plan, where a turn is to begin")
    parser.add_argument("--num-prompts", type=int, default=200, help="prompts of a world that is made")


def _run(options: argparse.Namespace) -> int:
    from annotate_app.store.loop.turns import open_turn
    from annotate_app.store.store import Store
    from annotate_app.turns.stages.running import run_turn
    from annotate_app.turns.stages.simulated_people import SIMULATED_PLAN, create_world
    from annotate_app.turns.stages.wheel import start_turn

    store = Store.open(options.db)
    try:
        there = {project.name: project for project in store.projects.list(ACTOR)}
        if options.simulate and options.project not in there and not options.project.lstrip("#").isdecimal():
            project = create_world(store, ACTOR, options.project, num_prompts=options.num_prompts)
        else:
            project = store.projects.get(ACTOR, options.project)
        if open_turn(store.turns.list(ACTOR, project.id)) is None:
            values = _plan_values(options)
            if not values and options.simulate and not store.turns.list(ACTOR, project.id):
                values = SIMULATED_PLAN
            start_turn(store, ACTOR, project.id, values)
        elif options.policy or options.plan:
            raise ValueError("a turn is open and has its plan: --policy and --plan are for one that begins")
        turn = run_turn(
            store, ACTOR, project.id, simulate=options.simulate, told=lambda text: print(text, file=sys.stderr)
        )
        return _show(options, store, project, turn)
    finally:
        store.close()


def _stage_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("turn", type=int, help="number of the turn")
    parser.add_argument("stage", choices=("write", "choose", "check"), help="stage that is a job of its own")
    parser.add_argument("--dir", default="", help="folder to work in (default: the running job's)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _carry_out(options: argparse.Namespace) -> int:
    import os
    from pathlib import Path

    from annotate_app.turns.stages.stage_jobs import RESULT, carry_out

    folder = options.dir or os.environ.get("TIEBREAK_RUN_DIR", "")
    if not folder:
        raise ValueError("--dir is empty, allowed is a folder to work in; `loop next` begins the stage as a job")
    with opened_project(options) as (store, project):
        result = carry_out(store, ACTOR, project.id, options.turn, options.stage, Path(folder).resolve())
    if options.json:
        print_json(result)
    else:
        print(Path(folder) / RESULT)
    return 0


def _redo_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    _stage(parser)
    _turn_number(parser)
    parser.add_argument("--wait", action="store_true", help="set it back only, and leave its begin to `loop next`")


def _redo(options: argparse.Namespace) -> int:
    from annotate_app.turns.stages.wheel import begin_stage, redo_stage

    with opened_project(options) as (store, project):
        turn = _newest(store, project, options.turn)
        redo_stage(store, ACTOR, project.id, turn.number, options.stage)
        if not options.wait:
            begin_stage(store, ACTOR, project.id, turn.number, options.stage)
        return _show(options, store, project, store.turns.get(ACTOR, project.id, turn.number))


def _adopt_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    _stage(parser)
    parser.add_argument("what", nargs="?", default="", help="file, run, folder or round that was made by hand")
    _turn_number(parser)


def _adopt(options: argparse.Namespace) -> int:
    from annotate_app.turns.stages.wheel import adopt_stage

    with opened_project(options) as (store, project):
        turn = _newest(store, project, options.turn)
        adopt_stage(store, ACTOR, project.id, turn.number, options.stage, options.what)
        return _show(options, store, project, store.turns.get(ACTOR, project.id, turn.number))


def _one_stage_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    _stage(parser)
    _turn_number(parser)


def _skip(options: argparse.Namespace) -> int:
    from annotate_app.turns.stages.wheel import skip_stage

    with opened_project(options) as (store, project):
        turn = _newest(store, project, options.turn)
        skip_stage(store, ACTOR, project.id, turn.number, options.stage)
        return _show(options, store, project, store.turns.get(ACTOR, project.id, turn.number))


def _cancel(options: argparse.Namespace) -> int:
    from annotate_app.turns.stages.wheel import cancel_stage

    with opened_project(options) as (store, project):
        turn = _newest(store, project, options.turn)
        cancel_stage(store, ACTOR, project.id, turn.number, options.stage)
        return _show(options, store, project, store.turns.get(ACTOR, project.id, turn.number))


def _stop(options: argparse.Namespace) -> int:
    from annotate_app.turns.stages.wheel import stop_turn

    with opened_project(options) as (store, project):
        turn = _newest(store, project, options.turn)
        return _show(options, store, project, stop_turn(store, ACTOR, project.id, turn.number))


def _lineage_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--policy", default="", help="policy to follow back: a run's number, a folder, a hub id")
    _turn_number(parser)


def _lineage(options: argparse.Namespace) -> int:
    from annotate_app.turns.lineage import read_lineage

    if options.policy and options.turn:
        raise ValueError("--policy and --turn are given, allowed is one of them")
    with opened_project(options) as (store, project):
        steps = read_lineage(store, ACTOR, project.id, policy=options.policy, turn=options.turn or None)
    if options.json:
        print_json([asdict(step) for step in steps])
        return 0
    for step in steps:
        print(step.sentence())
    print("turn 0: no votes of the loop behind it" if not steps else f"turn 0: {steps[-1].from_policy.name}")
    return 0


def _figures(options: argparse.Namespace) -> int:
    from annotate_app.turns.figures import read_figures
    from rewardkit.report.table import text_table

    with opened_project(options) as (store, project):
        figures = read_figures(store, ACTOR, project.id)
    if options.json:
        print_json([asdict(turn) for turn in figures])
        return 0
    rows = [
        [
            str(turn.number),
            turn.state,
            turn.policy,
            f"{turn.num_people_votes:,} + {turn.num_judge_votes:,}",
            *(
                _bounds(value)
                for value in (turn.accuracy_before, turn.accuracy_after, turn.against_previous, turn.against_first)
            ),
            *(_bounds(value) for value in (turn.proxy, turn.kl)),
        ]
        for turn in figures
    ]
    header = ("turn", "state", "policy", "votes + judges'", "right before", "right after", "against previous")
    print(text_table((*header, "against turn 0", "proxy", "KL"), rows, num_left=3) if rows else "no turns")
    return 0


def _bounds(value: Interval | None) -> str:
    """A figure with its interval; a dash where it is not known."""
    if value is None:
        return "-"
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]" if value.is_known else f"{value.value:.2f}"


COMMANDS = (
    Command(name="loop start", help="begin the next turn of the loop", arguments=_start_arguments, run=_start),
    Command(name="loop next", help="begin the stage, or the turn, that is due", arguments=_next_arguments, run=_next),
    Command(name="loop status", help="say how a turn stands", arguments=_status_arguments, run=_status),
    Command(
        name="loop run", help="turn the wheel until people are needed, or simulated", arguments=_run_arguments, run=_run
    ),
    Command(name="loop stage", help="carry out a stage, as its job", arguments=_stage_arguments, run=_carry_out),
    Command(name="loop redo", help="do a stage once more, and all after it", arguments=_redo_arguments, run=_redo),
    Command(name="loop adopt", help="take over what was done by hand", arguments=_adopt_arguments, run=_adopt),
    Command(name="loop skip", help="pass a stage over, or end its wait", arguments=_one_stage_arguments, run=_skip),
    Command(name="loop cancel", help="stop what a stage has under way", arguments=_one_stage_arguments, run=_cancel),
    Command(name="loop lineage", help="follow a policy back to its votes", arguments=_lineage_arguments, run=_lineage),
    Command(name="loop figures", help="hold turns against each other", arguments=project_arguments, run=_figures),
    Command(name="loop stop", help="end the turn as it stands", arguments=_status_arguments, run=_stop),
)
