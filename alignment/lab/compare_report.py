"""The comparison of methods for people: tables for a terminal, a page with charts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignment.lab.method_rows import BY_REWARD, Row
from rewardkit.report.charts import Line, interval_chart, line_chart, number_axis
from rewardkit.report.page import Table, experiment_page
from rewardkit.report.table import signed_text, text_table

NAMES = {
    "demonstrations": "a demonstration",
    "best_of_two": "better of two",
    "sft": "SFT",
    "best_of_n": "best of n",
    "dpo": "DPO",
    "ppo": "PPO",
    "grpo": "GRPO",
}
SERIES = {"sft": 0, "dpo": 1, "ppo": 2, "grpo": 3, "best_of_n": 4}
HEADER = ("method", "gold", "above SFT", "lowest seed", "proxy", "KL", "words")
WORK_HEADER = ("method", "updates", "tokens", "seconds", "reward model: tokens", "its seconds", "peak MiB")
WORK_NOTE = (
    "SFT is apart, as all begin there; tokens and seconds of PPO, GRPO and best of n count the reward model, which DPO "
    "does not need; best of n takes its tokens again for every message that it answers"
)


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """Returns one line per method: what its replies are worth, means over seeds."""
    lines = []
    for method, mine in _by_method(rows):
        gains = [row.gain.value for row in mine if row.gain]
        kl = _mean([row.kl for row in mine])
        lines.append(
            [
                NAMES[method],
                f"{_mean([row.gold.value for row in mine]):+.2f}",
                f"{_mean(gains):+.2f}" if gains else "",
                f"{min(gains):+.2f}" if gains else "",
                f"{_mean([row.proxy for row in mine]):+.2f}",
                f"{'up to ' if method == 'best_of_n' else ''}{kl:.2f}" if np.isfinite(kl) else "",
                f"{_mean([row.words for row in mine]):.1f}",
            ]
        )
    return lines


def gain_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Returns the header and one line per method: gold above SFT on each seed, paired by message, with its interval."""
    seeds = list(dict.fromkeys(row.seed for row in rows))
    lines = []
    for method, mine in _by_method(rows):
        by_seed = {row.seed: row.gain for row in mine if row.gain}
        if by_seed:
            gains = [by_seed.get(seed) for seed in seeds]
            lines.append([NAMES[method], *(signed_text(gain) if gain else "" for gain in gains)])
    return ["gold above SFT", *(f"seed {seed}" for seed in seeds)], lines


def work(rows: Sequence[Row]) -> list[list[str]]:
    """Returns one line per method that takes work: what it took, means over seeds."""
    lines = []
    for method, mine in _by_method(rows):
        tokens, seconds = _mean([row.num_tokens for row in mine]), _mean([row.seconds for row in mine])
        reward_tokens = _mean([row.reward_tokens for row in mine])
        reward_seconds = _mean([row.reward_seconds for row in mine])
        if tokens or seconds:
            own = [f"{reward_tokens:,.0f}", f"{reward_seconds:.0f}"] if method in BY_REWARD else ["", ""]
            lines.append(
                [
                    NAMES[method],
                    f"{_mean([row.num_updates for row in mine]):.0f}",
                    f"{tokens + reward_tokens:,.0f}",
                    f"{seconds + reward_seconds:.0f}",
                    *own,
                    f"{max(row.peak_mb for row in mine):.0f}",
                ]
            )
    return lines


def screen_lines(rows: Sequence[Row]) -> list[str]:
    """Returns the tables' lines for a terminal."""
    seeds = len({row.seed for row in rows})
    over = f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"
    return [
        text_table(HEADER, summary(rows)),
        f"means over {over}; gold in logits, proxy in spreads of chosen replies, KL in nats a reply",
        "",
        text_table(*gain_lines(rows)),
        "paired by message, with 95 % intervals over messages",
        "",
        text_table(WORK_HEADER, work(rows)),
        WORK_NOTE,
    ]


def report_page(rows: Sequence[Row]) -> str:
    """The tables, each seed's paired gain with its interval, and gold against KL, a dot for each policy."""
    place = {method: number for number, (method, _) in enumerate(_by_method(rows))}
    gains = [
        (f"{NAMES[row.method]}, seed {row.seed}", row.gain)
        for row in sorted(rows, key=lambda row: place[row.method])
        if row.gain
    ]
    lines = []
    for method, series in SERIES.items():
        mine = [row for row in rows if row.method == method]
        x, y = [row.kl for row in mine], [row.gold.value for row in mine]
        if mine:
            lines.append(Line(name=NAMES[method], x=x, y=y, series=series, dots=5, joined=False))
    demonstrated = [row.gold.value for row in rows if row.method == "demonstrations"]
    kl = number_axis("KL to SFT, nats a reply; of best of n its bound", [value for line in lines for value in line.x])
    if demonstrated:
        level = [_mean(demonstrated)] * 2
        lines.append(Line(name=NAMES["demonstrations"], x=[kl.low, kl.high], y=level, series=0, dashed=True))
    gold = number_axis("gold reward", [value for line in lines for value in line.y])
    gain_header, gain_rows = gain_lines(rows)
    return experiment_page(
        "Ways of aligning a policy, side by side",
        summary="In a world of known worth: the same messages, replies and votes for all. Gold is what replies are "
        "worth, which no training sees; the proxy is the reward model that was trained on the votes. A demonstration "
        "is what SFT imitates: a method below it has mended imitation and no more.",
        header=HEADER,
        rows=summary(rows),
        tables=[
            Table(heading="Gold above SFT, paired by message", header=gain_header, rows=gain_rows),
            Table(heading="What it took", note=f"{WORK_NOTE}.", header=WORK_HEADER, rows=work(rows)),
        ],
        charts=[
            (
                "Gold above SFT on each seed, paired by message, with 95 % intervals",
                interval_chart("Gold above SFT", gains, 0.0, shares=False),
            ),
            ("How far each policy moved, a dot a seed", line_chart("Gold reward against KL", kl, gold, lines)),
        ],
    )


def _by_method(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    methods = dict.fromkeys(row.method for row in rows)
    return [(method, [row for row in rows if row.method == method]) for method in methods]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
