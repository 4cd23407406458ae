"""Bytes of the tensors that are alive, at every operation of a computation; on fake tensors, which have no numbers.

An operation runs the same steps whatever the number of its tokens, and each tensor's size is linear in it: so what is
alive at a step is a line, and the peak the highest of all lines (`highest`).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Within the block, notes after every operation how many bytes its tensors and those before hold, storages once.

    Attributes:
        held: now.
        steps: after each operation.
        names: of the operations.
    """

    def __init__(self, others: Iterable[Tensor]) -> None:
        """Takes tensors that are not counted: weights and their gradients."""
        super().__init__()
        self.held, self.steps, self.names = 0, list[int](), list[str]()
        self._known = {storage_of(tensor) for tensor in others}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor) and (key := storage_of(tensor)) not in self._known:
                storage = tensor.untyped_storage()
                self._known.add(key)
                self.held += storage.nbytes()
                weakref.finalize(storage, self._freed, key, storage.nbytes())
        self.note(str(func))
        return result

    def note(self, name: str) -> None:
        """Adds a step."""
        self.steps.append(self.held)
        self.names.append(name)

    def _freed(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self.held -= num_bytes


def storage_of(tensor: Tensor) -> int:
    """What names the memory of a tensor, that of views of it too."""
    return tensor.untyped_storage()._cdata


@dataclass(frozen=True, kw_only=True)
class Line:
    """Bytes that are linear in the tokens T of a micro-batch, and in those C whose last states are read.

    Attributes:
        once: bytes whatever the tokens.
        per_token, per_read: bytes for each.
    """

    once: float
    per_token: float = 0.0
    per_read: float = 0.0

    def __call__(self, tokens: float, read: float) -> float:
        return self.once + self.per_token * tokens + self.per_read * read

    def __add__(self, other: Line) -> Line:
        return Line(
            once=self.once + other.once,
            per_token=self.per_token + other.per_token,
            per_read=self.per_read + other.per_read,
        )

    def __mul__(self, factor: float) -> Line:
        return Line(once=self.once * factor, per_token=self.per_token * factor, per_read=self.per_read * factor)


SIZES = ((32, 16), (64, 16), (64, 32))  # tokens and those that are read, of the three passes that lines are fitted to


def lines(values: Iterable[Iterable[float]]) -> list[Line]:
    """The line of each step, from bytes at the three `SIZES`, (3, steps)."""
    first, tokens, read = (np.asarray(list(row), dtype=float) for row in values)
    per_token = (tokens - first) / (SIZES[1][0] - SIZES[0][0])
    per_read = (read - tokens) / (SIZES[2][1] - SIZES[1][1])
    once = first - per_token * SIZES[0][0] - per_read * SIZES[0][1]
    return [
        Line(once=float(a), per_token=float(b), per_read=float(c))
        for a, b, c in zip(once, per_token, per_read, strict=True)
    ]


def highest(candidates: Iterable[Line]) -> tuple[Line, ...]:
    """Those lines that may be the highest somewhere: no other one is above in every part."""
    kept: list[Line] = []
    for line in sorted(set(candidates), key=lambda line: -line(64, 32)):
        if not any(
            line.once <= other.once and line.per_token <= other.per_token and line.per_read <= other.per_read
            for other in kept
        ):
            kept.append(line)
    return tuple(kept)
