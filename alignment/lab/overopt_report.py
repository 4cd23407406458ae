"""The over-optimisation experiment for people: a table for a terminal, and one HTML file with charts. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from rewardkit.report.charts import Line, line_chart, number_axis
from rewardkit.report.page import page
from rewardkit.report.page import table as html_table
from rewardkit.report.wording import aligned, number_text
from rewardkit.stats.metrics import Interval

if TYPE_CHECKING:
    from alignment.lab.overopt import Curve

HEADER = (
    "pushed by",
    "seed",
    "pairs",
    "careless",
    "rule",
    "best gold",
    "gold at the end",
    "proxy",
    "a",
    "b",
    "turns at",
)
PUSHES = {"best_of_n": "best of n", "grpo": "GRPO"}
SERIES = {"mean": 1, "uwo": 2, "wco": 3}


def summary(curves: Sequence[Curve]) -> list[list[str]]:
    """A line per curve."""
    return [
        [
            PUSHES[curve.push],
            str(curve.seed),
            str(curve.pairs),
            f"{curve.noise:.0%}",
            curve.rule,
            f"{curve.best:+.2f}",
            f"{curve.gold[-1]:+.2f}" if curve.gold else "",
            f"{curve.proxy[-1]:+.2f}" if curve.proxy else "",
            number_text(Interval(value=curve.fit.a, low=curve.fit.a_low, high=curve.fit.a_high)) if curve.fit else "",
            number_text(Interval(value=curve.fit.b, low=curve.fit.b_low, high=curve.fit.b_high)) if curve.fit else "",
            f"{curve.fit.peak:.2f}" if curve.fit and np.isfinite(curve.fit.peak) else "never",
        ]
        for curve in curves
    ]


def screen_lines(curves: Sequence[Curve]) -> list[str]:
    """The table for a terminal."""
    return aligned([HEADER, *summary(curves)])


def report_page(curves: Sequence[Curve]) -> str:
    """The table, and a chart for each proxy and way of pushing: gold and its fit under every rule, and the proxy."""
    parts = [
        "<h1>How far a proxy can be pushed</h1>",
        '<p class="quiet">Gold reward and the reward model that stands for it (proxy), above the SFT policy, against '
        "the distance the policy has moved: the square root of its KL. Dashed: the fitted curve d (a - b d) of "
        "best-of-n, d (a - b log d) of reinforcement learning. Grey: the proxy under the mean.</p>",
        html_table(HEADER, summary(curves)),
    ]

    def key(curve: Curve) -> tuple[int, int, float, str]:
        return curve.seed, curve.pairs, curve.noise, curve.push

    for (seed, pairs, noise, push), group in groupby(sorted(curves, key=key), key=key):
        parts.append(f"<h2>{PUSHES[push]}, {pairs:,} pairs, {noise:.0%} careless, seed {seed}</h2>")
        parts.append(_chart(list(group)))
    return page("Over-optimisation", parts)


def _chart(curves: Sequence[Curve]) -> str:
    lines = []
    for curve in curves:
        series = SERIES[curve.rule]
        lines.append(Line(name=f"gold, {curve.rule}", x=curve.distance, y=curve.gold, series=series, dots=2.5))
        if curve.fit:
            x = np.linspace(min(curve.distance), max(curve.distance), 60)
            lines.append(
                Line(name=f"fit, {curve.rule}", x=x.tolist(), y=curve.fit.at(x).tolist(), series=series, dashed=True)
            )
    plain = next((curve for curve in curves if curve.rule == "mean"), curves[0])
    lines.append(Line(name="proxy", x=plain.distance, y=plain.proxy, series=0))
    distance = number_axis("sqrt of KL, nats", [0.0, *(value for line in lines for value in line.x)])
    above = number_axis("above SFT", [0.0, *(value for line in lines for value in line.y)])
    return line_chart("Gold and proxy against the distance", distance, above, lines)
