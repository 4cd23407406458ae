"""One file scored into another, resumable (`rewardkit.data.files`).

A run that continues starts at a window's edge: the windows, and so the numbers, are those of an unbroken run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rewardkit.config import ScoreConfig, parse_criterion_weights
from rewardkit.data.comparison_rows import plain
from rewardkit.data.conversations import RowError
from rewardkit.data.files import SUFFIXES, ResumableFile, check_output
from rewardkit.data.preferences import FIRST_ROWS, BadRow
from rewardkit.data.records import Message
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


def read_input(
    config: ScoreConfig,
    check: Callable[[Sequence[Message], Sequence[str]], None] | None = None,
    *,
    of_steps: bool = False,
) -> Input:
    """Reads the whole input once and checks its rows, before anything is scored.

    Args:
        check: see `Scorable`.
        of_steps: whether the model is a process reward model, which scores steps.

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
    how = replace(detect_scorable(first, config.input, config.steps_by if of_steps else ""), check=check)
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
    source: Input,
    reward_fn: RewardFn,
    *,
    tell: Tell = lambda _done, _total: None,
) -> FileScored:
    """Scores the input into the output; see the module.

    Args:
        source: what `read_input` returned.
        tell: called after every window with the rows done and all there are.

    Raises:
        ValueError: as `check_output`; if an unfinished run is of another model or input.
    """
    check_output("--output", config.output, resume=config.resume)
    file = ResumableFile(config.output, _header(config), block=config.window, num_total=source.num_rows)
    input_rows = source.rows()
    for number, scored in enumerate(file, start=1):
        _check_same(scored, next(input_rows, None), source.how, f"--resume {file.partial}: row {number}")
    num_done = file.num_rows
    tell(num_done, source.num_rows)
    while window := list(islice(input_rows, config.window)):
        file.append(score_rows(window, source.how, reward_fn))
        num_done += len(window)
        tell(num_done, source.num_rows)
    _finish(file, source)
    return FileScored(num_rows=num_done, num_continued=file.num_rows, bad_rows=source.bad_rows)


def _header(config: ScoreConfig) -> dict[str, Any]:
    card = Path(config.model) / CARD_FILE
    model = str(Path(config.model).resolve()) if Path(config.model).exists() else config.model
    if weights := parse_criterion_weights(config.criterion_weights):
        model += f" with criterion_weights {criterion_weights_text(weights)}"  # one field: older runs have no other
    if (config.steps_by, config.aggregation) != ("line", "min"):
        model += f" with steps by {config.steps_by!r}, {config.aggregation}"
    return {
        "model": model,
        "card": hashlib.sha256(card.read_bytes()).hexdigest() if card.exists() else "",
        "input": str(Path(config.input).resolve()) if Path(config.input).exists() else config.input,
        "window": config.window,
        "precision": config.precision,
        "on_bad_row": config.on_bad_row,
    }


def _check_same(scored: dict[str, Any], row: dict[str, Any] | None, how: Scorable, where: str) -> None:
    if scored.get(PROBLEM) is not None and row is not None:
        return  # what cannot be stored stands there otherwise
    own = {name: value for name, value in scored.items() if name not in (*how.added, PROBLEM)}
    if row is None or own != {name: plain(value) for name, value in row.items()}:
        raise ValueError(f"{where} is not that of the input any more; remove it to start anew")


def _finish(file: ResumableFile, source: Input) -> None:
    columns: Sequence[str] = (*source.columns, *source.how.added)
    if source.bad_rows:
        columns = (*columns, PROBLEM)
    is_csv = SUFFIXES[Path(file.out.name.removesuffix(".gz")).suffix] == "csv"
    with file.finish() as write:
        for row in file:
            # A CSV file has the columns of all rows in its first line.
            write({name: row.get(name) for name in columns} if is_csv else row)
