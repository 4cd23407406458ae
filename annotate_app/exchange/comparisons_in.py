"""Comparisons from files into a project: read and checked as a whole first, then added in one transaction.

The first pass parses every row into a spool on disk, so that memory stays bounded, all bad rows are found at once, and
the database is locked only while rows are written. `preview` shows people the start of a file as an import would read
it. Judgments are imported by `annotate_app.exchange.judgments_in`.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Literal

from annotate_app.access import Actor
from annotate_app.exchange.known_contents import KnownContents, content_of
from annotate_app.exchange.steps_in import ParsedSteps, StepsReading, detect_steps, parse_steps
from annotate_app.images.files import ImageFiles
from annotate_app.images.rows import Missing, RowImages, count_names
from annotate_app.store.judgments.staged import stage_judgments
from annotate_app.store.projects.contents import stage_contents
from annotate_app.store.store import Store
from rewardkit.data.columns import ColumnError, Form, Reading, detect_reading
from rewardkit.data.comparison_rows import Parsed, parse_row
from rewardkit.data.conversations import RowError
from rewardkit.data.files import Format, Source, detect_format, file_name, place, read_rows
from rewardkit.data.rankings.ranking_rows import read_ranked_responses
from rewardkit.data.records import (
    Choice,
    Comparison,
    Judgment,
    Ranks,
    StepLabels,
    choice_of_steps,
    first_choice,
)

DETECT_ROWS = 100
DATASET_ANNOTATOR = "dataset"
"""Who the labels that a file brings (chosen and rejected, ranks) are stored under."""
LABELED_FORMS: tuple[Form, ...] = ("chosen_rejected", "dialogues", "ranked", "responses")
Label = Choice | Ranks | StepLabels
Tell = Callable[[int], None]
"""Takes the number of rows read so far."""
TELL_EVERY = 1000


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How files are read; None and empty fields are found from the file.

    Attributes:
        form: what a row is.
        columns: by field of `rewardkit.data.columns.FIELDS`, its column.
        pairs: which pairs N responses become, see `rewardkit.data.columns.Reading`.
        empty: whether one empty answer is kept or bad; None keeps it in pairs and lists of responses.
        format: of the files.
        on_bad_row: `error` changes nothing when a row is bad, `skip` leaves bad rows out.
        labels: also import what the file itself says is better, as judgments of the annotator `dataset`.
        overlap: judgments wanted of each comparison, where it is not the design's.
        images: folders, zips and single files with the images that rows name.
        missing_images: whether an image that is named and not there makes its row bad, or stays as its name.
        responses_as: whether a row of N responses is cut into pairs, becomes one comparison to be ranked, or each of
            its answers comes in steps to be judged; None does what the project's rubric asks for.
        split: how a whole answer becomes steps, see `rewardkit.data.stepwise.stepped_answer.split_steps`.
    """

    form: Form | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    pairs: str = "all"
    empty: Literal["keep", "bad"] | None = None
    format: Format | None = None
    on_bad_row: Literal["error", "skip"] = "error"
    labels: bool = False
    overlap: int | None = None
    images: tuple[Source, ...] = ()
    missing_images: Missing = "stop"
    responses_as: Literal["pairs", "rankings", "steps"] | None = None
    split: str = "line"


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row, or one pair of a row, that cannot be used: its place (file and line) and the reason."""

    place: str
    reason: str
    field: str
    value: str
    message: str

    @classmethod
    def of(cls, place: str, error: RowError, advice: str = "") -> BadRow:
        """From an error of the parser; `advice` is appended to its message."""
        message = f"{error}{advice}"
        return cls(place=place, reason=error.reason, field=error.field, value=error.value, message=message)

    @classmethod
    def unreadable(cls, place: str, message: str) -> BadRow:
        """A row that could not be parsed at all."""
        return cls(place=place, reason="unreadable", field="", value="", message=message)


class BadRowsError(ValueError):
    """Raised where bad rows stop an import; nothing was changed. `bad` lists all of them."""

    def __init__(self, bad: Sequence[BadRow]) -> None:
        self.bad = tuple(bad)
        more = f" (and {len(bad) - 1} more bad rows)" if len(bad) > 1 else ""
        hint = "; nothing was imported, --on-bad-row skip leaves such rows out"
        if lacking := {row.value for row in bad if row.reason == "missing_image"}:
            hint += f", --missing-images keep takes them as they are: {count_names(lacking)}"
        super().__init__(f"{bad[0].place}: {bad[0].message}{more}{hint}")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The result of an import.

    Attributes:
        num_rows: rows read.
        num_added, num_existing: comparisons (or judgments) that are new, and that were there already.
        num_labels: judgments of the annotator `dataset` that are new.
        num_empty: comparisons with one empty answer, which were kept.
        bad: rows that were left out.
        readings: by file, how it was read.
        choices: by file of judgments, what each of its choices was read as.
        num_images: images that are new.
        missing_images: names of images that texts show and nobody has, and how often; they were kept as names.
    """

    num_rows: int
    num_added: int
    num_existing: int
    num_labels: int = 0
    num_empty: int = 0
    bad: tuple[BadRow, ...] = ()
    readings: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    num_images: int = 0
    missing_images: Mapping[str, int] = field(default_factory=dict)


