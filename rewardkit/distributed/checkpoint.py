"""Training state on disk: written under a temporary name, renamed, restored bit for bit.

last.pt         where the training stands, and its weights
best-STEP.pt    the weights of the best evaluation so far
base.pt         a few values of every weight that training began from
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rewardkit.distributed import collectives, sharding

NUM_SAMPLES = 16  # of a tensor, about


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Progress of a training.

    Attributes:
        step: optimizer steps taken.
        best_step, best_nll: the evaluation with the lowest held-out NLL (or other loss), nats; 0 before the first.
        num_without_gain: evaluations since then.
    """

    step: int = 0
    best_step: int = 0
    best_nll: float = float("inf")
    num_without_gain: int = 0

    def after_step(self) -> TrainingState:
        """The state with one more optimizer step."""
        return replace(self, step=self.step + 1)

    def after_evaluation(self, nll: float) -> TrainingState:
        """The state with its weights evaluated."""
        if nll >= self.best_nll:
            return replace(self, num_without_gain=self.num_without_gain + 1)
        return replace(self, best_step=self.step, best_nll=nll, num_without_gain=0)


def trained_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """The parameters that training changes, on the CPU, by name; see `sharding.full_on_first` for sharded ones."""
    trained = ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
    return {name: sharding.full_on_first(parameter.detach()).cpu() for name, parameter in trained}


