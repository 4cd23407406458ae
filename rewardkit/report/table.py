"""A table for a terminal or a log: columns aligned, nothing wrapped, so that it can be piped and compared.

Own code, as tabulate measures wide characters (East Asian) only with another package and passes control characters on.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

WIDEST = 84  # characters of a cell; longer ones end in ...


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_left: int = 1, indent: int = 0) -> str:
    """Aligned lines: the first `num_left` columns flush left, the others flush right.

    Args:
        header: names of the columns, with a rule under them; empty for a table without.
        rows: a row of one cell in a table of several columns is a heading, which takes no column's width; an empty row
            is a blank line.
        indent: spaces before each line.
    """
    table = [[_clean(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    num_columns = max(map(len, table), default=0)
    widths = [
        max((_width(row[column]) for row in table if len(row) == num_columns), default=0)
        for column in range(num_columns)
    ]

    def line(row: Sequence[str]) -> str:
        if len(row) < num_columns:
            return "".join(row)
        spaces = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            cell + space if column < num_left else space + cell
            for column, (cell, space) in enumerate(zip(row, spaces, strict=True))
        ]
        return "  ".join(cells)

    lines = [line(row) for row in table]
    if header:
        lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join((" " * indent + text).rstrip() for text in lines)


def _clean(text: str) -> str:
    """Without control characters, and shortened."""
    text = "".join(" " if unicodedata.category(letter).startswith("C") else letter for letter in text)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
