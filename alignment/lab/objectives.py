"""Two golds that cannot both be had, helpfulness and safety, traded off by GRPO in three ways, over several seeds.

weighted sum    w helpfulness + (1 - w) safety, for several w, 0 and 1 among them
constraint      helpfulness subject to a mean safety of c, by a learned multiplier, for several c
soup            weights between those of the policies of w = 1 and w = 0: no training of its own
                (rewarded soups, Rame et al. 2023, arXiv 2306.04488)

In the world that the demonstrations are of, saying that the money is safe helps and is not safe. All see the golds
themselves, not models of them: what differs is how they are traded off. `alignment.lab.objectives_report` shows it.

compare.json    all figures
report.html     the same for people, with the front
seed-0/         the runs: world/, sft/, sum-0.5/, floor--0.4-from-1/, soup-0.5/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from alignment.config.lab import MULTIPLIER_BOUNDS, MULTIPLIER_RATE, CompareConfig
from alignment.generation.completion_sampler import Sampler
from alignment.lab.gold_evaluation import NUM_SAMPLES, draw_replies, load_sampler
from alignment.lab.steps import COMPLETIONS, GROUP, Step, run_step, sft_step
from alignment.simulated_world import (
    HELPFULNESS,
    MAX_NEW_TOKENS,
    SAFETY,
    WorldFiles,
    helpfulness_rewards,
    safety_rewards,
    write_world,
)
from rewardkit.data.prompts import read_prompts
from rewardkit.data.records import Message
from rewardkit.run.directory import read_metrics
from rewardkit.stats.metrics import Interval, average_interval

Way = Literal["sft", "weighted sum", "constraint", "soup"]
KL_WEIGHT = 0.05  # to the SFT policy, in every run: golds cannot be hacked, policies can still fall apart
LEARNING_RATE = 1e-3
SAFETY_NAME = SAFETY.rpartition(":")[2]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A policy on one seed, on held-out messages.

    Attributes:
        setting: weight of helpfulness, or the safety that was asked for; nan for SFT.
        helpfulness, safety: mean gold of its replies.
        kl: nats a reply to SFT.
        multiplier: of the constraint at the end; nan for the others.
        start: the multiplier at the start; nan for the others.
    """

    seed: int
    way: Way
    setting: float
    helpfulness: Interval
    safety: Interval
    kl: float
    multiplier: float = float("nan")
    start: float = float("nan")


def compare_objectives(config: CompareConfig, told: Callable[[str], None]) -> list[Point]:
    """Runs all ways on all seeds."""
    points: list[Point] = []
    for number, seed in enumerate(config.numbers, start=1):
        prefix = f"world {number} of {config.seeds}: "
        points += _seed_points(config, seed, lambda message, prefix=prefix: told(prefix + message))
    return points


def _seed_points(config: CompareConfig, seed: int, told: Callable[[str], None]) -> list[Point]:
    folder = Path(config.out) / f"seed-{seed}"
    files = write_world(folder / "world", seed=seed, num_train=config.num_prompts, num_numbers=config.num_numbers)
    run_step(sft_step(seed, folder, files, copies=config.num_numbers > 0), told)
    weights = (0.0, *config.weight_shares, 1.0)
    for weight in weights:
        run_step(_sum_step(config, seed, folder, files, weight), told)
    bounds = [(floor, start) for floor in config.safety_floors for start in config.starts]
    for floor, start in bounds:
        run_step(_floor_step(config, seed, folder, files, floor, start), told)
    for weight in config.weight_shares:
        interpolate(folder / "sum-1", folder / "sum-0", weight, folder / f"soup-{weight:g}")
    told("held-out messages are answered")
    prompts = read_prompts(files.held_out).rows
    reference = load_sampler(str(folder / "sft"))

    def point(way: Way, setting: float, name: str) -> Point:
        policy = reference if way == "sft" else load_sampler(str(folder / name))
        return _point(seed, way, setting, policy, reference, prompts)

    def bounded(floor: float, start: float) -> Point:
        name = _floor_name(floor, start)
        return replace(point("constraint", floor, name), multiplier=_last_multiplier(folder / name), start=start)

    return [
        point("sft", float("nan"), "sft"),
        *(point("weighted sum", weight, f"sum-{weight:g}") for weight in weights),
        *(bounded(*bound) for bound in bounds),
        *(point("soup", weight, f"soup-{weight:g}") for weight in config.weight_shares),
    ]


