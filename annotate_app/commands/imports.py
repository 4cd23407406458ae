"""`import` takes comparisons from files, `judgments import` takes judgments made elsewhere."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json, progress_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate_app.exchange.comparisons_in import BadRow, Imported

NEGATIVE = re.compile(r"-\d+(?:\.\d+)?(?:\.\.-?\d+|=\S*)?$")
FORMATS = ("auto", "jsonl", "json", "csv", "parquet")


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("files", nargs="+", help="JSONL, JSON, CSV or Parquet files, gzipped or not")
    parser.add_argument("--map", type=str, nargs="*", default=[], help="FIELD=COLUMN, where a column is not recognised")
    parser.add_argument("--format", choices=FORMATS, default="auto", help="of the files (default: by name and content)")
    parser.add_argument("--on-bad-row", choices=("error", "skip"), default="error", help="skip leaves bad rows out")
    parser.add_argument("--bad-rows", help="JSONL file to list the bad rows in")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    forms = ("auto", "pairs", "responses", "ranked", "chosen_rejected", "dialogues")
    parser.add_argument("--form", choices=forms, default="auto", help="what a row is (default: told from the columns)")
    parser.add_argument(
        "--as",
        choices=("auto", "pairs", "rankings", "steps"),
        default="auto",
        dest="responses_as",
        help="N responses as pairs, as one comparison to rank, or each in steps (default: as the rubric's task asks)",
    )
    parser.add_argument(
        "--split", default="line", help="of answers that come whole into steps: line, blank_line, sentence, or a marker"
    )
    parser.add_argument("--pairs", default="all", help="of N responses: all, adjacent, random:N, star:first")
    parser.add_argument(
        "--empty", choices=("auto", "keep", "bad"), default="auto", help="comparisons with an empty answer"
    )
    parser.add_argument("--labels", action="store_true", help="import the file's own choices, as annotator dataset")
    parser.add_argument("--images", default="", help="folder or zip with the images that rows name")
    parser.add_argument(
        "--missing-images", choices=("stop", "keep"), default="stop", help="keep leaves names without a file in texts"
    )
    parser.add_argument("--overlap", type=int, help="judgments wanted of each, where it is not the project's")


def _judgments_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    parser.add_argument(
        "--layout", choices=("auto", "long", "wide"), default="auto", help="row or column per annotator"
    )
    parser.add_argument("--annotators", default="", help="columns of the wide layout, with commas between them")
    parser._negative_number_matcher = NEGATIVE  # or -3..3 and -1=a would be taken for options
    parser.add_argument("--scale", help="of choices that are numbers, LOW..HIGH: the low end prefers a, the high end b")
    parser.add_argument("--choice-map", type=str, nargs="*", default=[], help="VALUE=CHOICE[:STRENGTH]")


def parse_map(pairs: list[str]) -> dict[str, str]:
    """Reads FIELD=COLUMN; an empty column says that the field has none.

    Raises:
        ValueError: if one is not of that form.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"--map {pair!r}, allowed is FIELD=COLUMN")
    return {name.strip(): column.strip() for name, _, column in (pair.partition("=") for pair in pairs)}


def _import(options: argparse.Namespace) -> int:
    from annotate_app.exchange.comparisons_in import ImportOptions, import_comparisons
    from annotate_app.exchange.project_out import is_project

    if len(options.files) == 1 and is_project(options.files[0]):
        return _import_project(options)
    chosen = ImportOptions(
        form=None if options.form == "auto" else options.form,
        columns=parse_map(options.map),
        pairs=options.pairs,
        empty=None if options.empty == "auto" else options.empty,
        format=None if options.format == "auto" else options.format,
        on_bad_row=options.on_bad_row,
        labels=options.labels,
        overlap=options.overlap,
        images=(options.images,) if options.images else (),
        missing_images=options.missing_images,
        responses_as=None if options.responses_as == "auto" else options.responses_as,
        split=options.split,
    )
    return _run(options, import_comparisons, chosen, "comparisons")