def load_trained_weights(weights: dict[str, Tensor], module: torch.nn.Module, checkpoint_dir: Path) -> None:
    """Loads weights into a module.

    Raises:
        ValueError: if their names or shapes are not those of the parameters that training changes.
    """
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    expected = {name: parameter.shape for name, parameter in trained.items()}
    if {name: weight.shape for name, weight in weights.items()} != expected:
        raise ValueError(f"{checkpoint_dir} holds the state of another model")
    shards = {name: sharding.shard_like(weight, trained[name]) for name, weight in weights.items()}
    module.load_state_dict(shards, strict=False)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer as `load_optimizer_state` takes it; sharded tensors by `sharding.full_on_first`."""
    values = optimizer.state_dict()
    state = {
        number: {name: sharding.full_on_first(value) for name, value in values_of_parameter.items()}
        for number, values_of_parameter in values["state"].items()
    }
    return values | {"state": state}


def load_optimizer_state(values: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Loads the state; where parameters are sharded, this process's shards of it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {
            name: sharding.shard_like(value, parameters[number]) if isinstance(value, Tensor) and value.dim() else value
            for name, value in values_of_parameter.items()
        }
        for number, values_of_parameter in values["state"].items()
    }
    optimizer.load_state_dict(values | {"state": state})


def read_state(file: Path) -> dict[str, Any]:
    """Reads what `write_state` wrote.

    Raises:
        ValueError: naming the file, if it is missing, torn, or something else.
    """
    try:
        values = torch.load(file, weights_only=True)
    except (OSError, EOFError, RuntimeError, LookupError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
        raise ValueError(f"{file} is missing or torn ({reason}); remove {file.parent} to begin anew") from error
    if not isinstance(values, dict) or not {"weights", "tie"} <= values.keys():
        raise ValueError(f"{file} holds no training state; remove {file.parent} to begin anew")
    return values


def weight_samples(module: torch.nn.Module) -> dict[str, Tensor]:
    """By name, a few values of every parameter in float32, to know weights again; none where they are sharded."""
    samples = {}
    for name, parameter in module.named_parameters():
        if hasattr(parameter, "to_local"):
            return {}
        values = parameter.detach().flatten()
        samples[name] = (
            values[:: max(1, len(values) // NUM_SAMPLES)].float().cpu().clone()
        )  # no view of what is trained
    return samples


def check_same_weights(before: dict[str, Tensor], now: dict[str, Tensor], file: Path) -> None:
    """Raises ValueError if a state was trained from other weights than a model has now.

    Rounding is no difference: rows of new tokens are drawn around a mean that a processor computes.
    """
    if not before or not now:
        return
    changed = [name for name, values in now.items() if name in before and not _is_close(before[name], values)]
    if changed or before.keys() != now.keys():
        raise ValueError(
            f"{file} was trained from other weights than the model has now ({len(changed)} of {len(now)} tensors "
            "differ): restore the model, or begin anew in another directory"
        )


def _is_close(before: Tensor, now: Tensor) -> bool:
    return before.shape == now.shape and torch.allclose(before, now, rtol=1e-4, atol=1e-6, equal_nan=True)


def write_state(values: dict[str, Any], file: Path) -> None:
    """Writes values under a temporary name and renames.

    Raises:
        OSError: naming the file, if the disk is full.
    """
    temporary = file.with_suffix(".writing")
    try:
        torch.save(values, temporary)
        temporary.replace(file)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError where the disk is full
        temporary.unlink(missing_ok=True)
        raise OSError(f"{file} could not be written: {error}") from error


def write_aside(checkpoint_dir: Path, step: int, batch: Sequence[int]) -> Path:
    """Writes the training rows of a step whose loss or gradient was not finite; returns the file."""
    file = checkpoint_dir / "not_finite.json"
    file.write_text(json.dumps({"step": step, "rows": list(batch)}))
    return file


class Checkpoint:
    """The training state of a run, in a folder of its own.

    The first process calls `write` and `write_best`; where weights are sharded the others call them too, to contribute
    their shards. `extra` is what is trained besides the module, say the parameter of a likelihood with ties.
    """

    def __init__(self, checkpoint_dir: Path) -> None:
        self.dir = checkpoint_dir
        self.file = checkpoint_dir / "last.pt"

    def write(
        self,
        state: TrainingState,
        module: torch.nn.Module,
        extra: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Writes everything a later process needs to take the same next step."""
        values = {
            "state": vars(state),
            "weights": trained_weights(module),
            "tie": extra.state_dict(),
            "optimizer": optimizer_state(optimizer),
        }
        if collectives.rank():
            return
        write_state(values, self.file)
        for old in self.dir.glob("best-*.pt"):
            if old != self._best(state.best_step):
                old.unlink()

    def write_best(self, step: int, module: torch.nn.Module, extra: torch.nn.Module) -> None:
        """Keeps the weights of an evaluation; the former best goes when the next state has been written."""
        values = {"weights": trained_weights(module), "tie": extra.state_dict()}
        if not collectives.rank():
            write_state(values, self._best(step))

    def restore(
        self,
        module: torch.nn.Module,
        extra: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        needs_best: bool = False,
    ) -> TrainingState:
        """Loads the newest state into the arguments, or leaves them and returns the state of a beginning.

        Args:
            needs_best: whether the weights of the best evaluation are asked for in the end.

        Raises:
            ValueError: if the state is torn or of another model.
        """
        if not self.file.exists():
            return TrainingState()
        values = read_state(self.file)
        if needs_best and (best_step := values["state"]["best_step"]):
            read_state(self._best(best_step))
        load_trained_weights(values["weights"], module, self.dir)
        extra.load_state_dict(values["tie"])
        load_optimizer_state(values["optimizer"], optimizer)
        return TrainingState(**values["state"])

    def check_base(self, module: torch.nn.Module) -> None:
        """Notes the weights that a training begins from, or compares those that it goes on from with the note.

        Raises:
            ValueError: if they are others; a state of before notes none.
        """
        noted, now = self.dir / "base.pt", weight_samples(module)
        if not self.file.exists():
            if not collectives.rank():
                self.dir.mkdir(parents=True, exist_ok=True)
                write_state({"weights": now, "tie": {}}, noted)
        elif noted.exists():
            check_same_weights(read_state(noted)["weights"], now, self.file)

    def load_best(self, state: TrainingState, module: torch.nn.Module, extra: torch.nn.Module) -> None:
        """Loads the weights of the best evaluation; does nothing where there was none."""
        if state.best_step:
            values = read_state(self._best(state.best_step))
            load_trained_weights(values["weights"], module, self.dir)
            extra.load_state_dict(values["tie"])

    def remove(self) -> None:
        """Removes the state of a training that is done."""
        for file in self.dir.glob("*.pt"):
            file.unlink()

    def _best(self, step: int) -> Path:
        return self.dir / f"best-{step}.pt"
