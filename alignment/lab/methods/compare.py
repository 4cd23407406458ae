"""The same data through several ways of aligning a policy, in a world where gold is known, over several seeds.

Each seed is a world of its own: demonstrations for SFT, votes of simulated annotators on pairs, an ensemble trained on
the votes. DPO learns from the votes, best-of-n, PPO and GRPO from the ensemble. Gold is only looked at afterwards.
Several values of an option at once are a sweep. `alignment.lab.methods.compare_report` shows it to people.

compare.json    all figures
report.html     the same for people, with charts
seed-0/         the runs: world/, sft/, reward/, dpo-0.3/, ppo-1/, grpo-1/; world-flips-0.2/, reward-flips-0.2/, ...
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from alignment.config.lab import CompareConfig
from alignment.lab.gold_evaluation import NUM_SAMPLES, draw_replies, load_proxy, load_sampler, worth_of_texts
from alignment.lab.methods.arms import arm_step, arms_of, flips_suffix
from alignment.lab.methods.compare_report import report_page
from alignment.lab.methods.method_rows import (
    RewardRow,
    Row,
    answer_cost,
    best_of_n_cost,
    best_of_n_row,
    reward_row,
    row_of,
    sft_row,
    yardstick_rows,
)
from alignment.lab.steps import reward_step, run_step, sft_step
from alignment.simulated_world import held_out_replies, write_world
from rewardkit.data.prompts import read_prompts
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.run.directory import write_text


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """What a comparison measured."""

    rows: list[Row]
    reward_models: list[RewardRow]

    def __len__(self) -> int:
        return len(self.rows)


def compare(config: CompareConfig, told: Callable[[str], None]) -> SideBySide:
    """Runs all methods on all seeds."""
    measured = SideBySide(rows=[], reward_models=[])
    for number, seed in enumerate(config.numbers, start=1):
        prefix = f"world {number} of {config.seeds}: "
        one = compare_seed(config, seed, lambda message, prefix=prefix: told(prefix + message))
        measured.rows.extend(one.rows)
        measured.reward_models.extend(one.reward_models)
    return measured


def compare_seed(config: CompareConfig, seed: int, told: Callable[[str], None]) -> SideBySide:
    """Runs all methods in one world, once for each share of flips."""
    folder = Path(config.out) / f"seed-{seed}"
    world = {"seed": seed, "num_train": config.num_prompts, "num_numbers": config.num_numbers}
    files = write_world(folder / "world", **world)
    sft = run_step(sft_step(seed, folder, files, copies=config.num_numbers > 0), told)
    told("held-out messages are answered")
    prompts = read_prompts(files.held_out).rows
    reference = load_sampler(str(folder / "sft"))
    start = time.perf_counter()
    n = max(NUM_SAMPLES, config.n) if "best_of_n" in config.chosen else NUM_SAMPLES
    replies = draw_replies(reference, prompts, n=n, seed=seed)
    drawing_s = time.perf_counter() - start
    shown = held_out_replies(**world)
    rows: list[Row] = []
    reward_models: list[RewardRow] = []
    for flips in config.values("flips"):
        voted = write_world(folder / f"world{flips_suffix(flips)}", **world, flips=flips)
        out = folder / f"reward{flips_suffix(flips)}"
        step = reward_step(seed, folder, voted.preferences, ensemble=config.ensemble, out=out)
        reward = run_step(replace(step, name=f"{step.name}, {flips:.0%} flipped") if flips else step, told)
        reward_fn = load_proxy(str(out))
        start = time.perf_counter()
        base = replies.worth(None, reward_fn)
        best_cost = best_of_n_cost(config, replies, drawing_s + time.perf_counter() - start)
        demonstrated = worth_of_texts(prompts, shown, reward_fn)
        reward_models.append(reward_row(config, seed, flips, demonstrated, base))
        if not rows:
            sft_cost = answer_cost(replies, drawing_s)
            rows += [*yardstick_rows(seed, demonstrated, base), sft_row(seed, base, sft, sft_cost)]
        if "best_of_n" in config.chosen:
            rows.append(best_of_n_row(config, seed, flips, base, reward, best_cost))
        for arm in arms_of(config, flips):
            spent = run_step(arm_step(config, arm, folder, voted, sft, reward), told)
            start = time.perf_counter()
            own = draw_replies(load_sampler(str(folder / arm.folder)), prompts, n=NUM_SAMPLES, seed=seed)
            cost = answer_cost(own, time.perf_counter() - start)
            rows.append(row_of(seed, arm, own.worth(reference, reward_fn), base, spent, reward, cost))
    return SideBySide(rows=rows, reward_models=reward_models)


def write_comparison(config: CompareConfig, measured: SideBySide, out_dir: Path) -> None:
    """Writes compare.json and report.html."""
    write_text(out_dir / "compare.json", json.dumps(finite(asdict(measured)), indent=1))
    write_text(out_dir / "report.html", report_page(config, measured.rows, measured.reward_models))
