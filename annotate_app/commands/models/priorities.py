"""`priorities import` takes what to label next from a file, `priorities refresh` from a fitted model."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import get_args

from annotate_app.commands.command import ACTOR, Command, print_json
from rewardkit.config import Rule


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("file", help="rows with comparison_id and priority, as `rewardkit rank` writes them")
    parser.add_argument("--on-bad-row", choices=("error", "skip"), default="error", help="skip leaves bad rows out")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _import(options: argparse.Namespace) -> int:
    from pathlib import Path

    from annotate_app.exchange.priorities_in import import_priorities
    from annotate_app.store.store import Store

    store = Store.open(options.db)
    try:
        project = store.projects.get(ACTOR, options.project)
        skip = options.on_bad_row == "skip"
        done = import_priorities(store, ACTOR, project.id, Path(options.file), skip_bad_rows=skip)
    finally:
        store.close()
    if options.json:
        print_json({**asdict(done), "num_bad": len(done.bad), "bad": [asdict(row) for row in done.bad[:100]]})
        return 0
    for row in done.bad[:20]:
        print(f"left out {row.place}: {row.message}")
    if len(done.bad) > 20:
        print(f"left out {len(done.bad) - 20} more")
    print(f"priorities of {done.num_set} comparisons of {project.name} set, {len(done.bad)} rows left out")
    if project.design.policy != "priority":
        print(f"its policy is {project.design.policy}: `project change --policy priority` hands them out in this order")
    return 0


def _refresh_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--rule", choices=get_args(Rule), default="bal_pm", help="see `rewardkit rank --help`")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _refresh(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store
    from annotate_app.trainings.refresh import refresh_priorities

    store = Store.open(options.db)
    try:
        project = store.projects.get(ACTOR, options.project)
        done = refresh_priorities(store, ACTOR, project, options.rule)
    finally:
        store.close()
    if options.json:
        print_json(asdict(done))
        return 0
    print(f"priorities of {done.num_open} open comparisons of {project.name} set by {done.rule}")
    return 0


COMMANDS = (
    Command(
        name="priorities import", help="set what to label next, from a file", arguments=_import_arguments, run=_import
    ),
    Command(
        name="priorities refresh",
        help="set what to label next, from a model fitted to the judgments",
        arguments=_refresh_arguments,
        run=_refresh,
    ),
)
