"""Rows that are made a window of prompts at a time: they stand in OUT.partial until all are there.

Its first line says how they are made, so that a run that goes on makes the rest alike.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rewardkit.data.files import SUFFIXES


def check_output(out: str | Path, *, resume: bool) -> None:
    """Checks an output's name.

    Raises:
        ValueError: if it says no format, the file is there already, or an unfinished run is and is not to go on.
    """
    out = Path(out)
    if Path(out.name.removesuffix(".gz")).suffix not in SUFFIXES:
        raise ValueError(f"--out {out}: the name's end says the format, allowed are {', '.join(SUFFIXES)}")
    if out.exists():
        raise ValueError(f"--out {out} is there already")
    if _partial(out).exists() and not resume:
        raise ValueError(f"--out {out}: {_partial(out).name} is of an unfinished run: --resume continues it")


def count_unfinished(out: str | Path) -> int:
    """Rows of an unfinished output, for who looks on while they are made; 0 where there is none."""
    try:
        return max(0, _partial(Path(out)).read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


class UnfinishedRows:
    """The rows of an output so far.

    Attributes:
        num_done: prompts whose rows an earlier run wrote.

    Args:
        how: plain values that decide the rows.
        per_prompt: rows of each prompt.

    Raises:
        ValueError: if an unfinished run made its rows otherwise.
    """

    def __init__(self, out: str | Path, how: Mapping[str, Any], *, per_prompt: int = 1) -> None:
        self.file, self.how = _partial(Path(out)), dict(how)
        self.num_done = _continue(self.file, how, per_prompt) if self.file.exists() else 0
        if not self.num_done:
            self.file.unlink(missing_ok=True)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the rows of a window; when this returns they are on the disk."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as file:
            for row in rows if file.tell() else (self.how, *rows):
                file.write(json.dumps(dict(row)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All rows, read a row at a time."""
        with self.file.open("rb") as file:
            for line in islice(file, 1, None):
                yield json.loads(line)

    def remove(self) -> None:
        """The output is whole."""
        self.file.unlink()


def _partial(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")


def _continue(partial: Path, how: Mapping[str, Any], per_prompt: int) -> int:
    """Cuts an unfinished run back to its last whole prompt and returns how many are done."""
    with partial.open("r+b") as file:
        line = file.readline()
        if not line.endswith(b"\n"):
            return 0  # killed before anything was made
        before = json.loads(line)
        if differing := next((name for name in how if before.get(name) != how[name]), ""):
            was = f"{differing} was {before.get(differing)!r} and is {how[differing]!r}"
            raise ValueError(f"--resume {partial}: {was}; remove it to start anew")
        ends = [file.tell()]
        for line in file:
            if not line.endswith(b"\n"):
                break
            ends.append(ends[-1] + len(line))
        done = (len(ends) - 1) // per_prompt
        file.truncate(ends[done * per_prompt])
    return done
