"""One file of full tensors to which every process writes the rows that it holds, in the format of safetensors.

No process ever holds a whole model for it: rows of the first dimension lie one after another, so each process knows
where its own go. Whoever reads takes all rows or some of them, with any number of processes. All processes have to see
the file under the same path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from rewardkit.distributed import collectives
from rewardkit.distributed.sharding import from_rows, is_sharded, local, rows_of

NAMES = {  # of number formats, in the header
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_rows(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Writes tensors under a temporary name and renames; every process takes part, with the same names.

    Args:
        tensors: sharded ones are written by all, others by the first process.

    Raises:
        OSError: in every process, naming the file, if one of them could not write.
    """
    temporary = file.with_suffix(".writing")
    header, starts = _header(tensors)
    _all_or_none(file, lambda: _begin(temporary, header, tensors) if collectives.rank() == 0 else None)
    _all_or_none(file, lambda: _write_own(temporary, len(header), starts, tensors))
    _all_or_none(file, lambda: temporary.replace(file) if collectives.rank() == 0 else None)


def _header(tensors: Mapping[str, Tensor]) -> tuple[bytes, dict[str, int]]:
    """The header of a file, and where each tensor begins after it."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    starts, start = {}, 0
    # Wide numbers first, so that all are aligned.
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        starts[name], stop = start, start + _num_bytes(tensor)
        shape = list(tensor.shape)
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": shape, "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, starts


def _num_bytes(tensor: Tensor) -> int:
    return prod(tensor.shape) * tensor.element_size()


def _begin(temporary: Path, header: bytes, tensors: Mapping[str, Tensor]) -> None:
    temporary.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as opened:
        opened.write(header)
        opened.truncate(len(header) + sum(map(_num_bytes, tensors.values())))


def _write_own(temporary: Path, offset: int, starts: Mapping[str, int], tensors: Mapping[str, Tensor]) -> None:
    descriptor = os.open(temporary, os.O_WRONLY)
    try:
        for name, tensor in tensors.items():
            if not is_sharded(tensor) and collectives.rank():
                continue
            first = rows_of(tensor).start * (_num_bytes(tensor) // max(1, len(tensor))) if tensor.dim() else 0
            values = local(tensor).detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            place = offset + starts[name] + first
            left = memoryview(values)  # pyright: ignore[reportArgumentType]
            while left:
                written = os.pwrite(descriptor, left, place)
                left, place = left[written:], place + written
    finally:
        os.close(descriptor)


def _all_or_none(file: Path, work: Callable[[], object]) -> None:
    """Runs this process's part of a work and waits for the others; raises in all what one of them could not."""
    failure = ""
    try:
        work()
    except OSError as error:
        failure = str(error)
    if failures := [message for message in collectives.all_gather_object(failure) if message]:
        with suppress(OSError):  # the first process removes it, another one finds nothing
            file.with_suffix(".writing").unlink(missing_ok=True)
        raise OSError(f"{file} could not be written: {failures[0]}")


class Rows:
    """The tensors of a file, of which a process reads the rows that it needs.

    Raises:
        ValueError: naming the file, if it is missing or torn.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._opened = safe_open(file, framework="pt")
        except Exception as error:  # safetensors has classes of its own for what is torn
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{file} is missing or torn ({reason}); remove {file.parent} to begin anew") from error
        self.names: list[str] = list(self._opened.keys())

    def shape(self, name: str) -> torch.Size:
        return torch.Size(self._opened.get_slice(name).get_shape())

    def read(self, name: str, like: Tensor) -> Tensor:
        """A tensor in memory of its own, sharded as `like` is."""
        if not is_sharded(like):
            return self._opened.get_tensor(name).clone()
        return from_rows(self._opened.get_slice(name)[rows_of(like)].clone(), like)


@contextmanager
def whole_on_disk(tensors: Mapping[str, Tensor], folder: Path) -> Iterator[dict[str, Tensor]]:
    """Within the block the first process has full tensors, mapped from a file that is removed after; others have none.

    Every process takes part. Tensors that are one object are one in the file, and one object for the first process.

    Raises:
        OSError: in every process, naming the file, if it could not be written.
    """
    first_names: dict[int, str] = {}
    same = {name: first_names.setdefault(id(tensor), name) for name, tensor in tensors.items()}
    file = folder / ".whole.safetensors"
    write_rows({name: tensors[name] for name in first_names.values()}, file)
    try:
        mapped = load_file(file) if collectives.rank() == 0 else {}
        yield {name: mapped[of] for name, of in same.items()} if mapped else {}
    finally:
        if collectives.rank() == 0:
            file.unlink(missing_ok=True)
