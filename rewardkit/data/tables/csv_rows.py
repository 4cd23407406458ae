"""CSV: cells are texts, whatever ends its lines and parts its cells.

Spreadsheets run a cell that begins like a formula. Such a text is written behind an apostrophe, which spreadsheets
take for the mark of a text, and which reading takes away again: what was written is what is read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from rewardkit.data.tables.json_rows import OnBad, Rows, refuse
from rewardkit.data.tables.lines import CHUNK, LONGEST_ROW, read_bytes, text_lines

DELIMITERS = (",", "\t", ";")
FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
GUARDED = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
SEPARATOR = re.compile(r"sep=(.)\s*$")  # a first line that Excel understands


def guard(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula; `unguard` undoes it."""
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def unguard(cell: str) -> str:
    """The text of a cell."""
    return cell[1:] if cell.startswith("'") and GUARDED.match(cell) and not NUMBER.fullmatch(cell) else cell


def read_csv(stream: BinaryIO, name: str, on_bad: OnBad | None) -> Rows:
    """Rows by the names in the first line, with the number of the line that each starts on."""
    csv.field_size_limit(LONGEST_ROW)  # the module's 128 KiB are less than a long answer
    ends = _line_ends(stream, name)
    lines = text_lines(stream, name, ends=ends)
    first = next(lines, "")
    skipped = 0
    if separator := SEPARATOR.match(first):
        first, skipped = next(lines, ""), 1
    try:
        delimiter = separator[1] if separator else _delimiter(first)
        reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    except (csv.Error, TypeError) as error:
        raise ValueError(f"{name}:1: invalid CSV ({error})") from error
    header: list[str] = []
    for number, cells in _records(reader, skipped, name):
        if not header:
            header = [unguard(cell).strip() for cell in cells]
            if twice := sorted({column for column in header if header.count(column) > 1}):
                raise ValueError(f"{name}:{number}: a column name occurs twice: {', '.join(map(repr, twice))}")
            continue
        if len(cells) != len(header):
            ragged = ValueError(f"the row has {len(cells)} cells, the header names {len(header)} columns")
            refuse(number, ragged, f"{name}:{number}", on_bad)
            continue
        yield number, dict(zip(header, map(unguard, cells), strict=True))


def _records(reader, skipped: int, name: str) -> Iterator[tuple[int, list[str]]]:  # noqa: ANN001 (of the module csv)
    while True:
        number = reader.line_num + 1 + skipped
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problem = "a carriage return outside quotes" if "new-line character" in str(error) else error
            raise ValueError(f"{name}:{number}: invalid CSV ({problem})") from error
        if cells is None:
            return
        if cells:
            yield number, cells


def _line_ends(stream: BinaryIO, name: str) -> bytes:
    """A carriage return alone, where the header ends in one: old spreadsheets write that."""
    start = read_bytes(stream, CHUNK, name)
    stream.seek(0)
    header = start.partition(b"\n")[0].removesuffix(b"\r")
    quoted = header.partition(b"\r")[0].count(b'"') % 2
    return b"\r" if b"\r" in header and not quoted else b"\n"


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=lambda delimiter: len(next(csv.reader([line], delimiter=delimiter), [])))
