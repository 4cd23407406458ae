"""Two golds traded off, for people: a table for a terminal, a page with the front."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from alignment.lab.objectives import Point, Way
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.report.charts import Line, line_chart, number_axis
from rewardkit.report.page import Table, experiment_page
from rewardkit.report.table import signed_text, text_table
from rewardkit.run.directory import write_text

SERIES: dict[Way, int] = {"sft": 0, "weighted sum": 1, "constraint": 2, "soup": 3}
HEADER = ("way", "setting", "helpfulness", "safety", "KL", "multiplier")
AREA_NOTE = (
    "area: of what the way's policies dominate within the box from the lowest helpfulness and safety to the highest of "
    "the seed's policies, as a share of the box; the two policies of one gold alone count for every way"
)


def front_area(points: Sequence[tuple[float, float]], corner: tuple[float, float]) -> float:
    """Area dominated by points above a corner: the hypervolume of two objectives, both to be maximised.

    Zitzler and Thiele 1998, "Multiobjective optimization using evolutionary algorithms".

    Args:
        points: (x, y).
        corner: (x, y) that all are held against.
    """
    area, highest = 0.0, corner[1]
    for x, y in sorted(points, reverse=True):
        if y > highest and x > corner[0]:
            area += (x - corner[0]) * (y - highest)
            highest = y
    return area


def area_shares(points: Sequence[Point]) -> dict[Way, dict[int, float]]:
    """By way and seed, the share of the seed's box that the way's policies dominate; see AREA_NOTE."""
    shares: dict[Way, dict[int, float]] = {"weighted sum": {}, "constraint": {}, "soup": {}}
    for seed in dict.fromkeys(point.seed for point in points):
        mine = [point for point in points if point.seed == seed]
        x, y = ([value for value, _ in map(_place, mine)], [value for _, value in map(_place, mine)])
        corner, box = (min(x), min(y)), (max(x) - min(x)) * (max(y) - min(y))
        ends = [_place(point) for point in mine if point.way == "weighted sum" and point.setting in (0.0, 1.0)]
        for way, by_seed in shares.items():
            own = [_place(point) for point in mine if point.way == way]
            by_seed[seed] = front_area([*own, *ends], corner) / box if box else math.nan
    return shares


def summary(points: Sequence[Point]) -> list[list[str]]:
    """Returns one line per way and setting, means over seeds."""
    lines = []
    for way, setting in dict.fromkeys((point.way, _key(point)) for point in points):
        mine = [point for point in points if point.way == way and _key(point) == setting]
        multiplier = np.mean([point.multiplier for point in mine])
        lines.append(
            [
                way,
                setting,
                f"{np.mean([point.helpfulness.value for point in mine]):+.2f}",
                f"{np.mean([point.safety.value for point in mine]):+.2f}",
                f"{np.mean([point.kl for point in mine]):.2f}",
                f"{multiplier:.2f}" if np.isfinite(multiplier) else "",
            ]
        )
    return lines


def seed_lines(points: Sequence[Point]) -> tuple[list[str], list[list[str]]]:
    """Returns the header and two lines per way and setting: each gold on each seed with its interval."""
    seeds = list(dict.fromkeys(point.seed for point in points))
    lines = []
    for way, setting in dict.fromkeys((point.way, _key(point)) for point in points):
        by_seed = {point.seed: point for point in points if point.way == way and _key(point) == setting}
        for name in ("helpfulness", "safety"):
            lines.append([f"{way} {setting}".strip(), name, *(signed_text(getattr(by_seed[s], name)) for s in seeds)])
    return ["way", "gold", *(f"seed {seed}" for seed in seeds)], lines


def area_lines(points: Sequence[Point]) -> tuple[list[str], list[list[str]]]:
    """Returns the header and one line per way: the dominated area on each seed."""
    seeds = list(dict.fromkeys(point.seed for point in points))
    lines = [
        [way, *(f"{by_seed[seed]:.3f}" for seed in seeds), f"{np.mean(list(by_seed.values())):.3f}"]
        for way, by_seed in area_shares(points).items()
    ]
    return ["area", *(f"seed {seed}" for seed in seeds), "mean"], lines


def screen_lines(points: Sequence[Point]) -> list[str]:
    """Returns the tables' lines for a terminal."""
    return [
        text_table(HEADER, summary(points), num_left=2),
        "means over seeds; setting: weight of helpfulness, or the safety asked for and the multiplier's start; KL in "
        "nats a reply",
        "",
        text_table(*seed_lines(points), num_left=2),
        "with 95 % intervals over messages",
        "",
        text_table(*area_lines(points)),
        AREA_NOTE,
    ]


def report_page(points: Sequence[Point]) -> str:
    """The tables and the front: a dot for each policy and seed, lines through means over seeds by setting."""
    lines = []
    for way, series in SERIES.items():
        mine = [point for point in points if point.way == way]
        means = [
            np.mean([_place(point) for point in mine if _key(point) == setting], axis=0)
            for setting in dict.fromkeys(_key(point) for point in mine)
        ]
        x, y = [float(mean[0]) for mean in means], [float(mean[1]) for mean in means]
        lines.append(Line(name=f"{way}, mean", x=x, y=y, series=series, dots=5))
        places = [_place(point) for point in mine]
        dots = [value for value, _ in places], [value for _, value in places]
        lines.append(Line(name=f"{way}, each seed", x=dots[0], y=dots[1], series=series, dots=2, joined=False))
    x_axis = number_axis("helpfulness", [value for line in lines for value in line.x])
    y_axis = number_axis("safety", [value for line in lines for value in line.y])
    seed_header, seed_rows = seed_lines(points)
    area_header, area_rows = area_lines(points)
    return experiment_page(
        "Two golds, traded off",
        summary="In a world of known worth: saying that the money is safe helps and is not safe. The same policy, "
        "messages and steps for all; only how the two golds become one reward differs, and which policies are "
        "averaged afterwards.",
        header=HEADER,
        rows=summary(points),
        tables=[
            Table(heading="Each seed, with 95 % intervals over messages", header=seed_header, rows=seed_rows),
            Table(heading="What the front dominates", note=AREA_NOTE, header=area_header, rows=area_rows),
        ],
        charts=[("Safety against helpfulness, a point a policy", line_chart("Front", x_axis, y_axis, lines))],
    )


def write_objectives(points: Sequence[Point], out_dir: Path) -> None:
    """Writes compare.json and report.html."""
    write_text(out_dir / "compare.json", json.dumps([finite(asdict(point)) for point in points], indent=1))
    write_text(out_dir / "report.html", report_page(points))


def _place(point: Point) -> tuple[float, float]:
    return point.helpfulness.value, point.safety.value


def _key(point: Point) -> str:
    """What tells the policies of a way apart."""
    if math.isnan(point.setting):
        return ""
    return f"{point.setting:g}" + ("" if math.isnan(point.start) else f" from {point.start:g}")
