"""Training state on disk: written under a temporary name, renamed, restored bit for bit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from rewardkit.model import RewardScorer


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Where a training stands.

    Attributes:
        step: optimizer steps taken.
        best_step, best_nll: the evaluation with the lowest held-out NLL, nats per pair.
        best_weights: trained parameters at that evaluation, by name.
        num_without_gain: evaluations since then.
    """

    step: int = 0
    best_step: int = 0
    best_nll: float = float("inf")
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    num_without_gain: int = 0

    def after_evaluation(self, step: int, nll: float, scorer: RewardScorer) -> TrainingState:
        """The state with one more evaluation."""
        if nll >= self.best_nll:
            return replace(self, num_without_gain=self.num_without_gain + 1)
        return replace(self, best_step=step, best_nll=nll, best_weights=trained_weights(scorer), num_without_gain=0)

    def load_best(self, scorer: RewardScorer) -> None:
        """Puts the best weights back."""
        if self.best_weights:
            scorer.load_state_dict(self.best_weights, strict=False)


def trained_weights(scorer: RewardScorer) -> dict[str, Tensor]:
    """Copies of the parameters that training changes, on the CPU, by name."""
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in scorer.named_parameters()
        if parameter.requires_grad
    }


class Checkpoint:
    """The newest training state of a run, in `checkpoints/last.pt`."""

    def __init__(self, checkpoint_dir: Path) -> None:
        self.file = checkpoint_dir / "last.pt"

    def write(
        self,
        step: int,
        state: TrainingState,
        scorer: RewardScorer,
        tie: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Writes everything a later process needs to take the same next step."""
        values = {
            "step": step,
            "best_step": state.best_step,
            "best_nll": state.best_nll,
            "best_weights": state.best_weights,
            "num_without_gain": state.num_without_gain,
            "weights": trained_weights(scorer),
            "tie": tie.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        temporary = self.file.with_suffix(".writing")
        torch.save(values, temporary)
        temporary.replace(self.file)

    def restore(self, scorer: RewardScorer, tie: torch.nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
        """Loads the newest state into the arguments, or leaves them and returns the state of a beginning."""
        if not self.file.exists():
            return TrainingState()
        values = torch.load(self.file, weights_only=True)
        scorer.load_state_dict(values["weights"], strict=False)
        tie.load_state_dict(values["tie"])
        optimizer.load_state_dict(values["optimizer"])
        names = ("step", "best_step", "best_nll", "best_weights", "num_without_gain")
        return TrainingState(**{name: values[name] for name in names})

    def write_aside(self, step: int, batch: list[int]) -> None:
        """Notes the rows of a step whose loss or gradient was not finite."""
        file = self.file.with_name("not_finite.json")
        file.write_text(json.dumps({"step": step + 1, "rows": batch}))
