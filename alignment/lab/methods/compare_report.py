"""The comparison of methods for people: tables for a terminal, a page with charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from operator import attrgetter

import numpy as np

from alignment.config.lab import CompareConfig
from alignment.lab.methods.arms import NAMES, setting_name
from alignment.lab.methods.method_rows import RewardRow, Row
from alignment.lab.pushed_curves import admission
from rewardkit.report.charts import Line, interval_chart, line_chart, number_axis
from rewardkit.report.page import Table, experiment_page
from rewardkit.report.table import interval_text, percent, signed_text, text_table
from rewardkit.stats.metrics import Interval, student_interval

SERIES = {"sft": 0, "dpo": 1, "ppo": 2, "grpo": 3, "best_of_n": 4, "more_sft": 5, "spin": 6}
HEADER = ("method", "gold", "above SFT (95 %)", "lowest seed", "proxy", "KL", "words")
NOTE = "gold in logits, proxy in spreads of chosen replies, KL in nats a reply"
BETWEEN_HEADER = ("gold of", "beside that of", "difference (95 %)", "seeds ahead")
BETWEEN_NOTE = "paired by seed, which has its own world, votes and policies; intervals over seeds (Student)"
WORK_HEADER = (
    "method",
    "updates",
    "tokens",
    "seconds",
    "reward model: tokens",
    "its seconds",
    "peak MiB",
    "tokens an answer",
    "seconds an answer",
)
WORK_NOTE = (
    "SFT is apart, as all begin there; tokens and seconds of PPO, GRPO and best of n count the reward model, which DPO "
    "does not need; best of n draws and rewards n replies for every message that it answers"
)
EQUAL = {
    "steps": "nothing is equal but the steps of PPO, GRPO and SPIN; DPO has an epoch",
    "updates": "all that train make as many updates of the weights, four in a step of PPO and of SPIN",
    "tokens": "DPO reads as many tokens as a reward model and the samples of PPO or GRPO take, as far as lengths are "
    "known before; PPO passes over its samples four times",
}
REWARD_HEADER = ("reward model", "pairs it orders right", "follows gold", "admitted", "penalty, of the signal")
REWARD_NOTE = (
    "follows gold: correlation with gold among SFT replies to one message; penalty: spread of what the conservative "
    "rule takes, within messages, as a share of that of the reward itself"
)
KL_AXIS, FLIPS_AXIS = "KL to SFT, nats a reply; of best of n its bound", "share of votes turned around"
GOLD, PROXY, KL, FLIPS = (attrgetter(name) for name in ("gold.value", "proxy", "kl", "flips"))


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """Returns one line per method and setting: what its replies are worth, means over seeds."""
    lines = []
    for name, mine in _by_setting(rows):
        gains = [row.gain.value for row in mine if row.gain]
        kl = _mean([row.kl for row in mine])
        lines.append(
            [
                name,
                f"{_mean([row.gold.value for row in mine]):+.2f}",
                signed_text(_over_seeds(mine)) if gains else "",
                f"{min(gains):+.2f}" if gains else "",
                f"{_mean([row.proxy for row in mine]):+.2f}",
                f"{'up to ' if mine[0].method == 'best_of_n' else ''}{kl:.2f}" if np.isfinite(kl) else "",
                f"{_mean([row.words for row in mine]):.1f}",
            ]
        )
    return lines


def gain_lines(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Returns the header and one line per setting: gold above SFT on each seed, paired by message."""
    seeds = list(dict.fromkeys(row.seed for row in rows))
    lines = []
    for name, mine in _by_setting(rows):
        by_seed = {row.seed: row.gain for row in mine if row.gain}
        if by_seed:
            gains = [by_seed.get(seed) for seed in seeds]
            lines.append([name, *(signed_text(gain) if gain else "" for gain in gains)])
    return ["gold above SFT", *(f"seed {seed}" for seed in seeds)], lines


