"""Rows that take long to make, written so that a killed run loses one window at most.

While rows are made they stand in OUT.partial, one JSON object a line. Its first line, the header, says what the rows
are made from; a run that continues must have the same header, so that the rest is made alike. At the end the rows are
written to OUT in the format of its name, and OUT takes its place whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from rewardkit.data.files import SUFFIXES, Write, open_rows


def check_new_file(option: str, out: str | Path) -> None:
    """Checks that rows can be written to a new file.

    Args:
        option: the option that names the file, for the message.

    Raises:
        ValueError: if the name says no format, or the file is there already.
    """
    out = Path(out)
    if Path(out.name.removesuffix(".gz")).suffix not in SUFFIXES:
        raise ValueError(f"{option} {out}: the name's end says the format, allowed are {', '.join(SUFFIXES)}")
    if out.exists():
        raise ValueError(f"{option} {out} is there already")


def check_output(option: str, out: str | Path, *, resume: bool) -> None:
    """Checks that a resumable file can be begun, or continued with `resume`.

    Raises:
        ValueError: as `check_new_file`; if an unfinished run is there and `resume` is false.
    """
    check_new_file(option, out)
    if (partial := partial_path(out)).exists() and not resume:
        raise ValueError(f"{option} {out}: {partial.name} is of an unfinished run: --resume continues it")


def count_partial_rows(out: str | Path) -> int:
    """Number of rows of an unfinished output, for a process that watches; 0 where there is none."""
    try:
        return max(0, partial_path(out).read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def partial_path(out: str | Path) -> Path:
    """The file that holds the rows until all are there."""
    out = Path(out)
    return out.with_name(f"{out.name}.partial")


class ResumableFile:
    """The rows of an output so far; iterating reads them one at a time.

    Opening it cuts an unfinished run back to its last whole block. A run that wrote no block leaves no file.

    Attributes:
        num_rows: rows that an earlier run wrote and that remain.

    Args:
        out: the finished file.
        header: plain values that decide the rows.
        block: rows that only count together, such as the completions of a prompt or a window that is scored at once.
        num_total: rows of the whole output, whose last block may be shorter; None where all blocks are whole.

    Raises:
        ValueError: if an unfinished run has another header.
    """

    def __init__(
        self, out: str | Path, header: Mapping[str, Any], *, block: int = 1, num_total: int | None = None
    ) -> None:
        self.out, self.partial = Path(out), partial_path(out)
        self.header = json.loads(json.dumps(dict(header)))
        self.num_rows = self._cut_back(block, num_total) if self.partial.exists() else 0
        if not self.num_rows:
            self.partial.unlink(missing_ok=True)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes rows; when this returns they are on the disk."""
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        with self.partial.open("ab") as file:
            for row in rows if file.tell() else (self.header, *rows):
                file.write(json.dumps(dict(row)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.partial.exists():
            with self.partial.open("rb") as file:
                for line in islice(file, 1, None):
                    yield json.loads(line)

    @contextmanager
    def finish(self) -> Iterator[Write]:
        """A function that writes a row of the output; when the block ends, the output replaces OUT.partial."""
        with open_rows(self.out) as write:
            yield write
        self.partial.unlink(missing_ok=True)

    def _cut_back(self, block: int, num_total: int | None) -> int:
        """Drops a half-written line and an incomplete block; returns how many rows remain."""
        with self.partial.open("r+b") as file:
            line = file.readline()
            if not line.endswith(b"\n"):
                return 0  # killed before anything was made
            before = json.loads(line)
            if differing := next((name for name in self.header if before.get(name) != self.header[name]), ""):
                change = f"{differing} was {before.get(differing)!r} and is {self.header[differing]!r}"
                raise ValueError(f"--resume {self.partial}: {change}; remove it to start anew")
            ends = [file.tell()]
            for line in file:
                if not line.endswith(b"\n"):
                    break
                ends.append(ends[-1] + len(line))
            num_rows = len(ends) - 1
            if num_rows != num_total:
                num_rows -= num_rows % block
            file.truncate(ends[num_rows])
        return num_rows
