"""Rows as an aligned plain-text table, and figures as people read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.proportions import Share

WIDEST = 84  # characters of a cell; longer names end in ...


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_texts: int = 1) -> str:
    """An aligned table with a rule under its header; the first `num_texts` columns to the left, the others right."""
    cells = [[_shorten(cell) for cell in row] for row in (header, *rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = []
        for column, cell in enumerate(row):
            space = " " * (widths[column] - _width(cell))
            padded.append(cell + space if column < num_texts else space + cell)
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])


def figure(value: float, *, percent: bool = False) -> str:
    """Three decimals or a percentage; a dash for undefined."""
    if value != value:
        return "-"
    return f"{value:.1%}" if percent else f"{value:.3f}"


def interval(estimate: Estimate | Share, *, percent: bool = False) -> str:
    """`[low, high]`, empty where there is none."""
    if estimate.low != estimate.low or estimate.high != estimate.high:
        return ""
    return f"[{figure(estimate.low, percent=percent)}, {figure(estimate.high, percent=percent)}]"


def _shorten(text: str) -> str:
    text = "".join(" " if unicodedata.category(letter).startswith("C") else letter for letter in text)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