def _import_project(options: argparse.Namespace) -> int:
    """A folder or zip of `export --form everything` becomes a new project of the name given."""
    from annotate_app.exchange.projects_in import import_project
    from annotate_app.store.store import Store

    store = Store.open(options.db)
    try:
        with progress_line(f"judgments read into {options.project}") as tell:
            done = import_project(store, ACTOR, options.files[0], options.project, tell)
    finally:
        store.close()
    figures = {name: value for name, value in vars(done).items() if name != "project"}
    if options.json:
        print_json({"project": done.project.name, **figures})
        return 0
    told = ", ".join(f"{number} {name.removeprefix('num_')}" for name, number in figures.items())
    print(f"project {done.project.name} made: {told}")
    return 0


def _import_judgments(options: argparse.Namespace) -> int:
    from annotate_app.exchange.judgments_in import BallotOptions, import_judgments
    from rewardkit.data.choices import parse_choice_map, parse_scale

    chosen = BallotOptions(
        layout=None if options.layout == "auto" else options.layout,
        columns=parse_map(options.map),
        annotators=tuple(name.strip() for name in options.annotators.split(",") if name.strip()),
        scale=parse_scale(options.scale) if options.scale else None,
        choice_map=parse_choice_map(options.choice_map),
        format=None if options.format == "auto" else options.format,
        on_bad_row=options.on_bad_row,
    )
    return _run(options, import_judgments, chosen, "judgments")


def _run(options: argparse.Namespace, function, chosen: object, noun: str) -> int:  # noqa: ANN001 (either import)
    from annotate_app.exchange.comparisons_in import BadRowsError
    from annotate_app.images.rows import count_names
    from annotate_app.store.store import Store

    store = Store.open(options.db)
    try:
        project = store.projects.get(ACTOR, options.project)
        with progress_line(f"rows read into {project.name}") as tell:
            done: Imported = function(store, ACTOR, project.id, [Path(file) for file in options.files], chosen, tell)
    except BadRowsError as error:
        _list_bad(options.bad_rows, error.bad)
        raise
    finally:
        store.close()
    _list_bad(options.bad_rows, done.bad)
    if options.json:
        print_json(summary(done))
        return 0
    for file, reading in done.readings.items():
        print(f"{file} read as {describe_reading(asdict(reading))}")
        if done.choices.get(file):
            columns = reading.annotators or [reading.columns.get("choice", "ranks or step_labels")]
            print(f"{file} choices in {', '.join(map(repr, columns))}: {done.choices[file]}")
    for row in done.bad[:20]:
        print(f"left out {row.place}: {row.message}")
    if len(done.bad) > 20:
        print(f"left out {len(done.bad) - 20} more; --bad-rows FILE lists them")
    if done.missing_images:
        print(count_names(done.missing_images))
    labels = f", {done.num_labels} labels" if done.num_labels else ""
    labels += f", {done.num_images} image{'s' * (done.num_images > 1)}" if done.num_images else ""
    empty = f", {done.num_empty} with an empty answer" if done.num_empty else ""
    print(
        f"{done.num_added} {noun} added to {project.name}{labels}{empty}; {done.num_existing} were there, "
        f"{len(done.bad)} left out of {done.num_rows} rows"
    )
    return 0


def describe_reading(reading: dict[str, object]) -> str:
    """Describes on one line how a file was read: its format, and which column was read as which field."""
    columns = reading["columns"]
    assert isinstance(columns, dict)
    named = [name if name == column else f"{name} from {column!r}" for name, column in columns.items()]
    people = [str(name) for name in reading.get("annotators") or ()]  # type: ignore[attr-defined]
    return f"{reading.get('form') or reading.get('layout')}: {', '.join([*named, *people])}"


def _list_bad(path: str | None, bad: Sequence[BadRow]) -> None:
    from rewardkit.data.files import write_rows

    if path:
        write_rows(path, (asdict(row) for row in bad), "jsonl")


def summary(done: Imported) -> dict[str, object]:
    """Converts an import's result to plain values, with the first hundred rejected rows."""
    values = asdict(done)
    return {**values, "num_bad": len(done.bad), "bad": values["bad"][:100]}


COMMANDS = (
    Command(name="import", help="add comparisons from files", arguments=_import_arguments, run=_import),
    Command(
        name="judgments import",
        help="add judgments made elsewhere",
        arguments=_judgments_arguments,
        run=_import_judgments,
    ),
)
