"""The over-optimisation experiment for people: tables for a terminal, a page with charts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from alignment.lab.pushed_curves import Curve, Proxy, admission
from rewardkit.report.charts import Line, line_chart, number_axis
from rewardkit.report.page import Table, experiment_page
from rewardkit.report.table import number_text, percent, signed_text, text_table
from rewardkit.stats.metrics import Interval, student_interval

HEADER = ("proxy, and what pushes it", "rule", "at KL", "gold above SFT", "beside the mean's")
WAY_HEADER = (
    "proxy, and what pushes it",
    "rule",
    "follows gold",
    "penalty",
    "best",
    "rose",
    "at the end",
    "KL there",
    "proxy there",
)
WORLDS_HEADER = (
    "proxy, and what pushes it",
    "rule",
    "worlds",
    "follows gold",
    "at KL",
    "gold above SFT",
    "beside the mean's",
    "best",
    "at the end",
    "a",
    "b",
)
KINDS_HEADER = ("votes, and what pushes", "rule", "worlds", "whole members beside heads")
FIT_HEADER = ("proxy, and what pushes it", "rule", "a", "b", "r2", "turns at")
MEMBERS = {"full": "whole members", "heads": "heads on one trunk"}
PUSHES = {"best_of_n": "best of n", "grpo": "GRPO"}
RULES = {"one": "one member", "mean": "mean", "uwo": "uwo", "wco": "wco"}
SERIES = {"one": 4, "mean": 1, "uwo": 2, "wco": 3}
NOTE = (
    "gold in logits above SFT, with 95 % intervals over messages; arms of a proxy are compared at the KL that all of "
    "them reached, in nats a reply, and paired by message"
)
WAY_NOTE = (
    "follows gold: correlation of what the rule rewards with gold among SFT replies to one message, before any push; "
    "penalty: spread there of what the rule takes from the mean, as a share of the mean's own; "
    "rose: whether the interval of the curve's best point, chosen for being that, lies above 0"
)
WORLDS_NOTE = (
    "means over worlds with 95 % intervals: each world counts once, and has messages, votes and policies of its own, "
    "so that the intervals hold the luck of all of them; proxies that were not admitted are left out"
)
KINDS_NOTE = (
    "whole members beside heads: gold at the KL that both reached, paired by world, where both proxies were admitted"
)
FIT_NOTE = "a, b and where gold turns are of distances: the square root of KL"


def summary(curves: Sequence[Curve]) -> list[list[str]]:
    """Returns one line per curve: gold at the KL that all arms of its proxy reached."""
    return [
        [
            *_names(curve),
            f"{curve.common**2:.1f}",
            signed_text(curve.gold_at_common),
            signed_text(curve.gain_at_common) if curve.gain_at_common else "",
        ]
        for curve in curves
    ]


def ways(curves: Sequence[Curve]) -> list[list[str]]:
    """Returns one line per curve: where gold went, and how far."""
    return [
        [
            *_names(curve),
            f"{curve.follows:+.2f}" if np.isfinite(curve.follows) else "",
            percent(curve.penalty),
            f"{curve.best.value:+.2f}",
            curve.rose,
            f"{curve.end.value:+.2f}",
            f"{curve.distance[-1] ** 2:.1f}",
            f"{curve.proxy[-1]:+.2f}",
        ]
        for curve in curves
    ]


def fits(curves: Sequence[Curve]) -> list[list[str]]:
    """Returns one line per curve that has a fit."""
    return [
        [
            *_names(curve),
            number_text(Interval(value=curve.fit.a, low=curve.fit.a_low, high=curve.fit.a_high)),
            number_text(Interval(value=curve.fit.b, low=curve.fit.b_low, high=curve.fit.b_high)),
            f"{curve.fit.r2:.2f}" if np.isfinite(curve.fit.r2) else "",
            curve.fit.turning,
        ]
        for curve in curves
        if curve.fit
    ]


def over_worlds(curves: Sequence[Curve]) -> list[list[str]]:
    """Returns one line per proxy, push and rule that several worlds have admitted."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        if curve.admitted:
            groups.setdefault((_push_name(curve), RULES[curve.rule]), []).append(curve)
    lines = []
    for (proxy, rule), group in groups.items():
        fitted = [curve.fit for curve in group if curve.fit]
        if len(group) > 1:
            signed = (
                [curve.gold_at_common.value for curve in group],
                [curve.gain_at_common.value for curve in group if curve.gain_at_common],
                [curve.best.value for curve in group],
                [curve.end.value for curve in group],
            )
            follows = np.mean([curve.follows for curve in group])
            kl = np.mean([curve.common**2 for curve in group])
            lines.append(
                [
                    *(proxy, rule, str(len(group)), f"{follows:+.2f}", f"{kl:.1f}"),
                    *(signed_text(student_interval(values)) if values else "" for values in signed),
                    *(number_text(student_interval(v)) for v in ([f.a for f in fitted], [f.b for f in fitted])),
                ]
            )
    return lines


def kinds(curves: Sequence[Curve]) -> list[list[str]]:
    """Returns one line per votes, push and rule: by whole members less by heads on one trunk, over several worlds."""
    pairs: dict[tuple[str, str], dict[int, dict[str, Curve]]] = {}
    for curve in curves:
        if curve.admitted:
            name = f"{PUSHES[curve.push]}, {_votes_name(curve)}", RULES[curve.rule]
            pairs.setdefault(name, {}).setdefault(curve.seed, {})[curve.members] = curve
    lines = []
    for (votes, rule), worlds in pairs.items():
        gains = []
        for of_kind in worlds.values():
            if len(of_kind) == len(MEMBERS):
                common = min(curve.distance[-1] for curve in of_kind.values())
                gains.append(of_kind["full"].gold_at(common) - of_kind["heads"].gold_at(common))
        if len(gains) > 1:
            lines.append([votes, rule, str(len(gains)), signed_text(student_interval(gains))])
    return lines


