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
NAMES = {
    "demonstrations": "a demonstration",
    "best_of_two": "better of two",
    "sft": "SFT",
    "best_of_n": "best of n",
    "dpo": "DPO",
    "ppo": "PPO",
    "grpo": "GRPO",
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method with its setting.

    Attributes:
        value: beta of DPO, KL weight of PPO and GRPO.
        flips: share of the votes that were turned around.
    """

    method: Method
    value: float
    flips: float

    @property
    def folder(self) -> str:
        """Its folder in that of the world."""
        return f"{self.method}-{self.value:g}{flips_suffix(self.flips)}"


def setting_name(method: str, value: float, flips: float) -> str:
    """What people call a method with its setting: `DPO, beta 0.3, 20% flipped`."""
    option = f", {'beta' if method == 'dpo' else 'KL weight'} {value:g}" if math.isfinite(value) else ""
    return f"{NAMES[method]}{option}{f', {100 * flips:g}% flipped' if flips else ''}"


def flips_suffix(flips: float) -> str:
    """What stands behind the name of a folder whose votes were turned around."""
    return f"-flips-{flips:g}" if flips else ""


def arms_of(config: CompareConfig, flips: float) -> Iterator[Arm]:
    """What is trained on the votes of which a share is turned around."""
    for method in config.chosen:
        if method in ("dpo", "ppo", "grpo"):
            for value in config.values("beta" if method == "dpo" else "kl_weight"):
                yield Arm(method=method, value=value, flips=flips)


def arm_step(config: CompareConfig, arm: Arm, folder: Path, files: WorldFiles, sft: Spent, reward: Spent) -> Step:
    """The training of an arm, from the policy in folder/sft.

    Args:
        files: with the votes of the arm's share of flips.
        sft, reward: what the policy and the reward model took.
    """
    seed = folder.name.removeprefix("seed-")
    common = [f"--model={folder / 'sft'}", f"--beta={arm.value:g}", f"--seed={seed}"]
    if arm.method == "dpo":
        words = ["dpo", *common, f"--data={files.preferences}", f"--batch-size={DPO_BATCH}", "--sample-every=0"]
        if updates := dpo_updates(config, sft, reward):
            enough = 2 * updates * DPO_BATCH // config.num_prompts + 1  # epochs, a few pairs being held out
            words += [f"--max-steps={updates}", f"--epochs={enough}"]
    else:
        steps = config.steps // PPO_PASSES if (arm.method, config.equal) == ("ppo", "updates") else config.steps
        words = [
            *(arm.method, *common, f"--prompts={files.prompts}", f"--eval-prompts={files.held_out}"),
            *(f"--reward={folder / f'reward{flips_suffix(arm.flips)}'}", f"--penalty={config.penalty}"),
            *(f"--max-steps={steps}", f"--max-new-tokens={MAX_NEW_TOKENS}"),
        ]
        if arm.method == "ppo":
            words += [f"--prompts-per-step={COMPLETIONS}", "--temperature=1", f"--passes={PPO_PASSES}"]
        else:
            words += [f"--prompts-per-step={COMPLETIONS // GROUP}", f"--completions-per-prompt={GROUP}"]
    name = setting_name(arm.method, arm.value, arm.flips)
    return Step(name=name, words=["alignment", *words], out=folder / arm.folder)


def dpo_updates(config: CompareConfig, sft: Spent, reward: Spent) -> int:
    """Updates of DPO that make it equal to the others; 0 is an epoch.

    With equal tokens, (R + S C t) / (2 B t): R tokens of the reward model, S steps of C completions of t tokens with
    their messages, t as long as a demonstration, and B pairs an update, both of whose texts count.
    """
    if config.equal == "tokens":
        a_text = sft.num_tokens / (sft.num_updates * SFT_BATCH)
        return max(1, round((reward.num_tokens + config.steps * COMPLETIONS * a_text) / (2 * DPO_BATCH * a_text)))
    return config.steps if config.equal == "updates" else 0