def _words(config: CompareConfig, seed: int, folder: Path, files: WorldFiles) -> list[str]:
    return [
        *("alignment", "grpo", f"--model={folder / 'sft'}", f"--prompts={files.prompts}", f"--seed={seed}"),
        *(f"--eval-prompts={files.held_out}", f"--max-steps={config.steps}", f"--max-new-tokens={MAX_NEW_TOKENS}"),
        *(f"--prompts-per-step={COMPLETIONS // GROUP}", f"--completions-per-prompt={GROUP}", f"--beta={KL_WEIGHT}"),
        *(f"--learning-rate={LEARNING_RATE:g}", "--sample-every=0", f"--audit-every={config.steps}"),
    ]


def _sum_step(config: CompareConfig, seed: int, folder: Path, files: WorldFiles, weight: float) -> Step:
    shares = {HELPFULNESS: weight, SAFETY: 1 - weight}
    rewards = [f"--reward={share:g}*{name}" for name, share in shares.items() if share]
    words = [*_words(config, seed, folder, files), *rewards]
    return Step(name=f"weighted sum, {weight:g} of helpfulness", words=words, out=folder / f"sum-{weight:g}")


def _floor_name(floor: float, start: float) -> str:
    return f"floor-{floor:g}-from-{start:g}"


def _floor_step(config: CompareConfig, seed: int, folder: Path, files: WorldFiles, floor: float, start: float) -> Step:
    low, high = MULTIPLIER_BOUNDS
    words = [
        *(*_words(config, seed, folder, files), f"--reward={HELPFULNESS}", f"--reward={SAFETY}"),
        *(f"--constraint={SAFETY_NAME}={floor:g}", f"--multiplier-rate={MULTIPLIER_RATE:g}"),
        *(f"--multiplier-start={start:g}", f"--multiplier-min={low:g}", f"--multiplier-max={high:g}"),
    ]
    name = f"helpfulness, safety at least {floor:g}, multiplier from {start:g}"
    return Step(name=name, words=words, out=folder / _floor_name(floor, start))


def interpolate(one: Path, other: Path, weight: float, out: Path) -> None:
    """Writes the policy whose weights are `weight` times those of one and the rest those of the other.

    theta = w theta_1 + (1 - w) theta_2, of policies trained from the same one.  Rame et al. 2023, eq. 1 (rewarded
    soups, arXiv 2306.04488).

    Args:
        weight: 0 to 1.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    first, second = (AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in (one, other))
    with torch.no_grad():
        for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
            mine.lerp_(theirs, 1.0 - weight)
    first.save_pretrained(out)
    AutoTokenizer.from_pretrained(one).save_pretrained(out)


def _last_multiplier(run_dir: Path) -> float:
    values = [row.get(f"constraint/{SAFETY_NAME}/multiplier") for row in read_metrics(run_dir)]
    return [value for value in values if value is not None][-1]


def _point(
    seed: int,
    way: Way,
    setting: float,
    policy: Sampler,
    reference: Sampler,
    prompts: Sequence[tuple[Message, ...]],
) -> Point:
    replies = draw_replies(policy, prompts, n=NUM_SAMPLES, seed=seed)
    texts = [one.text for one in replies.drawn]
    messages = [prompt[-1].content for prompt in prompts for _ in range(NUM_SAMPLES)]
    numbers = np.repeat(np.arange(len(prompts)), NUM_SAMPLES)
    kl = 0.0 if policy is reference else float(replies.worth(reference, None).kl.mean())
    return Point(
        seed=seed,
        way=way,
        setting=setting,
        helpfulness=average_interval(np.array(helpfulness_rewards(messages, texts)), numbers),
        safety=average_interval(np.array(safety_rewards(messages, texts)), numbers),
        kl=kl,
    )
