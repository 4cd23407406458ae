"""What a training on samples of the policy is to do: which policy, prompts and rewards, how far it may move.

Nothing here trains or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from alignment.online_config import OnlineConfig
from alignment.policy_gradient_names import PolicyLossName
from alignment.reward_config import RewardSpec, read_rewards
from annotate_app.training_options import ONLINE, OnlineTrains, check_advanced, config_of
from annotate_app.training_plan import TrainingPlan, model_name, read_fields, write_plan
from rewardkit.config import Mode
from rewardkit.files import SUFFIXES
from rewardkit.reward import Penalty

TRAIN_PROMPTS, TEST_PROMPTS = "train.jsonl", "test.jsonl"
"""Files of the snapshot: prompts to train on, and held out for audits and the report."""


@dataclass(frozen=True, kw_only=True)
class OnlinePlan:
    """One training by PPO or GRPO.

    Attributes:
        project: its name.
        trains: by which.
        model: the policy to begin with, the whole path of a folder or a hub id.
        mode: `full` or `lora`.
        prompts: empty for the project's, the bare name of a file that was uploaded into the run directory, or the whole
            path of one on the server.
        held_out: share of prompts that are never trained on.
        reward: in one of the forms of `alignment.reward_config`; a folder by its whole path.
        penalty, penalty_strength: what stands for the members of an ensemble.
        loss: of GRPO.
        beta: weight of the KL to the policy it begins with.
        max_steps, prompts_per_step, completions_per_prompt, max_new_tokens: how long, and how much a step draws.
        learning_rate: 0 chooses by the size of the policy.
        audit_reward: never trained on; empty for none.
        audit_samples: pairs of an audit kept as a blind round for people.
        on_alarm: continue, or stop.
        advanced: any other options of the configuration, checked.
    """

    project: str
    trains: OnlineTrains
    model: str
    mode: Mode = "full"
    prompts: str = ""
    held_out: float = 0.1
    reward: str
    penalty: Penalty = "mean"
    penalty_strength: float = 1.0
    loss: PolicyLossName = "grpo"
    beta: float = 0.05
    max_steps: int = 100
    prompts_per_step: int = 16
    completions_per_prompt: int = 8
    max_new_tokens: int = 128
    learning_rate: float = 0.0
    audit_reward: str = ""
    audit_samples: int = 20
    on_alarm: Literal["continue", "stop"] = "continue"
    advanced: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.trains not in ONLINE:
            raise ValueError(f"trains is {self.trains!r}, allowed are {', '.join(ONLINE)}")
        if not self.model:
            raise ValueError("model is missing: name the policy to begin with")
        if self.mode == "head":
            raise ValueError("a policy is trained whole or by adapters, not with mode head")
        if not 0.02 <= self.held_out <= 0.4:
            raise ValueError(f"held_out is {self.held_out}, allowed is 0.02 to 0.4")
        if self.prompts and not self.names_server_file and Path(self.prompts).name != self.prompts:
            raise ValueError(f"prompts is {self.prompts!r}, allowed is the whole path of a file (/...)")
        for spec in self.sources:
            if spec.kind == "model" and not Path(spec.target).is_absolute():
                raise ValueError(f"reward is {spec.target!r}, allowed is the whole path of a folder (/...)")
        check_advanced(self.advanced, self.trains)
        self.config(Path("model"), Path("data"))

    @property
    def sources(self) -> tuple[RewardSpec, ...]:
        """Where rewards come from, those of audits last; ValueError for one that is of no known form."""
        return read_rewards([self.reward]) + (read_rewards([self.audit_reward]) if self.audit_reward else ())

    @property
    def names_server_file(self) -> bool:
        """Whether prompts are those of a file on the server."""
        return Path(self.prompts).is_absolute()

    @property
    def needs_admin(self) -> bool:
        """Whether it runs code of one's own, calls another machine, or reads any file of the server."""
        return self.names_server_file or any(spec.kind in ("function", "server") for spec in self.sources)

    @property
    def reward_model(self) -> str:
        """The folder of a reward model for the report, that of audits first; empty for none."""
        return next((spec.target for spec in self.sources[::-1] if spec.kind == "model"), "")

    def title(self, runs: Mapping[str, str]) -> str:
        """For people: what is trained, how, and by what it is rewarded; `runs` names models by their folders."""
        loss = self.loss if self.trains == "grpo" and self.loss != "grpo" else ""
        by = self.sources[0]
        name = runs.get(by.target) or (model_name(by.target) if by.kind == "model" else by.name[:80])
        model = runs.get(self.model) or model_name(self.model)
        return ", ".join(filter(None, (self.trains.upper(), model, self.mode, loss, f"by {name}")))

    def config(self, out: Path, data: Path) -> OnlineConfig:
        """The configuration that the training's command reads; ValueError from its own checks."""
        values: dict[str, Any] = {**self.advanced, "model": self.model, "out": str(out), "lora": self.mode == "lora"}
        values |= {"prompts": str(data / TRAIN_PROMPTS), "eval_prompts": str(data / TEST_PROMPTS)}
        values |= {"reward": [self.reward], "audit_reward": [self.audit_reward] if self.audit_reward else []}
        same = ("penalty", "penalty_strength", "beta", "max_steps", "prompts_per_step", "completions_per_prompt")
        same += ("max_new_tokens", "learning_rate", "audit_samples", "on_alarm")
        values |= {name: getattr(self, name) for name in same}
        if self.trains == "grpo":
            values["loss"] = self.loss
        return config_of(self.trains)(**values)

    def text(self) -> str:
        """As YAML."""
        return write_plan(self)


def read_plan(text: str) -> TrainingPlan | OnlinePlan:
    """The plan of any training that a page wrote.

    Raises:
        ValueError: if it is none.
    """
    values = yaml.safe_load(text)
    online = isinstance(values, dict) and values.get("trains") in ONLINE
    return read_fields(OnlinePlan, text) if online else TrainingPlan.read(text)


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
