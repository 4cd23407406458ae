"""One file scored into another, so that a killed run loses one window at most.

Finished windows stand in OUTPUT.partial, one JSON object a line behind a first line that says what was scored by what.
A run that goes on starts at a window's edge: the windows, and so the numbers, are those of an unbroken run. At the end
the rows are written to OUTPUT in the format of its name, which takes its place whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rewardkit.config import ScoreConfig, parse_criterion_weights
from rewardkit.data.comparison_rows import plain
from rewardkit.data.conversations import RowError
from rewardkit.data.files import SUFFIXES, open_rows
from rewardkit.data.preferences import FIRST_ROWS, BadRow
from rewardkit.data.sources import Part, choose_split, open_source
from rewardkit.reward.metadata import CARD_FILE
from rewardkit.reward.reward import RewardFn, criterion_weights_text
from rewardkit.scoring.rows import PROBLEM, Scorable, check_row, detect_scorable, score_rows

Tell = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Input:
    """What is to be scored.

    Attributes:
        columns: of the file, in the order of their first occurrence.
        num_rows: those that can be read, among them rows that cannot be scored.
        bad_rows: rows that cannot be scored, and lines that cannot be read.
    """

    parts: tuple[Part, ...]
    how: Scorable
    columns: tuple[str, ...]
    num_rows: int
    bad_rows: list[BadRow]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows that can be read."""
        for part in self.parts:
            for _, row in part.rows(lambda _number, _problem: None):
                yield row


@dataclass(frozen=True, kw_only=True)
class FileScored:
    """How it ended: `num_continued` of `num_rows` were there from before, `bad_rows` have no reward."""

    num_rows: int
    num_continued: int
    bad_rows: list[BadRow]


def read_input(config: ScoreConfig) -> Input:
    """Reads the whole input once and checks its rows, before anything is scored.

    Raises:
        ValueError: naming file and line of a bad row, if `on_bad_row` is error; if nothing can be scored.
        FileNotFoundError: if there is no such input.
    """
    splits = open_source(config.input)
    parts = splits[choose_split(splits, config.input)]
    bad_rows: list[BadRow] = []
    first = [row for part in parts for _, row in islice(part.rows(lambda _number, _problem: None), FIRST_ROWS)]
    if not first:
        raise ValueError(f"{config.input} holds no rows")
    how = detect_scorable(first, config.input)
    columns: dict[str, None] = {}
    num_rows = 0
    for part in parts:

        def on_bad(number: int, problem: str, part: Part = part) -> None:
            bad_rows.append(BadRow(place=part.place(number), reason="unreadable", problem=problem))

        for number, row in part.rows(on_bad):
            num_rows += 1
            columns.update(dict.fromkeys(row))
            try:
                check_row(row, how)
            except RowError as error:
                bad_rows.append(BadRow(place=part.place(number), reason=error.reason, problem=str(error)))
    if bad_rows and config.on_bad_row == "error":
        others = f" (and {len(bad_rows) - 1} more bad rows)" if len(bad_rows) > 1 else ""
        hint = "; --on-bad-row skip gives them no reward and goes on"
        raise ValueError(f"{bad_rows[0].place}: {bad_rows[0].problem}{others}{hint}")
    return Input(parts=parts, how=how, columns=tuple(columns), num_rows=num_rows, bad_rows=bad_rows)


