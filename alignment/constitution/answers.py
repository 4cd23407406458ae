"""The answers that are criticised: rows as `alignment sample` writes them, or any with a prompt and an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignment.policy.data import COMPLETIONS
from rewardkit.data.comparison_rows import Answer, read_answers, read_source, refuse_turns
from rewardkit.data.conversations import RowError
from rewardkit.data.preferences import OnBadRow
from rewardkit.data.prompts import Prompt, PromptRow, read_prompt_rows

RESPONSES = ("responses", "completions", "answers")
SOURCES = ("model", "source", "generator")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A prompt and what was answered, each answer with the name of what wrote it."""

    prompt: Prompt
    answers: tuple[tuple[str, str], ...]
    """(source, text) of each."""


@dataclass(frozen=True, kw_only=True)
class ReadAnswers:
    """The rows of a file; `bad` says which could not be used."""

    rows: list[Answered]
    bad: list[str]


def read_answered(source: str, *, on_bad_row: OnBadRow, max_rows: int = 0) -> ReadAnswers:
    """Reads rows of a prompt with `responses`, or with one `completion`.

    Args:
        source: a file, a saved `datasets` folder or a hub id.
        on_bad_row: stop with an error that names the first bad row, or list them and go on.
        max_rows: number of rows to take, the first ones; 0 takes all.

    Raises:
        ValueError: naming file and line, if a row is bad or there is none.
        FileNotFoundError: if there is no such source.
    """

    def check(row: PromptRow, _place: str) -> None:
        _answered(row)

    read = read_prompt_rows(source, on_bad_row=on_bad_row, check=check)
    rows = [_answered(row) for row in read.rows[: max_rows or None]]
    if not rows:
        raise ValueError(f"{source}: no row has a prompt and an answer")
    return ReadAnswers(rows=rows, bad=[f"{row.place}: {row.problem}" for row in read.bad_rows])


def _answered(row: PromptRow) -> Answered:
    column = next((name for name in (*RESPONSES, *COMPLETIONS) if row.columns.get(name) is not None), "")
    if not column:
        raise RowError("missing_field", "responses", None, "needed is an answer: a column responses or completion")
    value = row.columns[column]
    answers = (
        read_answers(value, column, row.columns.get("sources"))
        if column in RESPONSES
        else read_answers([value], column, None)
    )
    if not answers:
        raise RowError("missing_field", column, [], "one answer or more is needed")
    for answer in answers:
        refuse_turns(answer.turns, column)
    return Answered(prompt=row.prompt, answers=tuple(_named(row.columns, answers)))


def _named(columns: Mapping[str, Any], answers: Sequence[Answer]) -> list[tuple[str, str]]:
    name = next((name for name in SOURCES if columns.get(name)), "")
    common = read_source(columns[name], name) if name else ""
    return [(answer.source or common, answer.text) for answer in answers]
