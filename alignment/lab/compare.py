"""The same data through several ways of aligning a policy, in a world where gold is known, over several seeds.

Each seed is a world of its own: demonstrations for SFT, votes of simulated annotators on pairs, an ensemble trained on
the votes. DPO learns from the votes, best-of-n, PPO and GRPO from the ensemble. Gold is only looked at afterwards.
People get a table for a terminal (`screen_lines`) and a page with a chart (`report_page`).

compare.json    all figures
report.html     the same for people, with a chart
seed-0/         the runs: world/, sft/, reward/, dpo/, ppo/, grpo/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from alignment.best_of_n.value import expected_best, kl_bound
from alignment.config.lab import CompareConfig, Method
from alignment.lab.gold_evaluation import Worth, draw_replies, load_proxy, load_sampler
from alignment.lab.steps import COMPLETIONS, GROUP, Spent, Step, reward_step, run_step, sft_step
from alignment.simulated_world import MAX_NEW_TOKENS, WorldFiles, write_world
from rewardkit.data.prompts import read_prompts
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.report.charts import Line, interval_chart, line_chart, number_axis
from rewardkit.report.page import experiment_page
from rewardkit.report.table import text_table
from rewardkit.reward.reward import Reward, conservative
from rewardkit.run.directory import write_text
from rewardkit.stats.metrics import Interval, average_interval, difference_interval

NAMES = {"sft": "SFT", "best_of_n": "best of n", "dpo": "DPO", "ppo": "PPO", "grpo": "GRPO"}
SERIES = {"sft": 0, "dpo": 1, "ppo": 2, "grpo": 3}
HEADER = ("method", "gold", "above SFT", "lowest seed", "proxy", "KL", "words", "tokens", "seconds", "peak MiB")


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """Returns one line per method, means over seeds."""
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
    """Returns the table's lines for a terminal."""
    seeds = len({row.seed for row in rows})
    over = f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"
    return [
        text_table(HEADER, summary(rows)),
        f"means over {over}; gold in logits, proxy in spreads of chosen replies, KL in nats a reply",
    ]


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
    return experiment_page(
        "Ways of aligning a policy, side by side",
        summary="In a world of known worth: the same messages, replies and votes for all. Gold is what replies are "
        "worth, which no training sees; the proxy is the reward model that was trained on the votes.",
        header=HEADER,
        rows=summary(rows),
        charts=[
            (
                "Gold reward of each seed, with 95 % intervals over messages",
                interval_chart("Gold reward", intervals, _mean(sft), shares=False),
            ),
            ("How far each policy moved, a dot a seed", line_chart("Gold reward against KL", kl, gold, lines)),
        ],
    )


def _place(row: Row, rows: Sequence[Row]) -> int:
    return list(dict.fromkeys(other.method for other in rows)).index(row.method)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


