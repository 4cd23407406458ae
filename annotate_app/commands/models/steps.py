"""`steps prefill` takes what a model gives the steps of answers, which then come to people filled in."""

from __future__ import annotations

import argparse

from annotate_app.commands.command import ACTOR, Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument(
        "source",
        help="file of rows with id and step_scores (or step_rewards, as `rewardkit score` writes them), or folder of a "
        "process reward model, which then scores all answers that nobody has judged",
    )


def _prefill(options: argparse.Namespace) -> int:
    from pathlib import Path

    from annotate_app.store.store import Store
    from annotate_app.trainings.prefill import prefill_steps

    store = Store.open(options.db)
    try:
        project = store.projects.get(ACTOR, options.project)
        number = prefill_steps(store, ACTOR, project, Path(options.source))
    finally:
        store.close()
    print(f"labels filled in by a model: {number} answers of {project.name}")
    return 0


COMMANDS = (
    Command(
        name="steps prefill", help="fill in labels of steps from a model's scores", arguments=_arguments, run=_prefill
    ),
)
