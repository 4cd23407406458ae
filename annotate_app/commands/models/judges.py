"""`judge`: annotators that are no people. Their votes are kept apart from those of people."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.imports import FORMATS, NEGATIVE, parse_map
from annotate_app.commands.models.judge_report import REPORT
from annotate_app.commands.project_votes import opened_project

if TYPE_CHECKING:
    from alignment.judges.spec import JudgeSpec
    from annotate_app.judges.running import Estimate, RunOptions, RunPlan, RunResult
    from annotate_app.store.loop.judges import JudgeRow
    from annotate_app.store.store import Store

SOURCES = ("endpoint", "local", "reward", "function")


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("judge", help="name of the judge")
    _json(parser)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("--endpoint", default="", help="URL of an OpenAI-compatible endpoint, up to its version (/v1)")
    parser.add_argument("--local", default="", help="folder of a causal language model")
    parser.add_argument("--reward", default="", help="folder of a reward model")
    parser.add_argument("--function", default="", help="Python function, module:function or path/file.py:function")
    parser.add_argument("--model", default="", help="what the endpoint calls the model")
    parser.add_argument("--key-variable", default="", help="name of the environment variable that holds the key")
    parser.add_argument("--one-order", action="store_true", help="ask each pair once, in an order by chance")
    parser.add_argument("--samples", type=int, default=1, help="answers to each question")
    parser.add_argument("--temperature", type=float, default=0.0, help="of the answers")
    parser.add_argument("--max-new-tokens", type=int, default=512, help="tokens of an answer")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for an answer")
    parser.add_argument("--concurrency", type=int, default=8, help="questions under way at the same time")
    parser.add_argument("--requests-per-minute", type=int, default=0, help="most questions in a minute, 0 for no limit")
    parser.add_argument("--prompt-price", type=float, default=0.0, help="price of a million tokens that it reads")
    parser.add_argument("--completion-price", type=float, default=0.0, help="price of a million tokens that it writes")
    parser.add_argument("--no-criteria", action="store_true", help="ask the overall question alone")
    parser.add_argument("--reasoning", action="store_true", help="let it think in words before it answers")
    parser.add_argument("--debate-rounds", type=int, default=0, help="rounds that two debaters argue before it decides")
    parser.add_argument(
        "--debater", default="", help="file of a judge's fields that argues in its place (YAML or JSON)"
    )


def _read_spec(options: argparse.Namespace) -> JudgeSpec:
    from alignment.judges.spec import JudgeSpec
    from alignment.judges.spec_file import read_judge_file
    from rewardkit.run.model_folder import model_folder

    chosen = [name for name in SOURCES if options[name]]  # type: ignore[index]
    if len(chosen) != 1:
        raise ValueError(f"name one of {', '.join(f'--{name}' for name in SOURCES)}, {len(chosen)} are given")
    (kind,) = chosen
    target = options[kind]  # type: ignore[index]
    if kind in ("local", "reward"):
        folder = model_folder(target)
        target = str(Path(folder).resolve()) if Path(folder).is_dir() else target
    if kind == "function" and ".py:" in target:
        path, _, function = target.rpartition(":")
        if not Path(path).is_file():
            raise ValueError(f"--function {target}: there is no file {path}")
        target = f"{Path(path).resolve()}:{function}"
    return JudgeSpec(
        kind=kind,  # pyright: ignore[reportArgumentType] (one of SOURCES)
        target=target,
        model=options.model,
        key_variable=options.key_variable,
        both_orders=not options.one_order,
        samples=options.samples,
        temperature=options.temperature,
        max_new_tokens=options.max_new_tokens,
        timeout_s=options.timeout,
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute,
        prompt_price=options.prompt_price,
        completion_price=options.completion_price,
        criteria=not options.no_criteria,
        reasoning=options.reasoning,
        debate_rounds=options.debate_rounds,
        debater=read_judge_file(options.debater, option="--debater") if options.debater else None,
    )


def _add(options: argparse.Namespace) -> int:
    spec = _read_spec(options)
    with opened_project(options) as (store, project):
        judge = store.judges.add(ACTOR, project.id, options.judge, spec)
    if options.json:
        print_json(_values(judge))
    else:
        print(f"{judge.name} judges in {project.name}: {judge.spec.described}; `judge run` asks it")
    return 0


def _values(judge: JudgeRow) -> dict[str, object]:
    return {
        "name": judge.name,
        "archived": judge.archived,
        "num_votes": judge.num_votes,
        "created_by": judge.created_by,
        "created_at": judge.created_at,
        "spec": judge.spec.as_dict(),
        "examples": {name: list(one.keys) for name, one in judge.example_sets.items()},
    }


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--all", action="store_true", help="with those that are put away")
    _json(parser)


def _list(options: argparse.Namespace) -> int:
    from rewardkit.report.table import text_table

    with opened_project(options) as (store, project):
        judges = store.judges.list(ACTOR, project.id, archived=options.all)
    if options.json:
        print_json([_values(judge) for judge in judges])
        return 0
    if not judges:
        print(f"{project.name} has no judges; `judge add` makes one")
        return 0
    rows = [[judge.name, judge.spec.kind, judge.spec.described, f"{judge.num_votes:,}"] for judge in judges]
    print(text_table(("judge", "kind", "what answers", "answers"), rows, num_left=3))
    return 0


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("--undo", action="store_true", help="take it back")


def _remove(options: argparse.Namespace) -> int:
    with opened_project(options) as (store, project):
        store.judges.archive(ACTOR, project.id, options.judge, archived=not options.undo)
    if options.json:
        print_json({"judge": options.judge, "archived": not options.undo})
    else:
        print(f"{options.judge} is {'back' if options.undo else 'put away; its votes stay'}")
    return 0


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what it will cost, and ask nothing")
    parser.add_argument("--comparisons", default="", help="file with the ids of the comparisons to judge, one a line")
    parser.add_argument("--samples", type=int, default=0, help="answers to each question (default: the judge's)")
    parser.add_argument("--examples", type=int, default=0, help="pairs settled by people to show it, never tested on")
    parser.add_argument("--seed", type=int, default=0, help="that the examples are drawn by")
    parser.add_argument("--max-cost", type=float, default=0.0, help="most to spend, in the currency of the prices")
    parser.add_argument("--max-comparisons", type=int, default=0, help="most comparisons to judge")


def _run_options(options: argparse.Namespace) -> RunOptions:
    from annotate_app.judges.running import RunOptions, read_keys

    keys = None
    if options.comparisons:
        path = Path(
            os.environ.get("TIEBREAK_RUN_DIR", ""), options.comparisons
        )  # a job's file lies in its run directory
        with path.open(encoding="utf-8") as lines:
            keys = read_keys(lines)
    return RunOptions(
        keys=keys,
        samples=options.samples,
        examples=options.examples,
        seed=options.seed,
        max_cost=options.max_cost,
        max_comparisons=options.max_comparisons,
    )


def _run(options: argparse.Namespace) -> int:
    from annotate_app.judges.running import estimate, plan_run

    chosen = _run_options(options)
    with opened_project(options) as (store, project):
        plan = plan_run(store, ACTOR, project, options.judge, chosen)
        cost = estimate(store, ACTOR, plan)
        if options.dry_run:
            if options.json:
                print_json({**asdict(cost), "num_asked_before": plan.num_asked})
            else:
                print(_estimate_words(options.judge, plan, cost))
            return 0
        result = _carry_out(store, plan, chosen.max_cost)
    return _say(options, result)


def _carry_out(store: Store, plan: RunPlan, max_cost: float) -> RunResult:
    """Runs with progress; the first signal lets what is under way come in, the second ends at once."""
    from annotate_app.jobs.jobs import report_progress
    from annotate_app.judges.running import run
    from rewardkit.run.progress import Progress
    from rewardkit.run.training_command import Interruption

    progress = Progress("answers kept")

    def tell(done: int, total: int) -> None:
        progress.count(done, total)
        report_progress(done, total, "answers")

    with Interruption().listening() as interruption, interruption.patient():
        return run(store, plan, max_cost=max_cost, tell=tell, stopping=lambda: interruption.asked)


def _say(options: argparse.Namespace, result: RunResult) -> int:
    import sys

    from annotate_app.judges.running import summary

    if options.json:
        print_json(asdict(result))
    else:
        print(f"{options.judge}: {summary(result)}")
    problem = result.stopped or (f"the last without an answer: {result.unanswered}" if result.unanswered else "")
    if problem:
        kept = f"; {result.num_kept:,} answers are kept, another run goes on from there" if result.stopped else ""
        print(f"annotate-app judge run: {problem}{kept}", file=sys.stderr)
    return int(result.failed)


def _estimate_words(name: str, plan: RunPlan, cost: Estimate) -> str:
    parts = [f"{cost.num_answers:,} answers on {cost.num_comparisons:,} comparisons"]
    if plan.num_asked:
        parts[0] += f" ({plan.num_asked:,} asked before)"
    if plan.num_images:
        parts.append(f"{plan.num_images:,} comparisons left out: they show images, which a judge does not see")
    if cost.prompt_tokens:
        most = "about" if cost.measured else "at most"
        parts.append(f"about {cost.prompt_tokens:,} tokens to read, {most} {cost.completion_tokens:,} to write")
    if cost.cost:
        parts.append(f"cost {'about' if cost.measured else 'at most'} {cost.cost:.4g}")
    parts.append("time not known yet" if cost.seconds is None else f"about {cost.seconds:,.0f} s")
    return f"{name}: {', '.join(parts)}"


def _votes_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("judge", nargs="?", default="", help="name of the judge (default: all)")
    parser.add_argument("--out", required=True, help="JSONL, CSV or Parquet file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the file where it is there already")
    _json(parser)


def _votes(options: argparse.Namespace) -> int:
    from annotate_app.exchange.judge_votes import export_votes

    if Path(options.out).exists() and not options.overwrite:
        raise ValueError(f"--out {options.out} is there already; --overwrite replaces it")
    with opened_project(options) as (store, project):
        judge = store.judges.get(ACTOR, project.id, options.judge) if options.judge else None
        num_rows = export_votes(store, ACTOR, project.id, options.out, judge)
    if options.json:
        print_json({"out": options.out, "num_rows": num_rows})
    else:
        print(f"{options.out}: {num_rows:,} votes")
    return 0


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("files", nargs="+", help="rows as `judgments import` takes them: JSONL, JSON, CSV or Parquet")
    parser.add_argument("--map", type=str, nargs="*", default=[], help="FIELD=COLUMN, where a column is not recognised")
    parser.add_argument("--format", choices=FORMATS, default="auto", help="of the files (default: by name and content)")
    parser.add_argument("--on-bad-row", choices=("error", "skip"), default="error", help="skip leaves bad rows out")
    parser._negative_number_matcher = NEGATIVE
    parser.add_argument("--scale", help="of choices that are numbers, LOW..HIGH: the low end prefers a, the high end b")
    parser.add_argument("--choice-map", type=str, nargs="*", default=[], help="VALUE=CHOICE[:STRENGTH]")


def _import(options: argparse.Namespace) -> int:
    from annotate_app.exchange.judge_votes import import_votes
    from annotate_app.exchange.judgments_in import BallotOptions
    from rewardkit.data.choices import parse_choice_map, parse_scale

    chosen = BallotOptions(
        columns=parse_map(options.map),
        scale=parse_scale(options.scale) if options.scale else None,
        choice_map=parse_choice_map(options.choice_map),
        format=None if options.format == "auto" else options.format,
        on_bad_row=options.on_bad_row,
    )
    with opened_project(options) as (store, project):
        files = [Path(file) for file in options.files]
        done = import_votes(store, ACTOR, project.id, options.judge, files, chosen)
    if options.json:
        print_json({**asdict(done), "num_bad": len(done.bad), "bad": [asdict(row) for row in done.bad[:100]]})
        return 0
    for row in done.bad[:20]:
        print(f"left out {row.place}: {row.message}")
    print(
        f"{done.num_added:,} votes of {options.judge} added to {project.name}, {done.num_existing:,} were there, "
        f"{len(done.bad):,} rows left out"
    )
    return 0


def _from_annotator_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("annotator", help="name under which the judgments were imported")
    parser.add_argument("--name", default="", help="of the judge (default: that of the annotator)")
    _json(parser)


def _from_annotator(options: argparse.Namespace) -> int:
    with opened_project(options) as (store, project):
        judge = store.judges.from_annotator(ACTOR, project.id, options.annotator, options.name or options.annotator)
    if options.json:
        print_json(_values(judge))
    else:
        print(f"{judge.num_votes:,} judgments of {options.annotator} are votes of the judge {judge.name} now")
    return 0


COMMANDS = (
    REPORT,
    Command(name="judge add", help="add an annotator that is no person", arguments=_add_arguments, run=_add),
    Command(name="judge list", help="list the judges of a project", arguments=_list_arguments, run=_list),
    Command(name="judge run", help="let a judge judge", arguments=_run_arguments, run=_run),
    Command(name="judge votes", help="write the votes of judges to a file", arguments=_votes_arguments, run=_votes),
    Command(name="judge remove", help="put a judge away; its votes stay", arguments=_remove_arguments, run=_remove),
    Command(
        name="judge import", help="add votes that a judge made elsewhere", arguments=_import_arguments, run=_import
    ),
    Command(
        name="judge from-annotator",
        help="move an imported annotator that is no person out of people's figures",
        arguments=_from_annotator_arguments,
        run=_from_annotator,
    ),
)
