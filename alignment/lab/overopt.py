"""The over-optimisation experiment: gold reward known, proxies learned from few or careless votes, pushed ever further.

Gao et al. 2022 (arXiv 2210.10760), in a small world: gold and proxy reward of best-of-n (by the exact order-statistics
estimator) and of GRPO without a KL, against d = sqrt(KL), with and without a penalty for the ensemble's disagreement.
Gold above the start is fitted by d (a - b d) for best-of-n and d (a - b log d) for reinforcement learning. People get a
table for a terminal (`screen_lines`) and a page with charts (`report_page`).

overopt.json    curves and fits
report.html     the same for people
seed-0/         the runs: world/, sft/, reward-200-0.5/, grpo-200-0.5-mean/, ...
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Literal

import numpy as np

from alignment.best_of_n.value import expected_best, kl_bound
from alignment.config.lab import OveroptConfig
from alignment.lab.curve_fits import Fit, fit_best_of_n, fit_reinforcement
from alignment.lab.gold_evaluation import Worth, draw_replies, load_proxy, load_sampler
from alignment.lab.steps import COMPLETIONS, GROUP, Step, reward_step, run_step, sft_step
from alignment.simulated_world import GOLD, MAX_NEW_TOKENS, WorldFiles, write_world
from rewardkit.data.prompts import read_prompts
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.report.charts import Line, line_chart, number_axis
from rewardkit.report.page import experiment_page
from rewardkit.report.table import number_text, text_table
from rewardkit.reward.reward import Penalty, Reward, conservative
from rewardkit.run.directory import read_metrics, write_text
from rewardkit.stats.metrics import Interval

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
    """Returns one line per curve."""
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
    """Returns the table's lines for a terminal."""
    return [text_table(HEADER, summary(curves))]


def report_page(curves: Sequence[Curve]) -> str:
    """The table, and a chart for each proxy and way of pushing: gold and its fit under every rule, and the proxy."""

    def key(curve: Curve) -> tuple[int, int, float, str]:
        return curve.seed, curve.pairs, curve.noise, curve.push

    charts = [
        (f"{PUSHES[push]}, {pairs:,} pairs, {noise:.0%} careless, seed {seed}", _chart(list(group)))
        for (seed, pairs, noise, push), group in groupby(sorted(curves, key=key), key=key)
    ]
    return experiment_page(
        "How far a proxy can be pushed",
        summary="Gold reward and the reward model that stands for it (proxy), above the SFT policy, against the "
        "distance the policy has moved: the square root of its KL. Dashed: the fitted curve d (a - b d) of best-of-n, "
        "d (a - b log d) of reinforcement learning. Grey: the proxy under the mean.",
        header=HEADER,
        rows=summary(curves),
        charts=charts,
    )


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


