"""Training state on disk: written under a temporary name, renamed, restored bit for bit.

last.pt         where the training stands, and its weights
best-STEP.pt    the weights of the best evaluation so far
base.pt         a few values of every weight that training began from

What is sharded over processes lies beside these, in last-STEP.safetensors and best-STEP.safetensors, as full tensors to
which every process wrote its rows (`rewardkit.distributed.shared_file`). Any number of processes reads either form,
each of them no more than its own rows.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rewardkit.distributed import collectives
from rewardkit.distributed.sharding import from_rows, has_shards, is_sharded, local, rows_of
from rewardkit.distributed.shared_file import Rows, write_rows

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
    """The parameters that training changes, by name, on the CPU unless they are sharded."""
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    return {name: weight if is_sharded(weight) else weight.cpu() for name, weight in trained.items()}


def _take_out(values: Mapping[Any, Any], taken: dict[str, Tensor], path: str = "") -> dict[Any, Any]:
    """Returns values without the sharded tensors in them, which go to `taken` by their path."""
    left = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            left[key] = _take_out(value, taken, f"{path}{key}/")
        elif isinstance(value, Tensor) and is_sharded(value):
            taken[f"{path}{key}"] = value
        else:
            left[key] = value
    return left


@dataclass(frozen=True, kw_only=True)
class SavedState:
    """What a file holds, and the tensors that lie beside it; None without."""

    values: Mapping[str, Any]
    rows: Rows | None
    dir: Path

    def names(self, kind: str) -> list[str]:
        """Names of the tensors of a kind: weights or tie."""
        beside = [name for name in self.rows.names if name.startswith(f"{kind}/")] if self.rows else []
        return [*self.values[kind], *(name.partition("/")[2] for name in beside)]

    def tensor(self, kind: str, name: str, like: Tensor) -> Tensor:
        """A tensor by its name, sharded as `like` is."""
        if name in self.values[kind]:
            return _sharded_as(self.values[kind][name], like)
        assert self.rows is not None
        return self.rows.read(f"{kind}/{name}", like)

    def shape(self, kind: str, name: str) -> torch.Size:
        """The shape of a tensor by its name."""
        if name in self.values[kind]:
            return self.values[kind][name].shape
        assert self.rows is not None
        return self.rows.shape(f"{kind}/{name}")

    def load_weights(self, module: torch.nn.Module) -> None:
        """Loads the weights into a module.

        Raises:
            ValueError: if their names or shapes are not those of the parameters that training changes.
        """
        trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        shapes = {name: self.shape("weights", name) for name in self.names("weights")}
        if shapes != {name: parameter.shape for name, parameter in trained.items()}:
            raise ValueError(f"{self.dir} holds the state of another model")
        with torch.no_grad():
            for name, parameter in trained.items():
                local(parameter).copy_(local(self.tensor("weights", name, parameter)))

    def load_extra(self, extra: torch.nn.Module) -> None:
        """Loads what is trained or kept besides the weights."""
        own = extra.state_dict()
        names = self.names("tie")
        extra.load_state_dict({name: self.tensor("tie", name, own.get(name, torch.empty(0))) for name in names})

    def load_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Loads the state of an optimizer; where parameters are sharded, this process's rows of it."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        values = self.values["optimizer"]
        state = {
            number: {
                name: _sharded_as(value, parameters[number]) if isinstance(value, Tensor) else value
                for name, value in of_parameter.items()
            }
            for number, of_parameter in values["state"].items()
        }
        prefix = "optimizer/state/"
        for path in self.rows.names if self.rows else ():
            if path.startswith(prefix):
                number, name = path.removeprefix(prefix).split("/")
                assert self.rows is not None
                state[int(number)][name] = self.rows.read(path, parameters[int(number)])
        optimizer.load_state_dict({**values, "state": state})


def _sharded_as(value: Tensor, like: Tensor) -> Tensor:
    """This process's rows of a full tensor where `like` is sharded; what has another shape stays as it is."""
    if not is_sharded(like) or value.shape != like.shape:
        return value
    return from_rows(value[rows_of(like)].clone(), like)


def read_state(file: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Reads what `write_state` wrote.

    Args:
        mapped: whether tensors stay on disk until they are read.

    Raises:
        ValueError: naming the file, if it is missing, torn, or something else.
    """
    try:
        # not where another process has its GPU
        values = torch.load(file, weights_only=True, mmap=mapped, map_location="cpu")
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

    The first process calls `write` and `write_best`; where weights are sharded the others call them too, to write
    their rows. `extra` is what is trained besides the module, say the parameter of a likelihood with ties.
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
        """Writes everything a later process needs to take the same next step.

        Raises:
            OSError: naming the file, if it could not be written.
        """
        values = {
            "state": vars(state),
            "weights": trained_weights(module),
            "tie": extra.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        beside = self._write(values, self.file, self.dir / f"last-{state.step}.safetensors")
        if collectives.rank():
            return
        best = self._best(state.best_step)
        for old in (*self.dir.glob("best-*"), *self.dir.glob("last-*")):
            if old not in (beside, best, best.with_suffix(".safetensors")):
                old.unlink()

    def write_best(self, step: int, module: torch.nn.Module, extra: torch.nn.Module) -> None:
        """Keeps the weights of an evaluation; the former best goes when the next state has been written."""
        values = {"weights": trained_weights(module), "tie": extra.state_dict()}
        self._write(values, self._best(step), self._best(step).with_suffix(".safetensors"))

    def _write(self, values: dict[str, Any], file: Path, beside: Path) -> Path | None:
        """Writes values, the sharded tensors in them beside the file; returns where these are."""
        sharded: dict[str, Tensor] = {}
        values = _take_out(values, sharded)
        if sharded:
            write_rows(sharded, beside)
            values["rows"] = beside.name
        if not collectives.rank():
            write_state(values, file)
        return beside if sharded else None

    def _read(self, file: Path, *, mapped: bool) -> SavedState:
        values = read_state(file, mapped=mapped)
        rows = Rows(self.dir / values["rows"]) if "rows" in values else None
        return SavedState(values=values, rows=rows, dir=self.dir)

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
        mapped = has_shards(module)
        saved = self._read(self.file, mapped=mapped)
        if needs_best and (best_step := saved.values["state"]["best_step"]):
            self._read(self._best(best_step), mapped=mapped)
        saved.load_weights(module)
        saved.load_extra(extra)
        saved.load_optimizer(optimizer)
        return TrainingState(**saved.values["state"])

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
            saved = self._read(self._best(state.best_step), mapped=has_shards(module))
            saved.load_weights(module)
            saved.load_extra(extra)

    def remove(self) -> None:
        """Removes the state of a training that is done."""
        for file in (*self.dir.glob("*.pt"), *self.dir.glob("*.safetensors")):
            file.unlink()

    def _best(self, step: int) -> Path:
        return self.dir / f"best-{step}.pt"
