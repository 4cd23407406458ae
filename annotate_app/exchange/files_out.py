"""A project's results as files: which items go out, in which form, into which split; rows stream, files are atomic.

What the rows look like is `rewardkit.data.export_formats`, the card beside them `annotate_app.exchange.dataset_card`, a
project as a whole `annotate_app.exchange.project_out`.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.consensus.project_judges import read_judges
from annotate_app.consensus.release import release
from annotate_app.exchange.comparisons_in import TELL_EVERY, Tell
from annotate_app.exchange.dataset_card import CardFacts, write_card
from annotate_app.exchange.rows.images_out import RowImages
from annotate_app.exchange.rows.marks_out import edited_rows, span_rows
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.exchange.rows.rankings_out import ranking_rows
from annotate_app.exchange.rows.row_features import RowFeatures
from annotate_app.exchange.rows.rows_out import Pseudonyms, Row, judgment_rows, training_rows
from annotate_app.exchange.rows.stepwise_out import stepwise_rows
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.files import SUFFIXES, Write, detect_format, open_rows


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote: its files, its rows by split, why items of the project are not among them, and notes of the
    rule that a reader of the rows has to know."""

    path: Path
    files: tuple[Path, ...]
    num_rows: Mapping[str, int]
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()


def export_rows(
    store: Store,
    actor: Actor,
    project_id: int,
    out: str | Path,
    options: ExportOptions | None = None,
    tell: Tell | None = None,
) -> Exported:
    """Writes training rows or judgments with their dataset card: to a file, or to a folder with a file a split.

    Raises:
        ValueError: if `out` is there already, or splits are asked of a single file.
        AccessError: for anybody below lead.
    """
    options = options or ExportOptions()
    actor.require("lead", "exporting", project_id)
    project = store.projects.get(actor, project_id)
    _check_task(store.projects.rubric(actor, project_id).rubric.task, options)
    votes = store.judgments.votes(actor, project_id)
    judges = read_judges(store, actor, project_id, votes, options.judges)
    decisions = store.judgments.adjudications(actor, project_id)
    consensus = release(votes, project.design, decisions, judges=judges)
    left_out: Counter[str] = Counter()
    if num_excluded := store.browsing.count(actor, project_id, ComparisonFilter(excluded="only")):
        left_out["excluded"] = num_excluded
    keys = None if options.view is None else frozenset(store.browsing.keys(actor, project_id, options.view))
    images = RowImages.of(store, actor, project_id)
    labeled: Iterator[tuple[str, Row]]
    match options.form:
        case "judgments":
            labeled = (("", row) for row in judgment_rows(store, actor, project, votes, names=options.names, keys=keys))
        case "spans":
            labeled = (("", row) for row in span_rows(store, actor, project, votes, names=options.names, keys=keys))
        case "edited_sft" | "edited_pairs":
            labeled = edited_rows(store, actor, project, votes, options, left_out, keys)
        case "ranking" | "rankings":
            pseudonyms = Pseudonyms.of(store, actor, project_id)
            called = {name: name if options.names else pseudonyms.of_name(name) for name in votes.annotators}
            labeled = ranking_rows(store, actor, project, votes, options, called, left_out, keys)
        case "stepwise":
            labeled = stepwise_rows(store, actor, project, votes, options, decisions, left_out, keys)
        case _:
            labeled = training_rows(store, actor, project, consensus, options, left_out, keys)
    out = Path(out)
    with _target(out, options) as (folder, files):
        features = RowFeatures(options.format or detect_format(next(iter(files.values()))))
        named = ((split, images.name(row)) for split, row in labeled)
        num_rows, columns = _write(named, files, options, features, tell)
        image_files = images.write(store, actor, project_id, out, folder)
        facts = CardFacts(
            project=project,
            rubric=store.projects.rubric(actor, project_id),
            votes=votes,
            consensus=consensus,
            options=options,
            num_rows=num_rows,
            left_out=left_out,
            columns=tuple(columns),
            features=features.listed(),
            files={name: path.name for name, path in files.items()},
            num_images=len(images.used),
            image_place="`images/`" if folder else f"`{image_files[0].name}`" if image_files else "",
        )
        card = _card_path(out, folder)
        write_card(card, facts)
    written = (*files.values(), card, *image_files)
    final = tuple(path if folder is None else out / path.relative_to(folder) for path in written)
    return Exported(path=out, files=final, num_rows=num_rows, left_out=dict(left_out), notes=consensus.notes)


def _check_task(task: str, options: ExportOptions) -> None:
    """Refuses a form whose rows the project's rubric does not ask people for."""
    if task == "steps" and options.form not in ("stepwise", "judgments"):
        raise ValueError(f"the project judges steps, which give no rows of the form {options.form}: take stepwise")
    if task != "steps" and options.form == "stepwise":
        raise ValueError("the project judges no steps (task: steps in its rubric), so it has no rows of this form")


def _card_path(out: Path, folder: Path | None) -> Path:
    return folder / "README.md" if folder else out.with_name(f"{out.name.partition('.')[0]}.README.md")


def _is_file(out: Path) -> bool:
    return Path(out.name.removesuffix(".gz")).suffix in SUFFIXES


@contextmanager
def _target(out: Path, options: ExportOptions) -> Iterator[tuple[Path | None, dict[str, Path]]]:
    """The folder being filled, None for a single file, and by split the file to write."""
    if out.exists() and not options.overwrite:
        raise ValueError(f"{out} is there already; --overwrite replaces it")
    names = list(options.splits) or [""]
    if _is_file(out):
        if options.splits:
            raise ValueError(f"{out} is one file; splits go to a folder, so name one without a suffix")
        yield None, {"": out}
        return
    suffix = options.format or "jsonl"
    with new_folder(out) as folder:
        default = options.form if options.form in ("judgments", "spans") else "train"
        yield folder, {name: folder / f"{name or default}.{suffix}" for name in names}


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` when the block ends well and leaves no trace otherwise."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    replaced = out.with_name(f".{out.name}.{os.getpid()}.replaced")
    partial.mkdir(parents=True)
    try:
        yield partial
        if out.exists():
            os.replace(out, replaced)
        os.replace(partial, out)
    finally:
        for leftover in (partial, replaced):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)


def _write(
    rows: Iterator[tuple[str, Row]],
    files: Mapping[str, Path],
    options: ExportOptions,
    features: RowFeatures,
    tell: Tell | None,
) -> tuple[dict[str, int], dict[str, None]]:
    """The number of rows by split, and the columns in their order."""
    counts = {name or options.form: 0 for name in files}
    columns: dict[str, None] = {}
    with ExitStack() as stack:
        writers: dict[str, Write] = {
            name: stack.enter_context(open_rows(path, options.format)) for name, path in files.items()
        }
        for number, (name, row) in enumerate(rows, start=1):
            writers[name](row)
            features.take(row)
            counts[name or options.form] += 1
            columns.update(dict.fromkeys(row))
            if tell is not None and number % TELL_EVERY == 0:
                tell(number)
    return counts, columns