Push = Literal["best_of_n", "grpo"]
RULES: tuple[Penalty, ...] = ("mean", "uwo", "wco")
RL_RULES: tuple[Penalty, ...] = ("mean", "uwo")
AUDIT_EVERY = 5
RATE = 1e-4  # at 3e-4 a policy that nothing holds was over 100 nats an answer away within 60 steps


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A proxy pushed further and further.

    Attributes:
        push: how.
        seed: of the world.
        pairs, noise: what the proxy learned from.
        rule: what stands for the ensemble's members.
        distance: (M,) sqrt of the KL to the SFT policy; of best-of-n of its bound.
        gold, proxy: (M,) mean over held-out messages, above the start.
        fit: of gold; None for fewer points than it takes.
    """

    push: Push
    seed: int
    pairs: int
    noise: float
    rule: Penalty
    distance: tuple[float, ...]
    gold: tuple[float, ...]
    proxy: tuple[float, ...]
    fit: Fit | None

    @property
    def best(self) -> float:
        """Highest gold along the curve."""
        return max(self.gold, default=float("nan"))

    @property
    def lost(self) -> float:
        """Fall of gold from its highest point to the end of the curve."""
        return self.best - self.gold[-1] if self.gold else float("nan")


def overopt(config: OveroptConfig, told: Callable[[str], None]) -> list[Curve]:
    """Runs all proxies on all seeds."""
    curves: list[Curve] = []
    for number, seed in enumerate(config.numbers, start=1):
        prefix = f"world {number} of {config.seeds}: "
        curves += _seed(config, seed, lambda message, prefix=prefix: told(prefix + message))
    return curves


def _seed(config: OveroptConfig, seed: int, told: Callable[[str], None]) -> Iterator[Curve]:
    folder = Path(config.out) / f"seed-{seed}"
    files = write_world(folder / "world", seed=seed, num_train=config.num_prompts)
    sft = str(folder / "sft")
    run_step(sft_step(seed, folder, files), told)
    prompts = read_prompts(files.held_out).rows
    told(f"{config.n} replies to each held-out message are drawn")
    replies = draw_replies(load_sampler(sft), prompts, n=config.n, seed=seed)
    for noise in config.noise_shares:
        voted = files
        if noise:
            voted = write_world(folder / f"world-{noise:g}", seed=seed, num_train=config.num_prompts, noise=noise)
        for pairs in config.pair_counts:
            name = f"{pairs}-{noise:g}"
            reward = folder / f"reward-{name}"
            votes = _first_rows(voted, pairs)
            # Whole models, as heads on one trunk share its errors.
            step = reward_step(seed, folder, votes, ensemble=config.ensemble, out=reward, members="full")
            run_step(replace(step, name=f"{step.name}, {pairs} pairs, {noise:.0%} careless"), told)
            scored = replies.worth(None, load_proxy(str(reward)))
            for rule in RULES:
                yield best_of_n_curve(config, seed, pairs, noise, rule, scored)
            for rule in RL_RULES if config.rl else ():
                out = folder / f"grpo-{name}-{rule}"
                told_name = f"GRPO on it, {rule}"
                run_step(Step(name=told_name, words=_grpo(config, seed, sft, files, reward, rule), out=out), told)
                start = float(scored.gold.mean()), float(scored.proxy_mean.mean())
                yield grpo_curve(seed, pairs, noise, rule, out, start)


def _first_rows(files: WorldFiles, count: int) -> str:
    """Writes the first pairs of a world to a file of their own."""
    source = Path(files.preferences)
    target = source.with_name(f"preferences-{count}.jsonl")
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, count)), encoding="utf-8")
    return str(target)


def _grpo(config: OveroptConfig, seed: int, sft: str, files: WorldFiles, reward: Path, rule: Penalty) -> Sequence[str]:
    return [
        *("alignment", "grpo", f"--model={sft}", f"--prompts={files.prompts}", f"--eval-prompts={files.held_out}"),
        *(f"--reward={reward}", f"--audit-reward={GOLD}", f"--penalty={rule}", f"--audit-every={AUDIT_EVERY}"),
        *(f"--penalty-strength={config.uwo_strength}", "--audit-prompts=200", "--beta=0", f"--learning-rate={RATE}"),
        *(f"--prompts-per-step={COMPLETIONS // GROUP}", f"--completions-per-prompt={GROUP}"),
        *(f"--max-steps={config.steps}", f"--max-new-tokens={MAX_NEW_TOKENS}", f"--seed={seed}"),
    ]


def best_of_n_curve(config: OveroptConfig, seed: int, pairs: int, noise: float, rule: Penalty, worth: Worth) -> Curve:
    """Gold and proxy of the best of 1 to n replies by the ensemble under a rule."""
    assert worth.proxy is not None
    members = Reward(members=worth.proxy.reshape(len(worth.proxy), -1))
    chosen_by = conservative(members, rule, strength=config.uwo_strength).reshape(worth.gold.shape)
    gold = expected_best(chosen_by, worth.gold)
    proxy = expected_best(chosen_by, worth.proxy_mean)
    distance = np.sqrt([kl_bound(k) for k in range(1, worth.gold.shape[1] + 1)])
    above = gold - gold[:, :1]
    return Curve(
        push="best_of_n",
        seed=seed,
        pairs=pairs,
        noise=noise,
        rule=rule,
        distance=tuple(distance.tolist()),
        gold=tuple(above.mean(0).tolist()),
        proxy=tuple((proxy - proxy[:, :1]).mean(0).tolist()),
        fit=fit_best_of_n(distance, above, seed=seed),
    )


def grpo_curve(seed: int, pairs: int, noise: float, rule: Penalty, run_dir: Path, start: tuple[float, float]) -> Curve:
    """Gold and proxy of a run's audits; those with a number that was not finite are left out.

    Args:
        start: gold and proxy of the policy that the run began from, which no audit measures.
    """
    names = ("audit/kl", "audit/reward", "audit/raw")
    audits = [[row.get(name) for name in names] for row in read_metrics(run_dir)]
    figures = np.array([values for values in audits if None not in values], dtype=float).reshape(-1, 3)
    distance, gold, proxy = np.sqrt(np.maximum(figures[:, 0], 0.0)), figures[:, 1] - start[0], figures[:, 2] - start[1]
    return Curve(
        push="grpo",
        seed=seed,
        pairs=pairs,
        noise=noise,
        rule=rule,
        distance=tuple(distance.tolist()),
        gold=tuple(gold.tolist()),
        proxy=tuple(proxy.tolist()),
        fit=fit_reinforcement(distance, gold, seed=seed),
    )


def write_overopt(curves: list[Curve], out_dir: Path) -> None:
    """Writes overopt.json and report.html."""
    write_text(out_dir / "overopt.json", json.dumps([finite(asdict(curve)) for curve in curves], indent=1))
    write_text(out_dir / "report.html", report_page(curves))
