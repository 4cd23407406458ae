"""Tables and figures as text: columns aligned, nothing wrapped, so that a table can be piped and compared.

Own code, as tabulate measures wide characters (East Asian) only with another package and passes control characters on.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from rewardkit.stats.metrics import Interval

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


def percent(value: float) -> str:
    """A share in percent; whole ones without decimals: `61.3%`, `50%`."""
    if not math.isfinite(value):
        return "–"
    scaled = round(100 * value, 1)
    return f"{scaled:.0f}%" if scaled == round(scaled) else f"{scaled:.1f}%"


def plain_number(value: float, decimals: int = 2) -> str:
    """A number without an interval, a dash for none: `0.61`."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else "–"


def interval_text(share: Interval) -> str:
    """A share with its interval: `61.3% (56.1 to 66.5)`; alone where it has none."""
    if not math.isfinite(share.value):
        return "–"
    value = f"{100 * share.value:.1f}%"
    return f"{value} ({100 * share.low:.1f} to {100 * share.high:.1f})" if share.is_known else value


NO_INTERVAL = "too few or too alike to say"


def points_text(difference: Interval) -> str:
    """A difference of shares in points: `+2.5 (-1.0 to +6.1)`."""
    return signed_text(
        Interval(value=100 * difference.value, low=100 * difference.low, high=100 * difference.high), decimals=1
    )


def number_text(number: Interval, decimals: int = 2) -> str:
    """A figure that is no share: `0.61 (0.55 to 0.67)`, or `0.61 (too few or too alike to say)` where it has none."""
    return _with_interval(number, f".{decimals}f")


def signed_text(number: Interval, decimals: int = 2) -> str:
    """The same of a difference: `+0.61 (-0.05 to +1.27)`."""
    return _with_interval(number, f"+.{decimals}f")


def _with_interval(number: Interval, form: str) -> str:
    if not math.isfinite(number.value):
        return "–"
    interval = f"{number.low:{form}} to {number.high:{form}}" if number.is_known else NO_INTERVAL
    return f"{number.value:{form}} ({interval})"
