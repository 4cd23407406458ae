"""Small charts as inline SVG: lines, a reliability diagram, figures with intervals. Colours come from the page's CSS.

Nothing is fetched and nothing runs: a page with these charts shows the same in ten years. What a chart cannot say to a
screen reader stands in its title and in the table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from rewardkit.report.table import interval_text, number_text, percent
from rewardkit.stats.metrics import Interval

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 46
ROW = 26  # height of a row of intervals


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart.

    Attributes:
        series: its colour, numbered from 1; 0 is the grey of what is only there to compare with.
        dots: also draw the points; the number is their radius.
        joined: draw the line itself; without it the points stand alone.
        band: low and high ends of the points' intervals, shaded; none where it is empty.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    series: int
    dashed: bool = False
    dots: float = 0
    joined: bool = True
    band: tuple[Sequence[float], Sequence[float]] | tuple[()] = ()


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear axis: its name, ends, and where it is marked; values are shares, written in percent, or numbers."""

    name: str
    low: float
    high: float
    step: float
    shares: bool = True

    def write(self, mark: float) -> str:
        return percent(mark) if self.shares else f"{mark:g}"

    def marks(self) -> list[float]:
        """Multiples of the step between the ends."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [round(number * self.step, 12) for number in range(first, last + 1)]


def axis_of(name: str, values: Sequence[float]) -> Axis:
    """An axis of shares with three to six marks that holds all values."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    step = next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 5), 0.25)
    low = min(max(-1.0, math.floor(low / step + 1e-9) * step), 1.0 - step)
    return Axis(name=name, low=low, high=max(min(1.0, math.ceil(high / step - 1e-9) * step), low + step), step=step)


def number_axis(name: str, values: Sequence[float]) -> Axis:
    """An axis of numbers of any size with three to seven marks (steps of 1, 2 or 5 tens) that holds all values."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    span = (high - low) or abs(high) or 1.0
    ten = 10.0 ** math.floor(math.log10(span / 5))
    step = next(step * ten for step in (1, 2, 5, 10) if span / (step * ten) <= 5)
    low = math.floor(low / step + 1e-9) * step
    high = max(math.ceil(high / step - 1e-9) * step, low + step)
    return Axis(name=name, low=low, high=high, step=step, shares=False)


def line_chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> Markup:
    """Lines over two axes, with a legend underneath."""
    parts = [_grid(x, y), *(_band(x, y, line) for line in lines if line.band)]
    for line in lines:
        points = [(_along(x, a), _up(y, b)) for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        if line.joined:
            parts.append(f'<polyline class="line s{line.series}" points="{path}"{dash_of(line)}/>')
        parts += [
            f'<circle class="dot s{line.series}" cx="{a:.1f}" cy="{b:.1f}" r="{line.dots}"/>'
            for a, b in points
            if line.dots
        ]
    keys = "".join(
        f'<span class="key"><svg width="22" height="10" aria-hidden="true"><line class="line s{line.series}" x1="0" '
        f'x2="22" y1="5" y2="5"{dash_of(line)}/></svg>{escape(line.name)}</span>'
        for line in lines
    )
    return Markup(f'<figure>{_svg(title, WIDTH, HEIGHT, parts)}<figcaption class="keys">{keys}</figcaption></figure>')


def _band(x: Axis, y: Axis, line: Line) -> str:
    low, high = line.band or ((), ())
    ends = [(a, b, c) for a, b, c in zip(line.x, low, high, strict=True) if math.isfinite(b) and math.isfinite(c)]
    around = [*((a, b) for a, b, _ in ends), *((a, c) for a, _, c in reversed(ends))]
    points = " ".join(f"{_along(x, a):.1f},{_up(y, b):.1f}" for a, b in around)
    return f'<polygon class="band s{line.series}" points="{points}"/>'


def dash_of(line: Line) -> str:
    """The dash attribute of a line."""
    return ' stroke-dasharray="5 4"' if line.dashed else ""


def interval_chart(
    title: str, rows: Sequence[tuple[str, Interval]], reference: float | None = None, *, shares: bool = True
) -> Markup:
    """One dot with its interval a row, its name on the left and its figure on the right.

    Args:
        reference: a value to compare with, drawn as a dashed line.
        shares: whether the values are shares, written in percent, or any numbers.
    """
    bounds = [value for _, row in rows for value in (row.low, row.high, row.value)]
    bounds += [reference] if reference is not None else []
    axis = axis_of("", bounds) if shares else number_axis("", bounds)
    text = interval_text if shares else number_text
    names = 190
    width, height = 640, TOP + ROW * len(rows) + 30
    figures = 168
    span = width - names - figures

    def at(value: float) -> float:
        return names + span * (value - axis.low) / (axis.high - axis.low)

    bottom = TOP + ROW * len(rows)
    parts = []
    for mark in axis.marks():
        parts.append(f'<line class="grid" x1="{at(mark):.1f}" x2="{at(mark):.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(
            f'<text class="mark" x="{at(mark):.1f}" y="{bottom + 18}" text-anchor="middle">{axis.write(mark)}</text>'
        )
    if reference is not None:
        coordinates = f'x1="{at(reference):.1f}" x2="{at(reference):.1f}" y1="{TOP}" y2="{bottom}"'
        parts.append(f'<line class="line s0" stroke-dasharray="5 4" {coordinates}/>')
    for number, (name, row) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        shown = name if len(name) <= 28 else name[:27] + "…"
        parts.append(f'<text x="{names - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(shown)}</text>')
        if not math.isfinite(row.value):
            parts.append(f'<text class="mark" x="{width - figures + 16}" y="{y + 4:.1f}">no pairs</text>')
            continue
        if math.isfinite(row.low):
            ends = f'x1="{at(row.low):.1f}" x2="{at(row.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
            parts.append(f'<line class="bar s1" {ends}/>')
        parts.append(f'<circle class="dot s1" cx="{at(row.value):.1f}" cy="{y:.1f}" r="4.5"/>')
        parts.append(f'<text class="figure" x="{width - figures + 16}" y="{y + 4:.1f}">{text(row)}</text>')
    return Markup(f"<figure>{_svg(title, width, height, parts)}</figure>")


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    label = escape(title, quote=True)
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _along(axis: Axis, value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - axis.low) / (axis.high - axis.low)


def _up(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - axis.low) / (axis.high - axis.low)


def _grid(x: Axis, y: Axis) -> str:
    parts = []
    for mark in y.marks():
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_up(y, mark):.1f}" y2="{_up(y, mark):.1f}"/>'
        )
        parts.append(
            f'<text class="mark" x="{LEFT - 8}" y="{_up(y, mark) + 4:.1f}" text-anchor="end">{y.write(mark)}</text>'
        )
    for mark in x.marks():
        coordinates = f'x="{_along(x, mark):.1f}" y="{HEIGHT - BOTTOM + 18}"'
        parts.append(f'<text class="mark" {coordinates} text-anchor="middle">{x.write(mark)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.name)}</text>')
    turned = f'transform="translate(12 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{escape(y.name)}</text>')
    return "".join(parts)
