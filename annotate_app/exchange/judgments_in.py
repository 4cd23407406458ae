"""Judgments from files into a project: all rows are read and checked first, then added in one transaction."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import IO, Any, Literal

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import (
    DETECT_ROWS,
    TELL_EVERY,
    BadRow,
    BadRowsError,
    Imported,
    Tell,
    no_rows,
    unspool,
)
from annotate_app.exchange.fields_in import annotator_fields
from annotate_app.store.judgments import staged as staged_judgments
from annotate_app.store.store import Store
from rewardkit.data.choices import Answer, NumberScale, describe_choices, find_scale
from rewardkit.data.columns import ColumnError
from rewardkit.data.conversations import RowError
from rewardkit.data.files import Format, Source, detect_format, file_name, place, read_rows
from rewardkit.data.judgments import (
    Ballot,
    BallotReading,
    Layout,
    detect_ballots,
    parse_ballots,
    read_judgment,
)

SAY_CHOICES = "; say what choices mean with --choice-map"
SAY_NUMBERS = (
    "; say what numbers mean, with --scale=-3..3 (the low end prefers the first), --scale=1..4 or the like, "
    "or with --choice-map 0=tie 1=a 2=b"
)


@dataclass(frozen=True, kw_only=True)
class BallotOptions:
    """How files of judgments are read; None and empty fields are found from the file.

    Attributes:
        layout: a judgment a row (`long`) or a column per annotator (`wide`).
        columns: by field of `rewardkit.data.judgments.FIELDS`, its column.
        annotators: the columns of the wide layout.
        scale: of choices that are numbers.
        choice_map: by value, the choice it means.
        format: of the files.
        on_bad_row: `error` changes nothing when a row is bad, `skip` leaves bad rows out.
    """

    layout: Layout | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    annotators: tuple[str, ...] = ()
    scale: NumberScale | None = None
    choice_map: Mapping[str, Answer] = field(default_factory=dict)
    format: Format | None = None
    on_bad_row: Literal["error", "skip"] = "error"


def import_judgments(
    store: Store,
    actor: Actor,
    project_id: int,
    sources: Sequence[Source],
    options: BallotOptions | None = None,
    tell: Tell | None = None,
) -> Imported:
    """Imports files of judgments into a project: all of their rows or none, and those that are there already once.

    Columns such as `annotator_country` become fields of the annotators.

    Raises:
        BadRowsError: if rows are bad (an unknown comparison or choice, say) and `on_bad_row` is `error`.
        ValueError: if a file cannot be read, its layout or what its choices mean cannot be told, or a field of an
            annotator cannot be stored.
        AccessError: for anybody below lead.
    """
    actor.require("lead", "importing judgments", project_id)
    written = store.comparisons.sources(actor, project_id)
    with tempfile.TemporaryFile() as spool:
        options = options or BallotOptions()
        staged = stage_judgments(sources, options, written, spool, tell)
        fields = annotator_fields(sources, staged.readings, options.format)
        # With fields it is one transaction; without, one in parts where others would have to wait for it.
        whole = store.together() if fields else nullcontext()
        with staged_judgments.stage_judgments(unspool(spool)) as judgments, whole:
            added = store.judgments.import_staged(actor, project_id, judgments)
            if fields:
                people = store.fields.people(actor, project_id)
                store.fields.set(actor, project_id, {name: of for name, of in fields.items() if name in people})
    return replace(staged, num_added=added.num_added, num_existing=added.num_existing)


def stage_judgments(
    sources: Sequence[Source],
    options: BallotOptions,
    written: Mapping[str, tuple[str, ...]],
    spool: IO[bytes],
    tell: Tell | None = None,
) -> Imported:
    """Reads and checks files of judgments; what they hold is in the spool afterwards (`unspool`).

    Args:
        sources: the files.
        options: how they are read.
        written: by comparison id, what wrote its a and b.
        spool: an empty file.
        tell: takes the number of rows read so far.

    Returns:
        What was read; nothing is added yet.
    """
    bad: list[BadRow] = []
    readings: dict[str, BallotReading] = {}
    choices: dict[str, str] = {}
    num_rows = 0
    for source in sources:
        with tempfile.TemporaryFile() as ballots:
            reading, count, values = _collect(source, options, ballots, bad, tell)
            num_rows += count
            readings[file_name(source)] = reading
            try:
                scale = options.scale or find_scale(values, options.choice_map)
            except ValueError as error:
                columns = ", ".join(reading.annotators or (reading.columns.get("choice", "ranks"),))
                raise ValueError(f"{file_name(source)}: column {columns}: {error}{SAY_NUMBERS}") from error
            choices[file_name(source)] = describe_choices(values, scale, options.choice_map)
            _judge(ballots, spool, scale, options.choice_map, written, bad)
    if bad and options.on_bad_row == "error":
        raise BadRowsError(bad)
    return Imported(num_rows=num_rows, num_added=0, num_existing=0, bad=tuple(bad), readings=readings, choices=choices)


def preview_ballots(source: Source, options: BallotOptions | None = None, limit: int = 20) -> BallotPreview:
    """Reads the first rows of a file and changes nothing.

    Raises:
        ValueError: if it is no file of rows at all.
    """
    options = options or BallotOptions()
    format = options.format or detect_format(source)
    rows = [row for _, row in islice(read_rows(source, format, lambda _number, _message: None), limit)]
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    try:
        reading = _detect(rows, options)
    except ValueError as error:
        return BallotPreview(columns=columns, rows=tuple(rows), reading=None, problem=str(error))
    choices, unclear = "", ""
    try:
        values = [ballot.value for row in rows for ballot in _readable(row, reading)]
        choices = describe_choices(values, options.scale or find_scale(values, options.choice_map), options.choice_map)
    except ValueError as error:
        unclear = str(error)
    return BallotPreview(columns=columns, rows=tuple(rows), reading=reading, choices=choices, unclear=unclear)


def _readable(row: Mapping[str, Any], reading: BallotReading) -> list[Ballot]:
    try:
        return parse_ballots(row, reading)
    except RowError:
        return []


@dataclass(frozen=True, kw_only=True)
class BallotPreview:
    """The start of a file as an import would read it.

    Attributes:
        problem: why it cannot be read at all.
        choices: what the choices in these rows are read as.
        unclear: why that cannot be told from these rows.
    """

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    reading: BallotReading | None
    problem: str = ""
    choices: str = ""
    unclear: str = ""


def _detect(rows: Sequence[Mapping[str, Any]], options: BallotOptions) -> BallotReading:
    try:
        return detect_ballots(rows, layout=options.layout, columns=options.columns, annotators=options.annotators)
    except ColumnError as error:
        option = "--annotators COLUMN,..." if error.field == "annotators" else f"--map {error.field}=COLUMN"
        raise ValueError(f"{error}, or name it with {option}") from error


def _collect(
    source: Source, options: BallotOptions, spool: IO[bytes], bad: list[BadRow], tell: Tell | None
) -> tuple[BallotReading, int, set[str]]:
    """Spools the ballots of a file; how it was read, its number of rows, and the distinct values of its choices."""
    format = options.format or detect_format(source)

    def on_bad(number: int, message: str) -> None:
        bad.append(BadRow.unreadable(place(source, number, format), message))

    rows = read_rows(source, format, on_bad)
    first = list(islice(rows, DETECT_ROWS))
    if not first:
        raise no_rows(source, bad)
    try:
        reading = _detect([row for _, row in first], options)
    except ValueError as error:
        raise ValueError(f"{file_name(source)}: {error}") from error
    values: set[str] = set()
    count = 0
    for number, row in chain(first, rows):
        count += 1
        if tell is not None and count % TELL_EVERY == 0:
            tell(count)
        where = place(source, number, format)
        try:
            cast = parse_ballots(row, reading)
        except RowError as error:
            bad.append(BadRow.of(where, error))
            continue
        values.update(str(ballot.value) for ballot in cast)
        pickle.dump((where, cast), spool, protocol=pickle.HIGHEST_PROTOCOL)
    return reading, count, values


def _judge(
    ballots: IO[bytes],
    judgments: IO[bytes],
    scale: NumberScale | None,
    mapping: Mapping[str, Answer],
    written: Mapping[str, tuple[str, ...]],
    bad: list[BadRow],
) -> None:
    """Spools the judgments that the ballots give for the project's comparisons."""
    for where, cast in unspool(ballots):
        for ballot in cast:
            try:
                if ballot.comparison_id not in written:
                    allowed = "the project has no such comparison"
                    raise RowError("unknown_comparison", "comparison", ballot.comparison_id, allowed)
                judgment = read_judgment(ballot, scale, mapping, written[ballot.comparison_id])
            except RowError as error:
                bad.append(BadRow.of(where, error, SAY_CHOICES if error.reason == "unknown_choice" else ""))
                continue
            pickle.dump(judgment, judgments, protocol=pickle.HIGHEST_PROTOCOL)
