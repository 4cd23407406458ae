"""The comparison of methods for people: a table for a terminal, and one HTML file with a chart. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rewardkit.report.charts import Line, interval_chart, line_chart, number_axis
from rewardkit.report.page import page
from rewardkit.report.page import table as html_table
from rewardkit.report.wording import aligned
from rewardkit.stats.metrics import Interval

if TYPE_CHECKING:
    from alignment.lab.compare import Row

NAMES = {"sft": "SFT", "best_of_n": "best of n", "dpo": "DPO", "ppo": "PPO", "grpo": "GRPO"}
SERIES = {"sft": 0, "dpo": 1, "ppo": 2, "grpo": 3}
HEADER = ("method", "gold", "above SFT", "lowest seed", "proxy", "KL", "words", "tokens", "seconds", "peak MiB")


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """A line per method, means over seeds."""
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        gains = [row.gain.value for row in mine if row.gain]
        lines.append(
            [
                NAMES[method],
                f"{_mean([row.gold.value for row in mine]):+.2f}",
                f"{_mean(gains):+.2f}" if gains else "",
                f"{min(gains):+.2f}" if gains else "",
                f"{_mean([row.proxy for row in mine]):+.2f}",
                f"{'up to ' if method == 'best_of_n' else ''}{_mean([row.kl for row in mine]):.2f}",
                f"{_mean([row.words for row in mine]):.1f}",
                f"{_mean([row.num_tokens for row in mine]):,.0f}",
                f"{_mean([row.seconds for row in mine]):.0f}",
                f"{max(row.peak_mb for row in mine):.0f}",
            ]
        )
    return lines


def screen_lines(rows: Sequence[Row]) -> list[str]:
    """The table for a terminal."""
    seeds = len({row.seed for row in rows})
    over = f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"
    shown = aligned([HEADER, *summary(rows)], num_left=1)
    return [*shown, f"means over {over}; gold in logits, proxy in spreads of chosen replies, KL in nats a reply"]


def report_page(rows: Sequence[Row]) -> str:
    """The table, each seed's gold with its interval, and gold against KL, a dot for each policy."""
    intervals: list[tuple[str, Interval]] = [
        (f"{NAMES[row.method]}, seed {row.seed}", row.gold) for row in sorted(rows, key=lambda row: _place(row, rows))
    ]
    sft = [row.gold.value for row in rows if row.method == "sft"]
    lines = []
    for method, series in SERIES.items():
        mine = [row for row in rows if row.method == method]
        x, y = [row.kl for row in mine], [row.gold.value for row in mine]
        if mine:
            lines.append(Line(name=NAMES[method], x=x, y=y, series=series, dots=5, joined=False))
    kl = number_axis("KL to SFT, nats a reply", [value for line in lines for value in line.x])
    gold = number_axis("gold reward", [value for line in lines for value in line.y])
    parts = [
        "<h1>Ways of aligning a policy, side by side</h1>",
        '<p class="quiet">In a world of known worth: the same messages, replies and votes for all. Gold is what '
        "replies are worth, which no training sees; the proxy is the reward model that was trained on the votes.</p>",
        html_table(HEADER, summary(rows)),
        "<h2>Gold reward of each seed, with 95 % intervals over messages</h2>",
        interval_chart("Gold reward", intervals, _mean(sft), shares=False),
        "<h2>How far each policy moved, a dot a seed</h2>",
        line_chart("Gold reward against KL", kl, gold, lines),
    ]
    return page("Comparison", parts)


def _place(row: Row, rows: Sequence[Row]) -> int:
    return list(dict.fromkeys(each.method for each in rows)).index(row.method)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
