"""`steps prefill` takes what a model gives the steps of answers, which then come to people filled in."""

from __future__ import annotations

import argparse

from annotate_app.commands.command import ACTOR, Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("file", help="rows with id and step_scores, by step the probability that it is right, or null")


def _prefill(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store
    from rewardkit.data.comparison_rows import plain_key
    from rewardkit.data.files import detect_format, place, read_rows
    from rewardkit.data.tables.cells import decode_literal

    format = detect_format(options.file)
    scores: dict[str, tuple[float | None, ...]] = {}
    for number, row in read_rows(options.file, format):
        value = row.get("step_scores")
        items = decode_literal(value) if isinstance(value, str) else value
        if row.get("id") in (None, "") or not isinstance(items, list | tuple):
            raise ValueError(f"{place(options.file, number, format)}: needed are an id and step_scores, a list")
        scores[plain_key(row["id"])] = tuple(items)
    store = Store.open(options.db)
    try:
        project = store.projects.get(ACTOR, options.project)
        store.comparisons.set_step_scores(ACTOR, project.id, scores)
    finally:
        store.close()
    print(f"{len(scores)} answers of {project.name} come with a model's labels filled in")
    return 0


COMMANDS = (
    Command(
        name="steps prefill", help="fill in labels of steps from a model's scores", arguments=_arguments, run=_prefill
    ),
)
