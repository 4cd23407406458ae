"""What a training on samples of the policy is to do: which policy, prompts and rewards, how far it may move.

Nothing here trains or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignment.config.loss_names import PairLossName
from alignment.config.online import OnlineConfig
from alignment.config.policy_gradient_names import PolicyLossName
from annotate_app.trainings.options import ONLINE, WORDS_OF, OnlineTrains, config_of, default_of, losses_of
from annotate_app.trainings.plans import model_name
from annotate_app.trainings.sampling_plans import TEST_PROMPTS, SamplingPlan, reward_words
from rewardkit.config import Mode

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
