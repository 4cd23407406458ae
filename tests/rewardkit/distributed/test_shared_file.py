"""A file of tensors in one process: what is written is read, by rows too, and what is torn is named."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from rewardkit.distributed.shared_file import NAMES, Rows, whole_on_disk, write_rows


def test_every_number_format_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """Of odd sizes, so that narrow numbers would put wide ones off their places."""
    generator = torch.Generator().manual_seed(0)
    tensors = {str(dtype): torch.randint(0, 2, (3, 5), generator=generator).to(dtype) for dtype in reversed(NAMES)}
    tensors |= {"scalar": torch.tensor(2.5), "none": torch.zeros(0, 4), "turned": torch.arange(6.0).view(2, 3).T}
    write_rows(tensors, tmp_path / "folder" / "a.safetensors")
    read = load_file(tmp_path / "folder" / "a.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name
    rows = Rows(tmp_path / "folder" / "a.safetensors")
    assert rows.shape("turned") == (3, 2)
    assert torch.equal(rows.read("turned", tensors["turned"]), tensors["turned"])
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["a.safetensors"]


def test_a_file_that_is_torn_or_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match=r"a\.safetensors is missing or torn"):
        Rows(file)
    write_rows({"a": torch.ones(100)}, file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.safetensors is missing or torn"):
        Rows(file)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"a\.safetensors could not be written"):
        write_rows({"a": torch.ones(1)}, tmp_path / "file" / "a.safetensors")


def test_whole_tensors_lie_on_disk_for_a_while_and_tied_ones_once(tmp_path: Path) -> None:
    tied = torch.arange(4.0)
    with whole_on_disk({"a": tied, "b": torch.ones(2), "c": tied}, tmp_path) as whole:
        assert whole["a"] is whole["c"]
        assert torch.equal(whole["a"], tied)
        (file,) = tmp_path.iterdir()
        assert sorted(load_file(file)) == ["a", "b"]
    assert not list(tmp_path.iterdir())
