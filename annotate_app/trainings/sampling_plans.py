"""What is common to all that draws answers of a policy and has them rewarded: which policy, prompts and rewards.

`annotate_app.trainings.online_plan` learns from them, `annotate_app.trainings.best_plan` keeps the best. Nothing here
imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignment.config.rewards import RewardSpec, read_reward, read_rewards
from annotate_app.trainings.options import Trains, check_advanced
from annotate_app.trainings.plans import model_name, write_plan
from rewardkit.data.files import SUFFIXES
from rewardkit.reward.reward import Penalty

TRAIN_PROMPTS, TEST_PROMPTS = "train.jsonl", "test.jsonl"
"""Files of the snapshot: prompts to answer, and held out for audits and the report."""


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """Answers of a policy, and what they are rewarded by.

    Attributes:
        project: its name.
        trains: what they are for.
        model: the policy that answers, the whole path of a folder or a hub id.
        prompts: empty for the project's, the bare name of a file that was uploaded into the run directory, or the whole
            path of one on the server.
        held_out: share of prompts that are kept apart for audits and the report; 0 keeps none.
        reward: one or more, added, each in one of the forms of `alignment.config.rewards`, perhaps with a weight; a
            folder by its whole path.
        penalty, penalty_strength: what stands for the members of an ensemble.
        audit_reward: decides nothing and tells what rewards overlook; empty for none.
        max_new_tokens: of an answer.
        advanced: any other options of the configuration, checked.
    """

    project: str
    trains: Trains
    model: str
    prompts: str = ""
    held_out: float = 0.1
    reward: tuple[str, ...]
    penalty: Penalty = "mean"
    penalty_strength: float = 1.0
    audit_reward: str = ""
    max_new_tokens: int = 128
    advanced: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is missing: name the policy to begin with")
        if self.prompts and not self.names_server_file and Path(self.prompts).name != self.prompts:
            raise ValueError(f"prompts is {self.prompts!r}, allowed is the whole path of a file (/...)")
        for spec in (*self.sources, *self.audit_sources):
            if spec.kind == "model" and not Path(spec.target).is_absolute():
                raise ValueError(f"reward is {spec.target!r}, allowed is the whole path of a folder (/...)")
        check_advanced(self.advanced, self.trains)

    @property
    def sources(self) -> tuple[RewardSpec, ...]:
        """Where rewards come from; ValueError for one that is of no known form."""
        return read_rewards(self.reward)

    @property
    def audit_sources(self) -> tuple[RewardSpec, ...]:
        """Where the rewards of audits come from; none without audits."""
        return read_rewards([self.audit_reward]) if self.audit_reward else ()

    @property
    def names_server_file(self) -> bool:
        """Whether prompts are those of a file on the server."""
        return Path(self.prompts).is_absolute()

    @property
    def needs_admin(self) -> bool:
        """Whether it runs code of one's own, calls another machine, or reads any file of the server."""
        kinds = {spec.kind for spec in (*self.sources, *self.audit_sources)}
        return self.names_server_file or not kinds.isdisjoint({"function", "server"})

    @property
    def reward_model(self) -> str:
        """The folder of a reward model for the report, that of audits first; empty for none."""
        found = (spec.target for spec in (*self.audit_sources, *self.sources) if spec.kind == "model")
        return next(found, "")

    def values(self, data: Path) -> dict[str, Any]:
        """The options that every command takes which draws and rewards."""
        same = ("model", "penalty", "penalty_strength", "max_new_tokens")
        return {
            **self.advanced,
            **{name: getattr(self, name) for name in same},
            "prompts": str(data / TRAIN_PROMPTS),
            "reward": list(self.reward),
            "audit_reward": [self.audit_reward] if self.audit_reward else [],
        }

    def text(self) -> str:
        """As YAML."""
        return write_plan(self)


def reward_words(text: str, runs: Mapping[str, str]) -> str:
    """A reward for people, with its weight where that is not 1; `runs` names models by their folders."""
    try:
        spec = read_reward(text)
    except ValueError:  # of an earlier run, whose folder is gone
        return text[:80]
    name = runs.get(spec.target) or model_name(spec.target) if spec.kind == "model" else spec.target
    name = f"{name}:{spec.argument}" if spec.argument else name
    return f"{spec.weight:g} {name[:80]}" if spec.weight != 1 else name[:80]


def uploaded_name(name: str) -> str:
    """What a file of prompts is called in the run directory: by its form alone, whatever its owner called it.

    Raises:
        ValueError: if its name says no form that can be read.
    """
    name = name.lower()
    packed = ".gz" if name.endswith(".gz") else ""
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"{name} ends in {suffix!r}, allowed are {', '.join(SUFFIXES)}, and .gz behind them")
    return f"prompts{suffix}{packed}"