def screen_lines(curves: Sequence[Curve]) -> list[str]:
    """Returns the tables' lines for a terminal."""
    lines = [text_table(HEADER, summary(curves), num_left=2), NOTE, ""]
    lines += [text_table(WAY_HEADER, ways(curves), num_left=2), WAY_NOTE, *_admission(curves)]
    if fitted := fits(curves):
        lines += ["", text_table(FIT_HEADER, fitted, num_left=2), FIT_NOTE]
    if pooled := over_worlds(curves):
        lines += ["", text_table(WORLDS_HEADER, pooled, num_left=2), WORLDS_NOTE]
    if compared := kinds(curves):
        lines += ["", text_table(KINDS_HEADER, compared, num_left=2), KINDS_NOTE]
    return lines


def report_page(curves: Sequence[Curve]) -> str:
    """The tables, and a chart for each proxy and way of pushing: gold and its fit under every rule, and the proxy."""

    def key(curve: Curve) -> tuple[int, int, float, str, str]:
        return curve.seed, curve.pairs, curve.noise, curve.members, curve.push

    groups = [list(group) for _, group in groupby(sorted(curves, key=key), key=key)]
    charts = [(_push_name(group[0], f", seed {group[0].seed}"), _chart(group)) for group in groups]
    return experiment_page(
        "How far a proxy can be pushed",
        summary="Gold reward and the reward model that stands for it (proxy), above the SFT policy, against the "
        "distance the policy has moved: the square root of its KL. Bands: 95 % intervals over messages. Dashed: the "
        "fitted curve d (a - b d) of best-of-n, d (a - b log d) of reinforcement learning. Grey: the proxy under the "
        f"mean. In the table {NOTE}. {' '.join(_admission(curves))}",
        header=HEADER,
        rows=summary(curves),
        charts=charts,
        tables=[
            Table(
                heading="Where gold went",
                note=f"{WAY_NOTE[0].upper()}{WAY_NOTE[1:]}.",
                header=WAY_HEADER,
                rows=ways(curves),
            ),
            Table(heading="Fitted curves", note=f"{FIT_NOTE}.", header=FIT_HEADER, rows=fits(curves)),
            Table(
                heading="Over worlds",
                note=f"{WORLDS_NOTE[0].upper()}{WORLDS_NOTE[1:]}.",
                header=WORLDS_HEADER,
                rows=over_worlds(curves),
            ),
            Table(
                heading="Trunks of their own, and a shared one",
                note=f"{KINDS_NOTE[0].upper()}{KINDS_NOTE[1:]}.",
                header=KINDS_HEADER,
                rows=kinds(curves),
            ),
        ],
    )


def proxy_name(proxy: Proxy | Curve) -> str:
    """Its members, and what they learned from."""
    return f"{MEMBERS[proxy.members]}, {_votes_name(proxy)}"


def _admission(curves: Sequence[Curve]) -> list[str]:
    """Each proxy counts once, by the mean of its members where it has more than one."""
    proxies = [curve for curve in curves if curve.push == "best_of_n" and curve.rule == "mean"]
    proxies = proxies or [curve for curve in curves if curve.push == "best_of_n"]
    lines = [admission([curve.follows for curve in proxies])] if proxies else []
    if left_out := [
        f"{proxy_name(curve)}, seed {curve.seed} ({curve.follows:+.2f})" for curve in proxies if not curve.admitted
    ]:
        lines.append(f"Not trained on by GRPO and not counted over worlds, for how they follow: {'; '.join(left_out)}.")
    return lines


def _names(curve: Curve) -> list[str]:
    return [_push_name(curve, f", seed {curve.seed}"), RULES[curve.rule]]


def _push_name(curve: Curve, world: str = "") -> str:
    return f"{PUSHES[curve.push]}{world}, {proxy_name(curve)}"


def _votes_name(proxy: Proxy | Curve) -> str:
    return f"{proxy.pairs:,} pairs, {proxy.noise:.0%} careless"


def _chart(curves: Sequence[Curve]) -> str:
    lines = []
    for curve in curves:
        series = SERIES[curve.rule]
        lines.append(
            Line(
                name=f"gold, {RULES[curve.rule]}",
                x=curve.distance,
                y=curve.gold,
                series=series,
                dots=2.5,
                band=(curve.gold_low, curve.gold_high),
            )
        )
        if curve.fit:
            x = np.linspace(min(curve.distance), max(curve.distance), 60)
            lines.append(
                Line(
                    name=f"fit, {RULES[curve.rule]}",
                    x=x.tolist(),
                    y=curve.fit.at(x).tolist(),
                    series=series,
                    dashed=True,
                )
            )
    plain = next((curve for curve in curves if curve.rule == "mean"), curves[0])
    lines.append(Line(name="proxy", x=plain.distance, y=plain.proxy, series=0))
    bounds = [end for line in lines if line.band for end in (*line.band[0], *line.band[1])]
    distance = number_axis("sqrt of KL, nats", [0.0, *(value for line in lines for value in line.x)])
    above = number_axis("above SFT", [0.0, *bounds, *(value for line in lines for value in line.y)])
    return line_chart("Gold and proxy against the distance", distance, above, lines)