def score_file(
    config: ScoreConfig,
    given: Input,
    reward_fn: RewardFn,
    *,
    tell: Tell = lambda _done, _total: None,
) -> FileScored:
    """Scores the input into the output; see the module.

    Args:
        given: the input as `read_input` found it.
        tell: called after every window with the rows done and all there are.

    Raises:
        ValueError: if an unfinished run is there that is not to go on, or is of another model or input.
    """
    out = check_output(config)
    partial = out.with_name(f"{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    header = _header(config)
    done = _continue(partial, header, given, config) if partial.exists() else 0
    rows = islice(given.rows(), done, None)
    with partial.open("ab") as file:
        if not done:
            file.truncate(0)
            file.write(_line(header))
        at = done
        tell(at, given.num_rows)
        while window := list(islice(rows, config.window)):
            file.write(b"".join(map(_line, score_rows(window, given.how, reward_fn))))
            file.flush()
            os.fsync(file.fileno())
            at += len(window)
            tell(at, given.num_rows)
    _finish(partial, out, given)
    return FileScored(num_rows=at, num_continued=done, bad_rows=given.bad_rows)


def check_output(config: ScoreConfig) -> Path:
    """The output's path.

    Raises:
        ValueError: if its name says no format, it is there already, or an unfinished run is and is not to go on.
    """
    out = Path(config.output)
    if Path(out.name.removesuffix(".gz")).suffix not in SUFFIXES:
        raise ValueError(f"--output {out}: the name's end says the format, allowed are {', '.join(SUFFIXES)}")
    if out.exists():
        raise ValueError(f"--output {out} is there already")
    if out.with_name(f"{out.name}.partial").exists() and not config.resume:
        raise ValueError(f"--output {out}: {out.name}.partial is of an unfinished run: --resume continues it")
    return out


def _header(config: ScoreConfig) -> dict[str, Any]:
    card = Path(config.model) / CARD_FILE
    model = str(Path(config.model).resolve()) if Path(config.model).exists() else config.model
    if weights := parse_criterion_weights(config.criterion_weights):
        model += f" with criterion_weights {criterion_weights_text(weights)}"  # one field: older runs have no other
    return {
        "model": model,
        "card": hashlib.sha256(card.read_bytes()).hexdigest() if card.exists() else "",
        "input": str(Path(config.input).resolve()) if Path(config.input).exists() else config.input,
        "window": config.window,
        "precision": config.precision,
        "on_bad_row": config.on_bad_row,
    }


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _continue(partial: Path, header: dict[str, Any], given: Input, config: ScoreConfig) -> int:
    """Cuts an unfinished run back to a window's edge and returns how many of its rows remain."""
    with partial.open("r+b") as file:
        line = file.readline()
        if not line.endswith(b"\n"):
            return 0  # killed before anything was scored
        before = json.loads(line)
        if differing := next((name for name in header if before.get(name) != header[name]), ""):
            was = f"{differing} was {before.get(differing)!r} and is {header[differing]!r}"
            raise ValueError(f"--resume {partial}: {was}; remove it to start anew")
        ends = [file.tell()]
        rows = given.rows()
        for line in file:
            if not line.endswith(b"\n"):
                break
            _check_same(json.loads(line), next(rows, None), given.how, f"--resume {partial}: row {len(ends)}")
            ends.append(ends[-1] + len(line))
        num_rows = len(ends) - 1
        if num_rows != given.num_rows:
            num_rows -= num_rows % config.window
        file.truncate(ends[num_rows])
    return num_rows


def _check_same(scored: dict[str, Any], row: dict[str, Any] | None, how: Scorable, where: str) -> None:
    if scored.get(PROBLEM) is not None and row is not None:
        return  # what cannot be stored stands there otherwise
    own = {name: value for name, value in scored.items() if name not in (*how.added, PROBLEM)}
    if row is None or own != {name: plain(value) for name, value in row.items()}:
        raise ValueError(f"{where} is not that of the input any more; remove it to start anew")


def _finish(partial: Path, out: Path, given: Input) -> None:
    columns: Sequence[str] = (*given.columns, *given.how.added)
    if given.bad_rows:
        columns = (*columns, PROBLEM)
    is_csv = SUFFIXES[Path(out.name.removesuffix(".gz")).suffix] == "csv"
    with partial.open("rb") as file, open_rows(out) as write:
        next(file)
        for line in file:
            row = json.loads(line)
            # A CSV file has the columns of all rows in its first line.
            write({name: row.get(name) for name in columns} if is_csv else row)
    partial.unlink()
