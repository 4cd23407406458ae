"""Weights in parts in two processes: steps, memory and kept state are those of one process that holds all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))  # the process, which a launcher starts as a script
from sharded_process import NETWORKS, forward_of, trainable, two_steps

from rewardkit.distributed.checkpoint import Checkpoint, trained_weights

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EACH = pytest.mark.parametrize("name", list(NETWORKS))


@dataclass(frozen=True, kw_only=True)
class Found:
    """What `two_steps` gave and the folder of its state."""

    values: dict
    folder: Path

    def kept(self, name: str) -> dict:
        """What was kept after the first step, read into one process."""
        objective, optimizer = trainable(forward_of(name))
        state = Checkpoint(self.folder).restore(objective.network, objective.extra, optimizer)
        return {"step": state.step, "optimizer": optimizer.state_dict(), "weights": trained_weights(objective.network)}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """Two processes with weights in parts."""
    folder = tmp_path_factory.mktemp("together")
    for name in NETWORKS:
        (folder / name).mkdir()
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    command = [sys.executable, *launcher, str(Path(__file__).with_name("sharded_process.py")), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    return {name: Found(values=torch.load(folder / f"{name}.pt"), folder=folder / name) for name in NETWORKS}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """One process with all weights."""
    folders = {name: tmp_path_factory.mktemp(name) for name in NETWORKS}
    return {name: Found(values=two_steps(forward_of(name), folder), folder=folder) for name, folder in folders.items()}


@EACH
def test_two_processes_take_the_steps_of_one(name: str, together: dict[str, Found], alone: dict[str, Found]) -> None:
    two, one = together[name].values, alone[name].values
    for step in (0, 1):
        assert two[f"loss {step}"] == pytest.approx(one[f"loss {step}"], rel=1e-6)  # metrics are float32
        assert two[f"held out {step}"] == pytest.approx(one[f"held out {step}"], rel=1e-6)
        assert two["norms"][step] == pytest.approx(one["norms"][step], rel=1e-10)
        assert one["norms"][step] > 0.5  # it was clipped
        assert two["gradients"][step].keys() == one["gradients"][step].keys() == one["weights"].keys()
        for parameter, gradient in one["gradients"][step].items():
            torch.testing.assert_close(two["gradients"][step][parameter], gradient, rtol=1e-9, atol=1e-12)
    for parameter, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][parameter], weight, rtol=1e-9, atol=1e-10, msg=parameter)


def test_a_process_with_fewer_rows_keeps_the_other_company(together: dict[str, Found]) -> None:
    # of rows of 33, 28, 8, 7, 7, 6, 6 tokens one has 33, 7, 6 and the other 28, 8, 7, 6; 12 tokens go together
    first, second = together["llama"].values["shares by process"]
    assert first == [[1.0, 1.0, 1.0, 0.0], [1.0]]
    assert second == [[1.0, 1.0, 1.0, 1.0], [0.0]]


@EACH
def test_each_of_two_processes_holds_half(name: str, together: dict[str, Found], alone: dict[str, Found]) -> None:
    held, whole = together[name].values["held by process"], alone[name].values["held"]
    assert sum(held) == pytest.approx(whole, rel=0.02)
    assert max(held) < 0.53 * whole


@EACH
def test_what_two_processes_keep_goes_on_in_one(name: str, together: dict[str, Found], alone: dict[str, Found]) -> None:
    two, one = together[name].kept(name), alone[name].kept(name)
    assert two["step"] == one["step"] == 1
    torch.testing.assert_close(two["weights"], one["weights"], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(two["optimizer"]["state"], one["optimizer"]["state"], rtol=1e-7, atol=1e-12)
    assert two["optimizer"]["param_groups"] == one["optimizer"]["param_groups"]


@EACH
def test_tensors_are_kept_as_rows_of_every_process(name: str, together: dict[str, Found]) -> None:
    folder = together[name].folder
    assert {file.name for file in folder.iterdir()} == {"last.pt", "last-1.safetensors"}
    values = torch.load(folder / "last.pt", weights_only=True)
    assert values["weights"] == {}
    assert all(value.dim() == 0 for of_one in values["optimizer"]["state"].values() for value in of_one.values())
    num_weights = sum(weight.numel() for weight in together[name].values["weights"].values())
    kept = load_file(folder / "last-1.safetensors")
    assert sum(tensor.numel() for tensor in kept.values()) == 3 * num_weights  # weights and two moments
