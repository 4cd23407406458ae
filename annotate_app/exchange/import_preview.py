"""The start of a file as an import would read it, for people to look at before they import it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

from annotate_app.exchange.comparisons_in import BadRow, ImportOptions, open_form
from rewardkit.data.columns import Reading
from rewardkit.data.comparison_rows import parse_row
from rewardkit.data.conversations import RowError
from rewardkit.data.files import Source, detect_format, place, read_rows
from rewardkit.data.records import Comparison


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The start of a file as an import would read it; `problem` says why it cannot be read at all."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    reading: Reading | None
    comparisons: tuple[Comparison, ...] = ()
    bad: tuple[BadRow, ...] = ()
    problem: str = ""


def preview(source: Source, options: ImportOptions | None = None, limit: int = 20) -> Preview:
    """Reads the first rows of a file and changes nothing.

    Raises:
        ValueError: if it is no file of rows at all.
    """
    options = options or ImportOptions()
    found = options.format or detect_format(source)
    bad: list[BadRow] = []

    def on_bad(number: int, message: str) -> None:
        bad.append(BadRow.unreadable(place(source, number, found), message))

    first = list(islice(read_rows(source, found, on_bad), limit))
    columns = tuple(dict.fromkeys(name for _, row in first for name in row))
    shown = tuple(row for _, row in first)
    try:
        reading, _ = open_form(source, found, options, on_bad=lambda _number, _message: None)
    except ValueError as error:
        return Preview(columns=columns, rows=shown, reading=None, bad=tuple(bad), problem=str(error))
    comparisons: list[Comparison] = []
    for number, row in first:
        where = place(source, number, found)
        try:
            parsed = parse_row(row, reading)
        except RowError as error:
            bad.append(BadRow.of(where, error))
            continue
        comparisons.extend(parsed.comparisons)
        bad.extend(BadRow.of(where, problem) for problem in parsed.problems)
    return Preview(columns=columns, rows=shown, reading=reading, comparisons=tuple(comparisons[:limit]), bad=tuple(bad))