def import_comparisons(
    store: Store,
    actor: Actor,
    project_id: int,
    sources: Sequence[Source],
    options: ImportOptions | None = None,
    tell: Tell | None = None,
) -> Imported:
    """Imports files into a project: all of their rows or none, and rows that are there already once.

    Raises:
        BadRowsError: if rows are bad and `on_bad_row` is `error`.
        ValueError: if a file cannot be read, or its form cannot be told.
        AccessError: for anybody below lead.
    """
    options = options or ImportOptions()
    actor.require("lead", "importing comparisons", project_id)
    if options.responses_as is None:
        task = store.projects.rubric(actor, project_id).rubric.task
        as_asked = {"compare": "pairs", "rank": "rankings", "best": "rankings", "steps": "steps"}
        options = replace(options, responses_as=as_asked[task])
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryFile())
        images = RowImages(
            files=stack.enter_context(ImageFiles(options.images)),
            folder=Path(stack.enter_context(tempfile.TemporaryDirectory())),
            missing=options.missing_images,
            known=store.images.hashes(actor, project_id),
        )
        stage = _Stage(options=options, digests=KnownContents(store, actor, project_id), images=images)
        for source in sources:
            stage.read(source, spool, tell)
        if stage.bad and options.on_bad_row == "error":
            raise BadRowsError(stage.bad)
        if options.labels and not stage.num_labeled:
            names = ", ".join(file_name(source) for source in sources)
            raise ValueError(f"{names}: no row says {_needed(options)}")
        staged = (comparison for comparison, _ in unspool(spool))
        num_labels = num_images = 0
        labels = _labels(spool) if options.labels else ()
        # With labels or images it is one transaction; without, one in parts where others would have to wait for it.
        whole = store.together() if options.labels or images.checked else nullcontext()
        with stage_contents(staged) as contents, stage_judgments(labels) as judgments, whole:
            if images.checked:
                num_images = store.images.add(actor, project_id, images.images())
            added = store.comparisons.add_staged(actor, project_id, contents, overlap=options.overlap)
            if options.labels:
                num_labels = store.judgments.import_staged(actor, project_id, judgments).num_added
    return Imported(
        num_rows=stage.num_rows,
        num_added=added.num_added,
        num_existing=added.num_existing + stage.num_repeated,
        num_labels=num_labels,
        num_empty=stage.num_empty,
        bad=tuple(stage.bad),
        readings=stage.readings,
        num_images=num_images,
        missing_images=dict(images.names),
    )