def between(rows: Sequence[Row]) -> list[list[str]]:
    """Returns one line per two settings that several seeds have: the difference of their gold, paired by seed."""
    gold = [(name, {row.seed: row.gold.value for row in mine}) for name, mine in _by_setting(rows)]
    lines = []
    for (one, of_one), (other, of_other) in combinations(gold, 2):
        differences = [of_one[seed] - of_other[seed] for seed in of_one.keys() & of_other.keys()]
        if len(differences) > 1:
            ahead = sum(difference > 0 for difference in differences)
            lines.append([one, other, signed_text(student_interval(differences)), f"{ahead} of {len(differences)}"])
    return lines


def work(rows: Sequence[Row]) -> list[list[str]]:
    """Returns one line per setting that takes work: what it took, means over seeds."""
    lines = []
    for name, mine in _by_setting(rows):
        if not mine[0].answer.tokens:
            continue
        rewards = [row.reward for row in mine if row.reward]
        reward_tokens = _mean([each.num_tokens for each in rewards])
        reward_seconds = _mean([each.seconds for each in rewards])
        tokens = _mean([row.spent.num_tokens for row in mine])
        seconds = _mean([row.spent.seconds for row in mine])
        lines.append(
            [
                name,
                f"{_mean([row.spent.num_updates for row in mine]):.0f}",
                f"{tokens + (reward_tokens if rewards else 0):,.0f}",
                f"{seconds + (reward_seconds if rewards else 0):.0f}",
                *([f"{reward_tokens:,.0f}", f"{reward_seconds:.0f}"] if rewards else ["", ""]),
                f"{max(row.spent.peak_mb for row in mine):.0f}" if mine[0].method != "best_of_n" else "",
                f"{_mean([row.answer.tokens for row in mine]):,.0f}",
                f"{_mean([row.answer.seconds for row in mine]):.3f}",
            ]
        )
    return lines


def reward_lines(reward_models: Sequence[RewardRow]) -> list[list[str]]:
    """Returns one line per reward model: how well it knows gold, and whether pushing it says anything."""
    return [
        [
            f"seed {each.seed}{f', {percent(each.flips)} of votes flipped' if each.flips else ''}",
            interval_text(each.right),
            f"{each.follows:+.2f}",
            "yes" if each.is_admitted else "no",
            percent(each.penalty),
        ]
        for each in reward_models
    ]


def screen_lines(config: CompareConfig, rows: Sequence[Row], reward_models: Sequence[RewardRow]) -> list[str]:
    """Returns the tables' lines for a terminal."""
    return [
        text_table(HEADER, summary(rows)),
        f"{_seeds_note(rows)}; {NOTE}",
        "",
        text_table(*gain_lines(rows)),
        "paired by message, with 95 % intervals over messages",
        *(["", text_table(BETWEEN_HEADER, paired, num_left=2), BETWEEN_NOTE] if (paired := between(rows)) else []),
        "",
        text_table(WORK_HEADER, work(rows)),
        f"equal {config.equal}: {EQUAL[config.equal]}",
        WORK_NOTE,
        "",
        text_table(REWARD_HEADER, reward_lines(reward_models)),
        REWARD_NOTE,
        admission([each.follows for each in reward_models]),
    ]


