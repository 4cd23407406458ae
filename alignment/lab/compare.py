"""The same data through several ways of aligning a policy, in a world where gold is known, over several seeds.

Each seed is a world of its own: demonstrations for SFT, votes of simulated annotators on pairs, an ensemble trained on
the votes. DPO learns from the votes, best-of-n, PPO and GRPO from the ensemble. Gold is only looked at afterwards.
`alignment.lab.compare_report` shows it to people.

compare.json    all figures
report.html     the same for people, with charts
seed-0/         the runs: world/, sft/, reward/, dpo/, ppo/, grpo/
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from alignment.config.lab import CompareConfig
from alignment.lab.compare_report import report_page
from alignment.lab.gold_evaluation import draw_replies, load_proxy, load_sampler, worth_of_texts
from alignment.lab.method_rows import NUM_SAMPLES, Row, best_of_n_row, row_of, yardstick_rows
from alignment.lab.steps import COMPLETIONS, GROUP, Spent, Step, reward_step, run_step, sft_step
from alignment.simulated_world import MAX_NEW_TOKENS, WorldFiles, held_out_replies, write_world
from rewardkit.data.prompts import read_prompts
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.run.directory import write_text
from rewardkit.run.training_command import peak_mb


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
    start = time.perf_counter()
    replies = draw_replies(reference, prompts, n=num_drawn, seed=seed)
    base = replies.worth(None, reward_fn)
    drawn = Spent(
        seconds=time.perf_counter() - start,
        peak_mb=peak_mb(),
        num_tokens=sum(len(one.sampled.completion) for one in replies.drawn),
        num_updates=0,
    )
    demonstrated = worth_of_texts(prompts, held_out_replies(seed=seed, num_train=config.num_prompts), reward_fn)
    rows = [*yardstick_rows(seed, demonstrated, base), row_of("sft", seed, base, base, spent["sft"])]
    if "best_of_n" in config.chosen:
        rows.append(best_of_n_row(config, seed, base, drawn, spent["reward"]))
    for method in config.chosen:
        if method in ("dpo", "ppo", "grpo"):
            policy = load_sampler(str(folder / method))
            worth = draw_replies(policy, prompts, n=NUM_SAMPLES, seed=seed).worth(reference, reward_fn)
            rows.append(row_of(method, seed, worth, base, spent[method], spent["reward"]))
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


def write_comparison(rows: list[Row], out_dir: Path) -> None:
    """Writes compare.json and report.html."""
    write_text(out_dir / "compare.json", json.dumps([finite(asdict(row)) for row in rows], indent=1))
    write_text(out_dir / "report.html", report_page(rows))