@dataclass
class _Stage:
    """The first pass: rows into a spool, what is bad into a list."""

    options: ImportOptions
    digests: KnownContents
    images: RowImages
    num_rows: int = 0
    num_repeated: int = 0
    num_empty: int = 0
    num_labeled: int = 0
    bad: list[BadRow] = field(default_factory=list)
    readings: dict[str, Reading | StepsReading] = field(default_factory=dict)
    seen: dict[str, tuple[str, str]] = field(default_factory=dict)

    def read(self, source: Source, spool: IO[bytes], tell: Tell | None) -> None:
        """Stages all rows of a file."""
        format = self.options.format or detect_format(source)

        def on_bad(number: int, message: str) -> None:
            self.bad.append(BadRow.unreadable(place(source, number, format), message))

        reading, rows = open_form(source, format, self.options, on_bad, self.bad)
        self.readings[file_name(source)] = reading
        for number, row in rows:
            self.num_rows += 1
            if tell is not None and self.num_rows % TELL_EVERY == 0:
                tell(self.num_rows)
            where = place(source, number, format)
            try:
                parsed = _parse(self.images.take(row, reading.columns), reading, self.options)
            except RowError as error:
                self.bad.append(BadRow.of(where, error))
                continue
            self.bad.extend(BadRow.of(where, problem) for problem in parsed.problems)
            for comparison in parsed.comparisons:
                self._take(comparison, parsed.labels.get(comparison.id), where, spool)

    def _take(self, comparison: Comparison, label: Label | None, where: str, spool: IO[bytes]) -> None:
        digest = content_of(comparison)
        self.num_labeled += label is not None
        earlier, first_place = self.seen.get(comparison.id, (self.digests.get(comparison.id, digest), "the project"))
        if earlier != digest:
            allowed = f"{first_place} has it with another prompt, completion or source"
            self.bad.append(BadRow.of(where, RowError("duplicate_id", "id", comparison.id, allowed)))
            return
        if comparison.id in self.seen:
            self.num_repeated += 1
            return
        self.seen[comparison.id] = (digest, where)
        self.num_empty += not (comparison.completion_a.strip() and comparison.completion_b.strip())
        pickle.dump((comparison, label), spool, protocol=pickle.HIGHEST_PROTOCOL)


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """A row that is one comparison to be ranked; as `Parsed`."""

    comparisons: tuple[Comparison, ...]
    labels: Mapping[str, Choice | Ranks]
    problems: tuple[RowError, ...] = ()


def _needed(options: ImportOptions) -> str:
    if options.responses_as == "steps":
        return "which of its steps are right, which needs labels"
    return "which of its responses is better, labels need ranks or scores"


def _parse(
    row: Mapping[str, Any], reading: Reading | StepsReading, options: ImportOptions
) -> Parsed | _Ranked | ParsedSteps:
    if isinstance(reading, StepsReading):
        return parse_steps(row, reading)
    if options.responses_as != "rankings" or reading.form not in ("responses", "ranked"):
        if reading.form == "pairs" and isinstance(row.get("further"), list) and row["further"]:
            raise RowError("wrong_type", "further", row["further"], "a row of more than two lists them as responses")
        return parse_row(row, reading)
    comparison, ranks = read_ranked_responses(row, reading)
    return _Ranked(comparisons=(comparison,), labels={comparison.id: ranks} if ranks else {})


def _detect(rows: Sequence[Mapping[str, Any]], options: ImportOptions) -> Reading | StepsReading:
    if options.responses_as == "steps":
        return detect_steps(rows, options.columns, options.split)
    reading = detect_reading(rows, form=options.form, columns=options.columns, pairs=options.pairs, empty=options.empty)
    if options.labels and reading.form not in LABELED_FORMS:
        raise ValueError(f"rows of the form {reading.form} bring no labels; import them with `judgments import`")
    return reading


def no_rows(source: Source, bad: Sequence[BadRow]) -> ValueError:
    """The error of a file without a row that can be read; it names the first one that cannot."""
    bad = [row for row in bad if row.place.startswith(file_name(source))]
    others = f" (and {len(bad) - 1} more bad rows)" if len(bad) > 1 else ""
    reason = f": {bad[0].place}: {bad[0].message}{others}" if bad else ""
    return ValueError(f"{file_name(source)}: the file holds no rows{reason}")


