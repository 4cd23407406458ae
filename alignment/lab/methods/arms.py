"""The trainings of a world: each method with its setting, on votes of which a share may be turned around."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alignment.config.lab import PPO_PASSES, CompareConfig, Method
from alignment.lab.steps import COMPLETIONS, GROUP, Spent, Step
from alignment.simulated_world import MAX_NEW_TOKENS, SFT_BATCH, WorldFiles

DPO_BATCH = 16
BY_BETA: tuple[Method, ...] = ("dpo", "spin")
NAMES = {
    "demonstrations": "a demonstration",
    "best_of_two": "better of two",
    "sft": "SFT",
    "best_of_n": "best of n",
    "dpo": "DPO",
    "ppo": "PPO",
    "grpo": "GRPO",
    "more_sft": "SFT continued",
    "spin": "SPIN",
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method with its setting.

    Attributes:
        value: beta of DPO and SPIN, KL weight of PPO and GRPO; nan of SFT, which has neither.
        flips: share of the votes that were turned around.
    """

    method: Method
    value: float
    flips: float

    @property
    def folder(self) -> str:
        """Its folder in that of the world."""
        value = "" if math.isnan(self.value) else f"-{self.value:g}"
        return f"{self.method}{value}{flips_suffix(self.flips)}"


def setting_name(method: str, value: float, flips: float) -> str:
    """What people call a method with its setting: `DPO, beta 0.3, 20% flipped`."""
    option = f", {'beta' if method in BY_BETA else 'KL weight'} {value:g}" if math.isfinite(value) else ""
    return f"{NAMES[method]}{option}{f', {100 * flips:g}% flipped' if flips else ''}"


def flips_suffix(flips: float) -> str:
    """What stands behind the name of a folder whose votes were turned around."""
    return f"-flips-{flips:g}" if flips else ""


def arms_of(config: CompareConfig, flips: float) -> Iterator[Arm]:
    """What is trained on the votes of which a share is turned around; what sees no vote, with the first share alone."""
    is_first = flips == config.values("flips")[0]
    for method in config.chosen:
        if method == "more_sft" and is_first:
            yield Arm(method=method, value=math.nan, flips=0.0)
        elif method in ("dpo", "ppo", "grpo") or (method == "spin" and is_first):
            for value in config.values("beta" if method in BY_BETA else "kl_weight"):
                yield Arm(method=method, value=value, flips=0.0 if method == "spin" else flips)


def arm_step(config: CompareConfig, arm: Arm, folder: Path, files: WorldFiles, sft: Spent, reward: Spent) -> Step:
    """The training of an arm, from the policy in folder/sft.

    Args:
        files: with the votes of the arm's share of flips.
        sft, reward: what the policy and the reward model took.
    """
    common = [f"--model={folder / 'sft'}", f"--seed={folder.name.removeprefix('seed-')}"]
    if arm.method in ("dpo", "more_sft"):
        words = _offline_words(config, arm, files, sft, reward)
    elif arm.method == "spin":
        words = _spin_words(config, arm, files)
    else:
        words = _reward_words(config, arm, folder, files)
    name = setting_name(arm.method, arm.value, arm.flips)
    return Step(name=name, words=["alignment", words[0], *common, *words[1:]], out=folder / arm.folder)


def _offline_words(config: CompareConfig, arm: Arm, files: WorldFiles, sft: Spent, reward: Spent) -> list[str]:
    """Command and options of DPO on the votes, or of SFT on the demonstrations that it had."""
    if arm.method == "dpo":
        updates = dpo_updates(config, sft, reward)
        words = ["dpo", f"--beta={arm.value:g}", f"--data={files.preferences}"]
    else:
        updates = config.steps
        words = ["sft", f"--data={files.demonstrations}"]
    words += [f"--batch-size={DPO_BATCH}", "--sample-every=0"]
    if updates:
        enough = 2 * updates * DPO_BATCH // config.num_prompts + 1  # epochs, a few rows being held out
        words += [f"--max-steps={updates}", f"--epochs={enough}"]
    return words


def _spin_words(config: CompareConfig, arm: Arm, files: WorldFiles) -> list[str]:
    """Command and options of self-play: a step draws once and makes PPO_PASSES updates of DPO_BATCH pairs."""
    steps = config.steps // PPO_PASSES if config.equal == "updates" else config.steps
    return [
        *("online-dpo", "--pairs=spin", f"--data={files.demonstrations}", f"--beta={arm.value:g}"),
        *(f"--prompts-per-step={PPO_PASSES * DPO_BATCH}", "--completions-per-prompt=1", f"--minibatches={PPO_PASSES}"),
        *(f"--max-steps={steps}", f"--max-new-tokens={MAX_NEW_TOKENS}"),
    ]


def _reward_words(config: CompareConfig, arm: Arm, folder: Path, files: WorldFiles) -> list[str]:
    """Command and options of PPO and GRPO on the reward model."""
    steps = config.steps // PPO_PASSES if (arm.method, config.equal) == ("ppo", "updates") else config.steps
    words = [
        *(arm.method, f"--beta={arm.value:g}", f"--prompts={files.prompts}", f"--eval-prompts={files.held_out}"),
        *(f"--reward={folder / f'reward{flips_suffix(arm.flips)}'}", f"--penalty={config.penalty}"),
        *(f"--max-steps={steps}", f"--max-new-tokens={MAX_NEW_TOKENS}"),
    ]
    if arm.method == "ppo":
        return [*words, f"--prompts-per-step={COMPLETIONS}", "--temperature=1", f"--passes={PPO_PASSES}"]
    return [*words, f"--prompts-per-step={COMPLETIONS // GROUP}", f"--completions-per-prompt={GROUP}"]


def dpo_updates(config: CompareConfig, sft: Spent, reward: Spent) -> int:
    """Updates of DPO that make it equal to the others; 0 is an epoch.

    With equal tokens, (R + S C t) / (2 B t): R tokens of the reward model, S steps of C completions of t tokens with
    their messages, t as long as a demonstration, and B pairs an update, both of whose texts count.
    """
    if config.equal == "tokens":
        a_text = sft.num_tokens / (sft.num_updates * SFT_BATCH)
        return max(1, round((reward.num_tokens + config.steps * COMPLETIONS * a_text) / (2 * DPO_BATCH * a_text)))
    return config.steps if config.equal == "updates" else 0