def report_page(config: CompareConfig, rows: Sequence[Row], reward_models: Sequence[RewardRow]) -> str:
    """The tables, each seed's paired gain with its interval, and gold and proxy against KL, and against flips."""
    gains = [
        (f"{name}, seed {row.seed}", row.gain)
        for name, mine in _by_setting(rows)
        for row in mine
        if row.gain is not None
    ]
    gain_header, gain_rows = gain_lines(rows)
    charts = [
        (
            "Gold above SFT on each seed, paired by message, with 95 % intervals",
            interval_chart("Gold above SFT", gains, 0.0, shares=False),
        ),
        ("How far each policy moved: gold", _chart(rows, "gold reward", GOLD, KL, KL_AXIS)),
        ("How far each policy moved: proxy", _chart(rows, "proxy reward", PROXY, KL, KL_AXIS)),
    ]
    if "flips" in config.swept:
        of_votes = [row for row in rows if row.method not in ("sft", "best_of_two")]
        charts.append(("Gold against votes turned around", _chart(of_votes, "gold reward", GOLD, FLIPS, FLIPS_AXIS)))
    return experiment_page(
        "Ways of aligning a policy, side by side",
        summary="In a world of known worth: the same messages, replies and votes for all. Gold is what replies are "
        "worth, which no training sees; the proxy is the reward model that was trained on the votes. A demonstration "
        "is what SFT imitates: a method below it has mended imitation and no more. "
        f"{_seeds_note(rows).capitalize()}; {NOTE}. {admission([each.follows for each in reward_models])}",
        header=HEADER,
        rows=summary(rows),
        tables=[
            Table(heading="Gold above SFT, paired by message", header=gain_header, rows=gain_rows),
            Table(
                heading="Methods beside each other",
                note=f"{BETWEEN_NOTE[0].upper()}{BETWEEN_NOTE[1:]}.",
                header=BETWEEN_HEADER,
                rows=between(rows),
            ),
            Table(
                heading="What it took",
                note=f"Equal {config.equal}: {EQUAL[config.equal]}. {WORK_NOTE}.",
                header=WORK_HEADER,
                rows=work(rows),
            ),
            Table(
                heading="The reward models",
                note=f"{REWARD_NOTE}.",
                header=REWARD_HEADER,
                rows=reward_lines(reward_models),
            ),
        ],
        charts=charts,
    )


def _chart(rows: Sequence[Row], name: str, y: Callable[[Row], float], x: Callable[[Row], float], x_name: str) -> str:
    """A dot a policy, and a line through those of a method and seed that differ in nothing but their place on x.

    Over KL that is the option that was swept, over flips the share of flips.
    """
    lines = []
    for method, series in SERIES.items():
        alike: dict[str, list[Row]] = {}
        for row in sorted((row for row in rows if row.method == method), key=x):
            fixed = (math.nan, row.flips) if x is KL else (row.value, 0.0)
            alike.setdefault(f"{setting_name(method, *fixed)}, seed {row.seed}", []).append(row)
        for label, mine in alike.items():
            xs, ys = [x(row) for row in mine], [y(row) for row in mine]
            lines.append(Line(name=label, x=xs, y=ys, series=series, dots=4, joined=len(mine) > 1))
    across = number_axis(x_name, [value for line in lines for value in line.x])
    if demonstrated := [y(row) for row in rows if row.method == "demonstrations"]:
        ends, level = [across.low, across.high], [_mean(demonstrated)] * 2
        lines.append(Line(name=NAMES["demonstrations"], x=ends, y=level, series=0, dashed=True))
    up = number_axis(name, [value for line in lines for value in line.y])
    return line_chart(f"{name} against {x_name}", across, up, lines)


def _over_seeds(rows: Sequence[Row]) -> Interval:
    """Mean gain: of one seed with its interval over messages, of several with Student's over seeds."""
    gains = [row.gain for row in rows if row.gain]
    if len(gains) == 1:
        return gains[0]
    return student_interval([gain.value for gain in gains])


def _seeds_note(rows: Sequence[Row]) -> str:
    seeds = len({row.seed for row in rows})
    return "one seed, intervals over messages" if seeds == 1 else f"means over {seeds} seeds, intervals over seeds"


def _by_setting(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows of each method and setting, by its name, methods one after another."""
    order = list(dict.fromkeys(row.method for row in rows))
    by_name: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: order.index(row.method)):
        by_name.setdefault(setting_name(row.method, row.value, row.flips), []).append(row)
    return list(by_name.items())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