def open_form(
    source: Source,
    format: Format,
    options: ImportOptions,
    on_bad: Callable[[int, str], None] | None = None,
    bad: Sequence[BadRow] | None = None,
) -> tuple[Reading | StepsReading, Iterator[tuple[int, dict[str, Any]]]]:
    """Detects how to read a file from its first rows; returns this with all of its rows.

    Args:
        source, format, options: the file and how it is read.
        on_bad: as of `read_rows`.
        bad: where `on_bad` lists what it is told of.

    Raises:
        ValueError: naming the file, if its form cannot be told.
    """
    rows = read_rows(source, format, on_bad)
    first = list(islice(rows, DETECT_ROWS))
    if not first:
        raise no_rows(source, bad or ())
    try:
        reading = _detect([row for _, row in first], options)
    except ColumnError as error:
        raise ValueError(f"{file_name(source)}: {error}, or name it with --map {error.field}=COLUMN") from error
    except ValueError as error:
        raise ValueError(f"{file_name(source)}: {error}") from error
    return reading, chain(first, rows)


def unspool(spool: IO[bytes]) -> Iterator[Any]:
    """Reads back what this process pickled into an unnamed temporary file, from its start."""
    spool.seek(0)
    while True:
        try:
            yield pickle.load(spool)
        except EOFError:
            return


def _labels(spool: IO[bytes]) -> Iterable[Judgment]:
    for comparison, label in unspool(spool):
        if label is not None and comparison.steps:
            choice, strength = choice_of_steps(label)
            about = {"comparison_id": comparison.id, "annotator": DATASET_ANNOTATOR}
            yield Judgment(**about, choice=choice, strength=strength, step_labels=label)
        elif label is not None:
            ranks: Ranks = label if isinstance(label, tuple) else ()
            choice: Choice = first_choice(ranks)[0] if isinstance(label, tuple) else label
            strength = int(choice in ("a", "b"))
            yield Judgment(
                comparison_id=comparison.id,
                annotator=DATASET_ANNOTATOR,
                choice=choice,
                strength=strength,
                ranks=ranks,
            )


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The start of a file as an import would read it; `problem` says why it cannot be read at all."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    reading: Reading | StepsReading | None
    comparisons: tuple[Comparison, ...] = ()
    bad: tuple[BadRow, ...] = ()
    problem: str = ""
    missing_images: tuple[str, ...] = ()


def preview(source: Source, options: ImportOptions | None = None, limit: int = 20) -> Preview:
    """Reads the first rows of a file and changes nothing.

    Raises:
        ValueError: if it is no file of rows at all.
    """
    options = options or ImportOptions()
    format = options.format or detect_format(source)
    bad: list[BadRow] = []

    def on_bad(number: int, message: str) -> None:
        bad.append(BadRow.unreadable(place(source, number, format), message))

    first = list(islice(read_rows(source, format, on_bad), limit))
    columns = tuple(dict.fromkeys(name for _, row in first for name in row))
    shown = tuple(row for _, row in first)
    try:
        reading, _ = open_form(source, format, options, on_bad=lambda _number, _message: None)
    except ValueError as error:
        return Preview(columns=columns, rows=shown, reading=None, bad=tuple(bad), problem=str(error))
    comparisons: list[Comparison] = []
    with ImageFiles(options.images) as files:
        images = RowImages(files=files, missing=options.missing_images)
        for number, row in first:
            where = place(source, number, format)
            try:
                parsed = _parse(images.take(row, reading.columns), reading, options)
            except RowError as error:
                bad.append(BadRow.of(where, error))
                continue
            comparisons.extend(parsed.comparisons)
            bad.extend(BadRow.of(where, problem) for problem in parsed.problems)
    return Preview(
        columns=columns,
        rows=shown,
        reading=reading,
        comparisons=tuple(comparisons[:limit]),
        bad=tuple(bad),
        missing_images=tuple(images.names),
    )
