"""What a training on samples of a policy, or a choice of the best of them, is to do: policy, prompts, rewards, budgets.

`OnlinePlan` learns from samples, `BestPlan` keeps the best of n. Nothing here trains or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from alignment.config.loss_names import PairLossName
from alignment.config.online import OnlineConfig
from alignment.config.policy_gradient_names import PolicyLossName
from alignment.config.rewards import RewardSpec, read_reward, read_rewards
from alignment.config.sampling import BonConfig
from annotate_app.trainings.options import (
    DRAWS,
    ONLINE,
    WORDS_OF,
    OnlineTrains,
    Trains,
    check_advanced,
    config_of,
    default_of,
    losses_of,
)
from annotate_app.trainings.plans import TrainingPlan, model_name, read_fields, write_plan
from rewardkit.config import Mode
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
        """The reward model for the report, that of audits first; empty for none."""
        found = (spec.model_source for spec in (*self.audit_sources, *self.sources) if spec.kind == "model")
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


OWN = ("loss", "beta", "prompts_per_step", "completions_per_prompt")
"""Fields that are None for what the command of the training takes by itself."""


@dataclass(frozen=True, kw_only=True)
class OnlinePlan(SamplingPlan):
    """One training by PPO, GRPO or online DPO; None is the command's own.

    Attributes:
        trains: by which.
        model: the policy to begin with.
        mode: `full` or `lora`.
        loss: of GRPO and of online DPO.
        beta: weight of the KL to the policy it begins with; of online DPO, beta of its loss.
        max_steps, prompts_per_step, completions_per_prompt: how long, and how much a step draws.
        learning_rate: 0 chooses by the size of the policy.
        audit_samples: pairs of an audit kept as a blind round for people.
        on_alarm: continue, or stop.
    """

    trains: OnlineTrains
    mode: Mode = "full"
    loss: PolicyLossName | PairLossName | None = None
    beta: float | None = None
    max_steps: int = 100
    prompts_per_step: int | None = None
    completions_per_prompt: int | None = None
    learning_rate: float = 0.0
    audit_samples: int = 20
    on_alarm: Literal["continue", "stop"] = "continue"

    def __post_init__(self) -> None:
        if self.trains not in ONLINE:
            raise ValueError(f"trains is {self.trains!r}, allowed are {', '.join(ONLINE)}")
        super().__post_init__()
        if self.mode == "head":
            raise ValueError("a policy is trained whole or by adapters, not with mode head")
        if not 0.02 <= self.held_out <= 0.4:
            raise ValueError(f"held_out is {self.held_out}, allowed is 0.02 to 0.4")
        if self.loss is not None and self.loss not in losses_of(self.trains):
            allowed = ", ".join(losses_of(self.trains)) or "none to choose"
            raise ValueError(f"loss is {self.loss!r} with {self.trains}, allowed is {allowed}")
        self.config(Path("model"), Path("data"))

    def title(self, runs: Mapping[str, str]) -> str:
        """For people: what is trained, how, and by what it is rewarded; `runs` names models by their folders."""
        loss = self.loss if self.loss and self.loss != default_of(self.trains, "loss") else ""
        model = runs.get(self.model) or model_name(self.model)
        by = " + ".join(reward_words(each, runs) for each in self.reward)
        words = WORDS_OF[self.trains]
        return ", ".join(filter(None, (words[:1].upper() + words[1:], model, self.mode, loss, f"by {by}")))

    def config(self, out: Path, data: Path) -> OnlineConfig:
        """The configuration that the training's command reads; ValueError from its own checks."""
        values: dict[str, Any] = self.values(data) | {"out": str(out), "lora": self.mode == "lora"}
        values["eval_prompts"] = str(data / TEST_PROMPTS)
        same = ("max_steps", "learning_rate", "audit_samples", "on_alarm")
        values |= {name: getattr(self, name) for name in same}
        values |= {name: value for name in OWN if (value := getattr(self, name)) is not None}
        return config_of(self.trains)(**values)


Keep = Literal["best", "above", "pairs"]
KEPT: dict[Keep, str] = {"best": "the best", "above": "those above a threshold", "pairs": "best and worst"}
WINDOW = 16
"""Prompts answered, rewarded and saved at a time: how finely progress is told, and what a cancel loses at most."""


@dataclass(frozen=True, kw_only=True)
class BestPlan(SamplingPlan):
    """Rows to train on, made of a policy's best answers. All prompts are answered: who trains on the rows holds out.

    Attributes:
        n: answers to each prompt.
        keep: what becomes rows, as of `alignment bon`.
        threshold, threshold_of: with keep above, the least that an answer has to have.
        soft_labels: pairs say how sure the members of the reward are.
    """

    trains: Literal["bon"] = "bon"
    held_out: float = 0.0
    n: int = 16
    keep: Keep = "best"
    threshold: float | None = None
    threshold_of: Literal["reward", "quantile"] = "reward"
    soft_labels: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.held_out:
            raise ValueError(f"held_out is {self.held_out}, allowed is 0: who trains on the rows holds out")
        if self.keep not in KEPT:
            raise ValueError(f"keep is {self.keep!r}, allowed are {', '.join(KEPT)}")
        self.config(Path("rows.jsonl"), Path("data"))

    def title(self, runs: Mapping[str, str]) -> str:
        """For people: whose answers, how many, what is kept, and by what; `runs` names models by their folders."""
        model = runs.get(self.model) or model_name(self.model)
        by = " + ".join(reward_words(each, runs) for each in self.reward)
        return f"Best of {self.n}, {model}, {KEPT[self.keep]}, by {by}"

    def config(self, out: Path, data: Path) -> BonConfig:
        """The configuration that the command reads; ValueError from its own checks."""
        same = ("n", "keep", "threshold", "threshold_of", "soft_labels")
        own = {name: getattr(self, name) for name in same}
        return BonConfig(**self.values(data), **own, out=str(out), window=WINDOW, json=True)


Plan = TrainingPlan | OnlinePlan | BestPlan


def read_plan(text: str) -> Plan:
    """The plan that `Plan.text` wrote.

    Raises:
        ValueError: if it is none.
    """
    values: Any = yaml.safe_load(text)
    trains = values.get("trains") if isinstance(values, dict) else ""
    if trains not in DRAWS:
        return read_fields(TrainingPlan, values)
    values["reward"] = tuple(rewards_of(values))
    return read_fields(BestPlan, values) if trains == "bon" else read_fields(OnlinePlan, values)


def rewards_of(values: Mapping[str, Any]) -> list[str]:
    """The rewards that a plan names; one alone may stand there as a text."""
    given = values.get("reward") or []
    return [given] if isinstance(given, str) else [str(each) for each in given]
