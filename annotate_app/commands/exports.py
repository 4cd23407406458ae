"""`export` writes a project's results as training data, its judgments, or the project as a whole."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json, progress_line

if TYPE_CHECKING:
    from annotate_app.exchange.comparisons_in import Tell
    from annotate_app.exchange.files_out import Exported
    from annotate_app.exchange.rows.options import ExportForm
    from annotate_app.store.store import Store


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("project", help="name or number of the project")
    add("--out", required=True, help="file, or folder with a file a split; for hub, the repository OWNER/NAME")
    forms = (
        *("preference", "unpaired", "sft", "ranking", "rankings", "stepwise"),
        *("judgments", "spans", "edited_sft", "edited_pairs"),
    )
    rows = (
        "rows to write; rankings is one of each vote, of two answers too, with who cast it, ranking one of each "
        "comparison, stepwise an answer with a label of each step, spans are marked words, "
        "edited_* responses written anew, everything is the whole project"
    )
    add("--form", choices=(*forms, "everything"), default="preference", help=rows)
    formats = ("auto", "jsonl", "json", "csv", "parquet", "datasets", "hub")
    add("--format", choices=formats, default="auto", help="of the files (default: by the name, JSONL in a folder)")
    layouts = ("conversational", "plain", "implicit")
    add("--layout", choices=layouts, default="conversational", help="lists of turns, texts, or no prompt column")
    add("--min-votes", type=int, default=1, help="votes an item needs")
    add("--min-agreement", type=float, default=0.0, help="probability of the winner an item needs, 0 to 1")
    add("--adjudicated-only", action="store_true", help="only what an adjudicator decided")
    add("--ties", choices=("keep", "drop"), default="drop", help="keep writes them with p_chosen 0.5")
    add("--split", default="", help="shares of prompts, for example train=0.9,test=0.1")
    add("--seed", type=int, default=0, help="of the splits")
    add("--judges", default="", help="judges whose votes count too, as NAME[,NAME], under the rule dawid_skene")
    add("--view", default="", help="only these comparisons, as the address of the page says it: state=gold&tag=hard")
    add("--sources", action="store_true", help="also name what wrote the answers")
    add("--names", action="store_true", help="real names of annotators instead of pseudonyms")
    add("--license", default="", help="of the data, for the card: an id such as cc-by-4.0")
    add("--overwrite", action="store_true", help="replace what is there")
    add("--public", action="store_true", help="make a new repository on the hub public (default: private)")
    add("--json", action="store_true", help="print the summary as JSON")


def _export(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    store = Store.open(options.db)
    try:
        with progress_line("rows written") as tell:
            exported = _write(store, options, tell)
    except ImportError as error:
        print(f"annotate-app export: {error}", file=sys.stderr)
        return 1
    finally:
        store.close()
    if options.json:
        print_json(
            {
                "path": str(exported.path),
                "files": [str(file) for file in exported.files],
                "num_rows": dict(exported.num_rows),
                "left_out": dict(exported.left_out),
                "notes": list(exported.notes),
            }
        )
        return 0
    for why, number in sorted(exported.left_out.items(), key=lambda item: -item[1]):
        print(f"left out {number}: {why}")
    for note in exported.notes:
        print(f"note: {note}")
    rows = ", ".join(f"{count} {name}" for name, count in exported.num_rows.items())
    print(f"{exported.path}: {rows}")
    return 0


def _write(store: Store, options: argparse.Namespace, tell: Tell) -> Exported:
    from annotate_app.consensus.project_judges import judge_names
    from annotate_app.exchange.files_out import export_rows
    from annotate_app.exchange.project_out import export_project
    from annotate_app.exchange.rows.options import ExportOptions
    from annotate_app.store.workbench.comparison_filter import read_view
    from rewardkit.data.export_formats import parse_splits

    project = store.projects.get(ACTOR, options.project)
    out = Path(options.out)
    if options.form == "everything":
        if options.view:
            raise ValueError("--view is given, but the form everything takes the whole project")
        if options.format != "auto":
            raise ValueError(f"--format {options.format}, allowed with the form everything is auto: a folder or a zip")
        overwrite = options.overwrite
        return export_project(store, ACTOR, project.id, out, names=options.names, overwrite=overwrite, tell=tell)
    chosen = ExportOptions(
        form=options.form,
        format=None if options.format in ("auto", "datasets", "hub") else options.format,
        layout=options.layout,
        min_votes=options.min_votes,
        min_agreement=options.min_agreement,
        adjudicated_only=options.adjudicated_only,
        ties=options.ties,
        splits=parse_splits(options.split) if options.split else {},
        seed=options.seed,
        sources=options.sources,
        names=options.names,
        license=options.license,
        overwrite=options.overwrite,
        judges=judge_names(options.judges),
        view=read_view(options.view) if options.view else None,
    )
    match options.format:
        case "datasets":
            from annotate_app.exchange.hub import export_datasets

            return export_datasets(store, ACTOR, project.id, out, chosen, tell)
        case "hub":
            from annotate_app.exchange.hub import export_to_hub

            return export_to_hub(store, ACTOR, project.id, options.out, chosen, public=options.public, tell=tell)
        case _:
            return export_rows(store, ACTOR, project.id, out, chosen, tell)


def export_command(project: str, rows: ExportForm, out: Path, db: str) -> list[str]:
    """Builds the command line that exports a training's data, see `rewardkit.data.training_data.ExportCommand`.

    This is the entry point that pyproject.toml names in the group `tiebreak.projects`.
    """
    words = [f"--out={out}", f"--form={rows}", *(["--ties=keep", "--sources"] if rows == "preference" else [])]
    database = [f"--db={db}"] if db else []
    return [sys.executable, "-m", "annotate_app", "export", *words, *database, "--", project]


COMMANDS = (
    Command(name="export", help="write training data, judgments or everything", arguments=_arguments, run=_export),
)
