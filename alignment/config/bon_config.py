"""The configuration of choosing the best of several completions; nothing heavy imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from alignment.config.rewards import RewardOptions, read_rewards
from alignment.config.sampling import DrawConfig
from alignment.config.training import check_least


@dataclass(frozen=True, kw_only=True)
class BonConfig(DrawConfig, RewardOptions):
    """Completions of a policy, chosen by a reward, as rows to train on.

    Attributes:
        model: folder of a policy, or a hub id. Without it a simulated world is made beside the output: a tiny policy,
            fine-tuned there, its prompts and rewards.
        out: file to write; its name says the format.
        n: completions drawn of each prompt.
        keep: what becomes rows: of each prompt the best completion, or all that reach the threshold (rejection
            sampling), both as sft reads them; or pairs of the best and the worst, as dpo reads them.
        threshold: with keep above, the least a completion has to have.
        threshold_of: whether the threshold is a reward, or a quantile, 0 to 1, of the rewards of the same prompt.
        soft_labels: give pairs a p_chosen, the mean over the reward's members of sigma(difference), at least 0.5;
            rewards count as log-odds then.
        audit_reward: a reward by which nothing is chosen, in the same forms as reward; given repeatedly, they are
            added.
        resume: continue an unfinished run into the same output.
        window: prompts answered, rewarded and saved at a time.
        json: print the summary as JSON.
    """

    prompts: str = ""
    model: str = ""
    out: str
    n: int = 16
    keep: Literal["best", "above", "pairs"] = "best"
    threshold: float | None = None
    threshold_of: Literal["reward", "quantile"] = "reward"
    soft_labels: bool = False
    audit_reward: list[str] = field(default_factory=list, metadata={"repeated": True})
    resume: bool = False
    window: int = 64
    json: bool = False

    def __post_init__(self) -> None:
        DrawConfig.__post_init__(self)
        RewardOptions.__post_init__(self)
        check_least(self, n=2, window=1)
        if bool(self.model) != bool(self.prompts):
            raise ValueError("give model and prompts together, or neither for a simulated world")
        if self.model and not self.reward:
            raise ValueError("reward is missing: name a reward model, a function, a verifier or a server")
        if self.temperature == 0:
            raise ValueError("temperature is 0, where all completions of a prompt are the same")
        if (self.keep == "above") != (self.threshold is not None):
            raise ValueError(f"keep is {self.keep} and threshold {self.threshold}: a threshold goes with keep above")
        if self.threshold_of == "quantile" and not 0 <= (self.threshold or 0.0) <= 1:
            raise ValueError(f"threshold is {self.threshold}, a quantile is 0 to 1")
        if self.threshold_of == "quantile" and self.keep != "above":
            raise ValueError("threshold_of quantile goes with keep above")
        if self.soft_labels and self.keep != "pairs":
            raise ValueError("soft_labels are for keep pairs")
        if self.audit_reward:
            read_rewards(self.audit_reward)
