"""`runs`: the trainings of a project, what is said of them, and what made their numbers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.models.run_figures import FIGURE_COMMANDS
from annotate_app.commands.project_votes import figure, opened_project, project_arguments, run_arguments
from rewardkit.report.table import text_table

if TYPE_CHECKING:
    from annotate_app.trainings.runs import ModelRun

Change = Callable[["ModelRun", argparse.Namespace], dict[str, Any]]


def run_values(run: ModelRun) -> dict[str, Any]:
    """A run as plain values."""
    from annotate_app.trainings.figures import summary_row

    row = {name.replace(" ", "_"): value for name, value in summary_row(run).items()}
    said = asdict(run.said)
    del said["run_dir"]
    return {"number": run.number, "title": run.title, **said, **row, "run": run.name, "folder": str(run.folder)}


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--text", default="", help="words that name, note, tags or model have to hold")
    parser.add_argument("--tag", action="append", default=[], help="tag that a run has to have; may be repeated")
    parser.add_argument("--trains", action="append", default=[], help="what a run trains, as reward or dpo; repeatable")
    parser.add_argument("--state", action="append", default=[], help="state of the run's newest job; may be repeated")
    parser.add_argument("--archived", action="store_true", help="list archived runs too")


def _list(options: argparse.Namespace) -> int:
    from annotate_app.trainings.figures import matching
    from annotate_app.trainings.runs import list_runs

    with opened_project(options) as (store, project):
        runs = matching(
            list_runs(store, ACTOR, project.id),
            text=options.text,
            tags=options.tag,
            trains=options.trains,
            states=options.state,
            archived=options.archived,
        )
    if options.json:
        print_json({"project": project.name, "runs": [run_values(run) for run in runs]})
        return 0
    rows = []
    for run in runs:
        values = run_values(run)
        accuracy = values["test_accuracy"] if values["test_accuracy"] is not None else values["validation_accuracy"]
        rows.append(
            [
                str(run.number),
                run.title[:60],
                str(values["state"]),
                ", ".join(run.said.tags),
                "" if accuracy is None else figure(accuracy, percent=True),
                *("" if values[name] is None else figure(values[name]) for name in ("validation_NLL", "audit_reward")),
            ]
        )
    header = ("run", "title", "state", "tags", "accuracy", "NLL", "audit reward")
    print(text_table(header, rows, num_left=4) if rows else f"{project.name} has no run like that")
    return 0


def _show(options: argparse.Namespace) -> int:
    from annotate_app.trainings.runs import find_run

    with opened_project(options) as (store, project):
        run = find_run(store, ACTOR, project.id, options.run)
    if options.json:
        print_json({**run_values(run), "results": dict(run.results), "evaluation": dict(run.evaluation)})
        return 0
    print(run.name)
    for name, value in run_values(run).items():
        if name not in ("number", "title", "name", "run", "note") and value not in (None, "", [], (), False):
            print(f"  {name}: {', '.join(value) if isinstance(value, list | tuple) else value}")
    if run.said.note:
        print(f"\n{run.said.note}")
    return 0


def _config(options: argparse.Namespace) -> int:
    from annotate_app.findings.run_config import read_run_config
    from annotate_app.trainings.runs import find_run

    with opened_project(options) as (store, project):
        run = find_run(store, ACTOR, project.id, options.run)
    config = read_run_config(run)
    if options.json:
        print_json({"run": run.number, **config.values()})
        return 0
    print(f"# {run.name}\n# {config.command}\n{config.yaml}", end="")
    for split, about in config.data.items():
        print(f"# data {split}: " + ", ".join(f"{name} {value}" for name, value in about.items()))
    print("# versions: " + (", ".join(f"{name} {value}" for name, value in config.versions.items()) or "not recorded"))
    print(f"# {config.folder}")
    return 0


def _change(change: Change) -> Callable[[argparse.Namespace], int]:
    """What carries out a command that says something of a run."""

    def carry_out(options: argparse.Namespace) -> int:
        from annotate_app.trainings.runs import find_run

        with opened_project(options) as (store, project):
            run = find_run(store, ACTOR, project.id, options.run)
            store.run_notes.change(ACTOR, project.id, run.job.run_dir, **change(run, options))
            run = find_run(store, ACTOR, project.id, options.run)
        if options.json:
            print_json(run_values(run))
            return 0
        tags = f" [{', '.join(run.said.tags)}]" if run.said.tags else ""
        print(f"{run.name}{tags}{', archived' if run.said.archived else ''}")
        return 0

    return carry_out


def _name_arguments(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser)
    parser.add_argument("name", help="name of the run; empty for what it trains")


def _tag_arguments(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser)
    parser.add_argument("tags", nargs="+", help="tags, without commas")


def _note_arguments(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser)
    parser.add_argument("note", help="Markdown, in place of the note that is there; empty for none")


def _archive_arguments(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser)
    parser.add_argument("--undo", action="store_true", help="take it out of the archive")


COMMANDS = (
    Command(name="runs list", help="the trainings of a project, newest first", arguments=_list_arguments, run=_list),
    Command(
        name="runs show", help="one training: state, figures, what is said of it", arguments=run_arguments, run=_show
    ),
    Command(
        name="runs config",
        help="what made a run's numbers: every option, the command that repeats it, data, versions",
        arguments=run_arguments,
        run=_config,
    ),
    Command(
        name="runs name",
        help="give a run a name",
        arguments=_name_arguments,
        run=_change(lambda _, options: {"name": options.name}),
    ),
    Command(
        name="runs tag",
        help="put tags on a run",
        arguments=_tag_arguments,
        run=_change(lambda run, options: {"tags": [*run.said.tags, *options.tags]}),
    ),
    Command(
        name="runs untag",
        help="take tags off a run",
        arguments=_tag_arguments,
        run=_change(lambda run, options: {"tags": [tag for tag in run.said.tags if tag not in options.tags]}),
    ),
    Command(
        name="runs note",
        help="write a note on a run",
        arguments=_note_arguments,
        run=_change(lambda _, options: {"note": options.note}),
    ),
    Command(
        name="runs archive",
        help="hide a run from lists until it is asked for",
        arguments=_archive_arguments,
        run=_change(lambda _, options: {"archived": not options.undo}),
    ),
    *FIGURE_COMMANDS,
)
