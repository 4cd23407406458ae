"""Rows of a file as answers in steps: rows that are in steps already, and whole answers, which are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rewardkit.data.columns import ANSWERS, ColumnError, check_column, prompt_columns, read_row_prompt
from rewardkit.data.comparison_rows import plain, plain_key, read_answers, read_source, refuse_turns
from rewardkit.data.conversations import RowError
from rewardkit.data.records import (
    MOST_STEPS,
    Comparison,
    Message,
    StepLabels,
    check_step_labels,
    content_id,
    message_lists,
)
from rewardkit.data.stepwise.stepped_answer import SEPARATOR, split_steps
from rewardkit.data.stepwise.stepwise_rows import StepwiseForm, find_stepwise_form, row_reader
from rewardkit.data.tables.cells import decode_literal, read_cell

StepsForm = StepwiseForm | Literal["answers"]
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("comparison_id", "id", "example_id", "uid", "key"),
    "steps": ("completions", "steps"),
    "labels": ("labels",),
    "scores": ("step_scores", "step_rewards"),
    "responses": ("responses", "answers", "outputs", "candidates", "generations"),
    "answer": (*ANSWERS, "solution"),
    "source": ("source", "model", "model_name", "generator"),
}
FIELDS = ("prompt", "history", "input", "system", *ALIASES)


@dataclass(frozen=True, kw_only=True)
class StepsReading:
    """How the rows of a file are read as answers in steps.

    Attributes:
        form: what a row is: TRL's stepwise form, PRM800K, Math-Shepherd, or whole answers.
        columns: by field of `FIELDS`, its column.
        split: how a whole answer becomes steps, see `rewardkit.data.stepwise.stepped_answer.split_steps`.
    """

    form: StepsForm
    columns: Mapping[str, str] = field(default_factory=dict)
    split: str = "line"


@dataclass(frozen=True, kw_only=True)
class ParsedSteps:
    """What a row gives, as `rewardkit.data.comparison_rows.Parsed`: answers in steps, and what it says of these."""

    comparisons: tuple[Comparison, ...]
    labels: Mapping[str, StepLabels] = field(default_factory=dict)
    problems: tuple[RowError, ...] = ()


def detect_steps(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], split: str) -> StepsReading:
    """Finds form and columns from the first rows; a given column takes precedence.

    Raises:
        ColumnError: if no column holds an answer or its prompt.
        ValueError: if a field or column that was given is unknown, or nothing says how to split.
    """
    split_steps("", split)  # refuses what says nothing
    for name, column in columns.items():
        if name not in FIELDS:
            raise ValueError(f"unknown field {name!r} in the mapping, allowed are {', '.join(FIELDS)}")
        check_column(column, name, rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    taken = set(columns.values())
    recognised = {name: column for name, column in columns.items() if column}
    for name, aliases in ALIASES.items():
        column = next((alias for alias in aliases if alias in names and alias not in taken), None)
        if name not in columns and column is not None:
            recognised[name] = column
            taken.add(column)
    form = find_stepwise_form(rows)
    if form in ("prm800k", "math_shepherd"):
        return StepsReading(form=form, columns={name: recognised[name] for name in ("id",) if name in recognised})
    recognised = {**prompt_columns([name for name in names if name not in taken]), **recognised}
    if "prompt" not in recognised:
        raise ColumnError("prompt", f"no column is the prompt, the columns are {', '.join(names)}")
    if "steps" in recognised:
        used = {name: column for name, column in recognised.items() if name not in ("answer", "responses")}
        return StepsReading(form="stepwise", columns=used)
    if "responses" not in recognised and "answer" not in recognised:
        raise ColumnError("answer", f"no column is an answer to be split, the columns are {', '.join(names)}")
    used = {name: column for name, column in recognised.items() if name not in ("labels", "scores")}
    return StepsReading(form="answers", columns=used, split=split)


def parse_steps(row: Mapping[str, Any], reading: StepsReading) -> ParsedSteps:
    """Reads a row as answers in steps: one, or of candidates for a step and of several responses one each.

    Raises:
        RowError: naming field and value, if the row cannot be used.
    """
    columns = reading.columns
    if reading.form == "answers":
        return _split_answers(row, reading)
    if reading.form == "stepwise":
        of_trl = {"completions": read_cell(row, columns["steps"])}
        of_trl["labels"] = read_cell(row, columns.get("labels", "labels"))
        row = {**{name: value for name, value in row.items() if name != columns["steps"]}, **of_trl}
    answers = row_reader(reading.form, list(row))(row, _raise)
    comparisons, labels = [], {}
    for number, answer in enumerate(answers, start=1):
        scores = _scores(read_cell(row, columns.get("scores", "")), columns.get("scores", ""), len(answer.steps))
        own = {columns[name] for name in ("id", "scores", "source") if name in columns}
        comparison = _comparison(
            answer.prompt,
            answer.steps,
            SEPARATOR.join(answer.steps),
            key=_key(row, columns, number if len(answers) > 1 else 0),
            source=read_source(read_cell(row, columns.get("source", "")), columns.get("source", "")),
            scores=scores,
            meta={name: value for name, value in answer.metadata.items() if name not in own},
        )
        comparisons.append(comparison)
        if answer.num_judged:
            labels[comparison.id] = answer.labels
    return ParsedSteps(comparisons=tuple(comparisons), labels=labels)


def _split_answers(row: Mapping[str, Any], reading: StepsReading) -> ParsedSteps:
    columns = reading.columns
    prompt = read_row_prompt(row, columns)
    name = "responses" if "responses" in columns else "answer"
    value = read_cell(row, columns[name])
    answers = read_answers(value if name == "responses" else [value], columns[name], None)
    used = set(columns.values())
    comparisons = []
    for number, answer in enumerate(answers, start=1):
        refuse_turns(answer.turns, columns[name])
        steps = split_steps(answer.text, reading.split)
        if not steps:
            raise RowError("empty_response", columns[name], answer.text, "an answer with a text is needed")
        comparison = _comparison(
            prompt,
            steps,
            answer.text,
            key=_key(row, columns, number if len(answers) > 1 else 0),
            source=answer.source or read_source(read_cell(row, columns.get("source", "")), columns.get("source", "")),
            meta={key: value for key, value in row.items() if key not in used} | dict(answer.meta),
        )
        comparisons.append(comparison)
    return ParsedSteps(comparisons=tuple(comparisons))


def _comparison(
    prompt: tuple[Message, ...],
    steps: tuple[str, ...],
    text: str,
    *,
    key: str,
    source: str,
    meta: Mapping[str, object],
    scores: StepLabels = (),
) -> Comparison:
    if len(steps) > MOST_STEPS:
        raise RowError("wrong_type", "steps", f"{len(steps)} steps", f"allowed are {MOST_STEPS} at most")
    return Comparison(
        id=key or content_id(message_lists(prompt), list(steps), source),
        prompt=prompt,
        completion_a=text,
        completion_b=text,
        source_a=source,
        source_b=source,
        meta={str(name): plain(value) for name, value in meta.items()},
        steps=steps,
        step_scores=scores,
    )


def _key(row: Mapping[str, Any], columns: Mapping[str, str], number: int) -> str:
    """The id of a row, with the number of the answer where it gives several; empty where the file has none."""
    value = read_cell(row, columns["id"]) if "id" in columns else None
    if value is None or isinstance(value, bool) or not str(value).strip():
        return ""
    key = plain_key(value).strip()
    return f"{key}-{number}" if number else key


def _scores(value: object, column: str, count: int) -> StepLabels:
    items: Any = decode_literal(value) if isinstance(value, str) else value
    if items is None or items == "":  # an empty cell of a CSV file
        return ()
    try:
        check_step_labels(items, count)
    except (TypeError, ValueError) as error:
        allowed = f"allowed is a probability a step, {count}, or null"
        raise RowError("wrong_type", column, value, allowed) from error
    return tuple(None if item is None else float(item) for item in items)


def _raise(error: RowError) -> None:
    raise error
