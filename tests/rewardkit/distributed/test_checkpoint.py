"""Training state that cannot be continued is refused in one line before a step is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from rewardkit.distributed.checkpoint import Checkpoint, TrainingState


def make(seed: int = 0) -> tuple[torch.nn.Module, torch.nn.Module, torch.optim.Optimizer]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Linear(30, 1))
    network[0].requires_grad_(False)
    return network, torch.nn.Module(), torch.optim.AdamW(network[1].parameters())


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """One step and a best evaluation on the disk."""
    network, extra, optimizer = make()
    written = Checkpoint(tmp_path)
    written.check_base(network)
    assert written.restore(network, extra, optimizer) == TrainingState()
    network(torch.ones(2, 40)).sum().backward()
    optimizer.step()
    written.write_best(1, network, extra)
    written.write(TrainingState(step=1, best_step=1, best_nll=0.5), network, extra, optimizer)
    return written


def test_a_whole_state_is_continued(checkpoint: Checkpoint, tmp_path: Path) -> None:
    network, extra, optimizer = make()
    Checkpoint(tmp_path).check_base(network)
    state = Checkpoint(tmp_path).restore(network, extra, optimizer, needs_best=True)
    assert state == TrainingState(step=1, best_step=1, best_nll=0.5)


@pytest.mark.parametrize("name", ["last.pt", "best-1.pt"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_torn_file_is_named(checkpoint: Checkpoint, tmp_path: Path, name: str, share: float) -> None:
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(ValueError, match=rf"{name} is missing or torn"):
        Checkpoint(tmp_path).restore(*make(), needs_best=True)


def test_a_best_file_that_is_gone_is_named_where_it_is_asked_for(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "best-1.pt").unlink()
    with pytest.raises(ValueError, match=r"best-1.pt is missing or torn"):
        Checkpoint(tmp_path).restore(*make(), needs_best=True)
    assert Checkpoint(tmp_path).restore(*make()).step == 1


@pytest.mark.parametrize("layer", [0, 1])
def test_other_weights_than_it_began_from_are_refused(checkpoint: Checkpoint, tmp_path: Path, layer: int) -> None:
    network, _, _ = make()
    network[layer].weight.data *= 1.01  # type: ignore[index]
    with pytest.raises(ValueError, match=r"trained from other weights than the model has now \(1 of 4 tensors"):
        Checkpoint(tmp_path).check_base(network)


def test_a_state_of_before_says_nothing_of_the_weights_it_began_from(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "base.pt").unlink()
    network, extra, optimizer = make(seed=1)
    Checkpoint(tmp_path).check_base(network)
    assert Checkpoint(tmp_path).restore(network, extra, optimizer).step == 1
