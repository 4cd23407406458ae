"""What best of n is to do: which policy answers, how often, what answers are rewarded by, and which become rows.

Nothing here draws or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignment.config.bon_config import BonConfig
from annotate_app.trainings.plans import model_name
from annotate_app.trainings.sampling_plans import SamplingPlan, reward_words

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