NUM_SAMPLES = 2  # replies of each policy to a held-out message


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method on one seed, on held-out messages.

    Attributes:
        gold: mean gold reward of its replies.
        gain: gold above that of SFT, paired by message; None for SFT itself.
        proxy: mean reward by the ensemble's mean, in standard deviations of held-out chosen replies, which have mean 0.
        kl: nats a reply to the SFT policy; of best-of-n a bound.
        words: of a reply.
        seconds: training, wall clock, of the steps that only this method takes; SFT and the reward model are apart.
        peak_mb: largest resident memory of these.
        num_tokens: they trained on or drew.
    """

    seed: int
    method: Method
    gold: Interval
    gain: Interval | None
    proxy: float
    kl: float
    words: float
    seconds: float
    peak_mb: float
    num_tokens: int


def compare(config: CompareConfig, told: Callable[[str], None]) -> list[Row]:
    """Runs all methods on all seeds."""
    rows: list[Row] = []
    for number, seed in enumerate(config.numbers, start=1):
        rows += compare_seed(
            config, seed, lambda message, number=number: told(f"world {number} of {config.seeds}: {message}")
        )
    return rows


def compare_seed(config: CompareConfig, seed: int, told: Callable[[str], None]) -> list[Row]:
    """Runs all methods in one world."""
    folder = Path(config.out) / f"seed-{seed}"
    files = write_world(folder / "world", seed=seed, num_train=config.num_prompts, noise=config.noise)
    spent = {
        step.out.name: run_step(step, told)
        for step in steps_of(config, seed, folder, files)
        if step.out.name in ("sft", "reward") or step.out.name in config.chosen
    }
    told("held-out messages are answered")
    prompts = read_prompts(files.held_out).rows
    reward_fn = load_proxy(str(folder / "reward"))
    reference = load_sampler(str(folder / "sft"))
    num_drawn = max(NUM_SAMPLES, config.n) if "best_of_n" in config.chosen else NUM_SAMPLES
    base = draw_replies(reference, prompts, n=num_drawn, seed=seed).worth(None, reward_fn)
    rows = [row_of("sft", seed, base, base, spent["sft"])]
    if "best_of_n" in config.chosen:
        rows.append(best_of_n_row(config, seed, base, rows[0]))
    for method in config.chosen:
        if method in ("dpo", "ppo", "grpo"):
            policy = load_sampler(str(folder / method))
            worth = draw_replies(policy, prompts, n=NUM_SAMPLES, seed=seed).worth(reference, reward_fn)
            rows.append(row_of(method, seed, worth, base, spent[method]))
    return rows


def steps_of(config: CompareConfig, seed: int, folder: Path, files: WorldFiles) -> list[Step]:
    """The trainings of a world, in order."""
    sft, reward = str(folder / "sft"), str(folder / "reward")
    common = [f"--seed={seed}"]
    online = [
        *(f"--model={sft}", f"--prompts={files.prompts}", f"--eval-prompts={files.held_out}", f"--reward={reward}"),
        *(f"--max-steps={config.steps}", f"--max-new-tokens={MAX_NEW_TOKENS}", f"--beta={config.kl_weight}"),
        *(f"--penalty={config.penalty}", *common),
    ]
    return [
        sft_step(seed, folder, files),
        reward_step(seed, folder, files.preferences, ensemble=config.ensemble, out=folder / "reward"),
        Step(
            name="DPO on votes",
            words=[
                *("alignment", "dpo", f"--model={sft}", f"--data={files.preferences}", f"--beta={config.beta}"),
                *("--batch-size=16", "--sample-every=0", *common),
            ],
            out=folder / "dpo",
        ),
        Step(
            name="PPO",
            words=["alignment", "ppo", *online, f"--prompts-per-step={COMPLETIONS}", "--temperature=1"],
            out=folder / "ppo",
        ),
        Step(
            name="GRPO",
            words=[
                *("alignment", "grpo", *online, f"--prompts-per-step={COMPLETIONS // GROUP}"),
                f"--completions-per-prompt={GROUP}",
            ],
            out=folder / "grpo",
        ),
    ]


def row_of(method: Method, seed: int, worth: Worth, base: Worth, spent: Spent) -> Row:
    """Computes a policy's row, compared with SFT."""
    count = len(worth.gold)
    first = base.gold[:, :NUM_SAMPLES]
    numbers = np.repeat(np.arange(count), NUM_SAMPLES)
    own = worth.gold[:, :NUM_SAMPLES].ravel()
    gain = None if method == "sft" else difference_interval(own, first.ravel(), numbers)
    return Row(
        seed=seed,
        method=method,
        gold=average_interval(own, numbers),
        gain=gain,
        proxy=float(worth.proxy_mean[:, :NUM_SAMPLES].mean()),
        kl=float(worth.kl[:, :NUM_SAMPLES].mean()),
        words=float(worth.words[:, :NUM_SAMPLES].mean()),
        **asdict(spent),
    )


def best_of_n_row(config: CompareConfig, seed: int, base: Worth, sft: Row) -> Row:
    """Computes the row of the best of n SFT replies by the ensemble's reward; nothing is trained."""
    assert base.proxy is not None
    shape = base.gold.shape
    chosen_by = conservative(Reward(members=base.proxy.reshape(len(base.proxy), -1)), config.penalty).reshape(shape)
    draws = slice(0, config.n)
    gold, proxy, words = (
        expected_best(chosen_by[:, draws], values[:, draws])[:, -1]
        for values in (base.gold, base.proxy_mean, base.words.astype(float))
    )
    numbers = np.arange(len(gold))
    return Row(
        seed=seed,
        method="best_of_n",
        gold=average_interval(gold, numbers),
        gain=difference_interval(gold, base.gold[:, :NUM_SAMPLES].mean(1), numbers),
        proxy=float(proxy.mean()),
        kl=kl_bound(config.n),
        words=float(words.mean()),
        seconds=0.0,
        peak_mb=sft.peak_mb,
        num_tokens=0,
    )


def write_comparison(rows: list[Row], out_dir: Path) -> None:
    """Writes compare.json and report.html."""
    write_text(out_dir / "compare.json", json.dumps([finite(asdict(row)) for row in rows], indent=1))
    write_text(out_dir / "report.html", report_page(rows))
