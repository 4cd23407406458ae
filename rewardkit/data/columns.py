"""Which column of a file means which field, and which form its rows have, found from their names and first rows.

A prompt may stand in several columns: `read_row_prompt` puts together what they hold, for every reader of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rewardkit.data.conversations import (
    NO_CONTENT,
    SPEAKERS,
    RowError,
    decode_list,
    is_dialogue,
    is_messages,
    read_messages,
    read_prompt,
    read_text,
)
from rewardkit.data.records import Message
from rewardkit.data.tables.cells import decode_literal, read_cell

Form = Literal["pairs", "responses", "ranked", "chosen_rejected", "dialogues"]
FORMS: tuple[Form, ...] = get_args(Form)

# By form, what it cannot do without.
NEEDED: dict[Form, tuple[str, ...]] = {
    "pairs": ("response_a", "response_b"),
    "responses": ("responses",),
    "ranked": ("responses",),
    "chosen_rejected": ("chosen", "rejected"),
    "dialogues": ("chosen", "rejected"),
}
SIDES = (("a", "b"), ("1", "2"), ("x", "y"), ("0", "1"), ("left", "right"))
ANSWERS = ("response", "completion", "answer", "output", "conversation", "candidate", "generation", "summary", "text")
WRITERS = ("source", "model", "model_name", "response_model", "generator")


def _sided(stems: Sequence[str], side: int) -> tuple[str, ...]:
    return tuple(f"{stem}{joint}{pair[side]}" for pair in SIDES for stem in stems for joint in ("_", ""))


# By field, the names it goes by, the likelier ones first; lower case, spaces and hyphens as underscores.
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("comparison_id", "pair_id", "id", "example_id", "uid", "key"),
    "prompt": (
        *("prompt", "instruction", "question", "query", "context", "messages", "conversation", "conversations"),
        *("history", "input"),
    ),
    "history": ("history",),
    "input": ("input",),
    "system": ("system", "system_prompt"),
    "response_a": _sided(ANSWERS, 0),
    "response_b": _sided(ANSWERS, 1),
    "source_a": _sided(WRITERS, 0),
    "source_b": _sided(WRITERS, 1),
    "source_pair": ("model_pair", "source_pair", "models_pair"),
    "responses": ("responses", "completions", "answers", "outputs", "candidates", "generations"),
    "sources": ("models", "sources", "model_names", "generators"),
    "chosen": ("chosen", "chosen_response", "response_chosen", "preferred", "preferred_output"),
    "rejected": ("rejected", "rejected_response", "response_rejected", "dispreferred", "non_preferred_output"),
    "source_chosen": ("source_chosen", "chosen_model", "chosen_source", "model_chosen"),
    "source_rejected": ("source_rejected", "rejected_model", "rejected_source", "model_rejected"),
    "meta": ("meta", "metadata"),
}
FIELDS = tuple(ALIASES)
_PAIRED = (("response_a", "response_b"), ("source_a", "source_b"))
_BY_FORM: dict[Form, tuple[str, ...]] = {
    "pairs": ("response_a", "response_b", "source_a", "source_b", "source_pair"),
    "responses": ("responses", "sources"),
    "ranked": ("responses", "sources"),
    "chosen_rejected": ("chosen", "rejected", "source_chosen", "source_rejected"),
    "dialogues": ("chosen", "rejected", "source_chosen", "source_rejected"),
}
_OF_PROMPT = ("prompt", "history", "input", "system")
_OF_ALL = ("id", *_OF_PROMPT, "meta")


class ColumnError(ValueError):
    """The columns of a file do not give a field that is needed.

    Attributes:
        field: the field, one of `FIELDS` or of `rewardkit.data.judgments.FIELDS`; `FIELD` where it may be any of
            several, so that a caller with an option that names columns can say how to name this one.
    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(f"{problem}; rename the column in the file")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the rows of a file are read.

    Attributes:
        form: what a row is.
        columns: by field of `FIELDS`, the column it is read from, or the place in one (`question.full_text`).
        pairs: which pairs N responses become: `all`, `adjacent`, `random:N`, or `star:first` (the first with each).
        empty: whether one empty answer is kept (a model may say nothing, and be judged for it) or makes a bad row.
    """

    form: Form
    columns: Mapping[str, str] = field(default_factory=dict)
    pairs: str = "all"
    empty: Literal["keep", "bad"] = "bad"

    def __post_init__(self) -> None:
        kind, _, count = self.pairs.partition(":")
        if self.pairs not in ("all", "adjacent", "star:first") and not (
            kind == "random" and count.isdigit() and int(count)
        ):
            raise ValueError(f"pairs is {self.pairs!r}, allowed are all, adjacent, random:N and star:first")


def detect_reading(
    rows: Iterable[Mapping[str, Any]],
    *,
    form: Form | None = None,
    columns: Mapping[str, str] | None = None,
    pairs: str = "all",
    empty: Literal["keep", "bad"] | None = None,
) -> Reading:
    """Finds the form and the columns from some rows; a given form or column takes precedence.

    Args:
        rows: the first ones of the file.
        form: None finds it.
        columns: by field, its column; an empty column name says that the field has none.
        pairs: see `Reading`.
        empty: None keeps an empty answer of pairs and responses, and refuses one of chosen and rejected.

    Raises:
        ColumnError: if no form fits.
        ValueError: if a field or column that was given is unknown.
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    mapping = _checked(columns or {}, rows)
    recognised = {name: column for name, column in _find_columns(names, mapping).items() if column}
    chosen_form = form or _find_form(recognised, rows, names)
    if form is None and chosen_form == "responses":
        _refuse_steps(rows, recognised["responses"])
    if missing := [name for name in NEEDED[chosen_form] if name not in recognised]:
        problem = f"the form {chosen_form} needs {' and '.join(missing)}, the columns are {', '.join(names)}"
        raise ColumnError(missing[0], problem)
    used = {name: recognised[name] for name in (*_OF_ALL, *_BY_FORM[chosen_form]) if name in recognised}
    answer = used[NEEDED[chosen_form][0]]
    if "prompt" not in used and not any(is_whole(read_cell(row, answer)) for row in rows):
        raise ColumnError("prompt", f"no column is the prompt, the columns are {', '.join(names)}")
    keep = empty or ("keep" if chosen_form in ("pairs", "responses", "ranked") else "bad")
    return Reading(form=chosen_form, columns=used, pairs=pairs, empty=keep)


def _refuse_steps(rows: Sequence[Mapping[str, Any]], column: str) -> None:
    """Refuses TRL's stepwise rows: completions are steps of one answer there, and labels say which are right.

    Raises:
        ValueError: naming both columns.
    """
    for row in rows:
        labels, steps = (
            decode_literal(value) if isinstance(value, str) else value
            for value in (row.get("labels"), read_cell(row, column))
        )
        if not isinstance(labels, Sequence) or not isinstance(steps, Sequence) or isinstance(labels, str):
            continue
        if column == "completions" and len(labels) == len(steps) and set(labels) <= {True, False, None, -1}:
            raise ValueError(
                "the columns completions and labels are steps of one answer with a label each (TRL's stepwise rows), "
                "no answers to be compared: step labels are not taken"
            )


def is_whole(value: object) -> bool:
    """Whether an answer's column holds whole conversations, its prompt included."""
    decoded = decode_list(value)
    speakers = [turn.get("role", turn.get("from")) for turn in decoded] if is_messages(decoded) else []  # type: ignore[union-attr]
    return is_dialogue(value) or any(SPEAKERS.get(str(one).lower()) not in ("assistant", "tool") for one in speakers)


def prompt_columns(names: Iterable[str]) -> dict[str, str]:
    """The columns that make up the prompt, by field: what is asked, and what stands beside it; none where none do."""
    recognised = _find_columns(list(names), {})
    return {name: recognised[name] for name in _OF_PROMPT if name in recognised}


def read_row_prompt(row: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[Message, ...]:
    """The prompt of a row, with its system prompt, earlier turns and further input, where it has these columns.

    Args:
        row: a row of a file.
        columns: by field of `FIELDS`, its column.

    Raises:
        RowError: naming the column that cannot be read.
    """
    column = columns.get("prompt", "prompt")
    prompt = read_prompt(read_cell(row, column), column, _optional_text(row, columns, "input"))
    if "history" in columns:
        earlier = _read_history(read_cell(row, columns["history"]), columns["history"])
        start = sum(message.role == "system" for message in prompt[:1])
        if prompt[start : start + len(earlier)] != earlier:
            prompt = (*prompt[:start], *earlier, *prompt[start:])
    return behind_system(row, columns, prompt)


def behind_system(
    row: Mapping[str, Any], columns: Mapping[str, str], turns: tuple[Message, ...]
) -> tuple[Message, ...]:
    """Turns behind the system prompt that the row has in a column of its own, unless they begin with one.

    Raises:
        RowError: if it is no text.
    """
    system = _optional_text(row, columns, "system")
    if not system.strip() or turns[0].role == "system":
        return turns
    return (Message(role="system", content=system), *turns)


def _read_history(value: object, field: str) -> tuple[Message, ...]:
    """The turns before a prompt: a list of turns, or of pairs of what was asked and answered (Alpaca's `history`).

    Raises:
        RowError: if it is neither; nothing at all is no turns.
    """
    items = decode_literal(value) if isinstance(value, str) and value.strip() else value
    if items in NO_CONTENT:
        return ()
    if is_messages(items):
        return read_messages(items, field)
    listed = items if isinstance(items, Sequence) and not isinstance(items, str) else [items]
    pairs = [pair if isinstance(pair, Sequence) and not isinstance(pair, str) else [] for pair in listed]
    if not all(len(pair) == 2 for pair in pairs):
        allowed = "allowed is a list of turns, or of pairs of question and answer; rename a column of something else"
        raise RowError("wrong_type", field, value, allowed)
    return tuple(
        Message(role=role, content=read_text(text, f"{field}[{index}]"))
        for index, pair in enumerate(pairs)
        for role, text in zip(("user", "assistant"), pair, strict=True)
    )


def _optional_text(row: Mapping[str, Any], columns: Mapping[str, str], name: str) -> str:
    value = read_cell(row, columns[name]) if name in columns else None
    return "" if value is None else read_text(value, columns[name])


def _checked(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    for name, column in columns.items():
        if name not in FIELDS:
            raise ValueError(f"unknown field {name!r} in the mapping, allowed are {', '.join(FIELDS)}")
        check_column(column, name, rows)
    return dict(columns)


def check_column(column: str, field: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a column that no row has, be it a place in another one; the empty name stands for none.

    Raises:
        ValueError: naming the columns that there are.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    if column and column not in names and all(read_cell(row, column) is None for row in rows):
        raise ValueError(f"no column {column!r} for {field}, the columns are {', '.join(names)}")


def _find_columns(names: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    spelled = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in reversed(names)}
    recognised = dict(mapping)
    taken = {
        *mapping.values(),
        *(head for column in mapping.values() for head in names if column.startswith(f"{head}.")),
    }

    def free(alias: str) -> str | None:
        column = spelled.get(alias)
        return column if column is not None and column not in taken else None

    for first, second in _PAIRED:  # of two sides both have to be there, spelled alike
        for alias_first, alias_second in zip(ALIASES[first], ALIASES[second], strict=True):
            sides = (recognised.get(first) or free(alias_first), recognised.get(second) or free(alias_second))
            if all(sides) and not (first in mapping and second in mapping):
                recognised[first], recognised[second] = str(sides[0]), str(sides[1])
                taken.update(recognised[side] for side in (first, second))
                break
    for name in FIELDS:
        if name in recognised or name in ("response_a", "response_b", "source_a", "source_b"):
            continue
        column = next((column for alias in ALIASES[name] if (column := free(alias))), None)
        if column:
            recognised[name] = column
            taken.add(column)
    return recognised


def _find_form(recognised: Mapping[str, str], rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Form:
    if "response_a" in recognised and "response_b" in recognised:
        return "pairs"
    if "responses" in recognised:
        return "responses"
    if "chosen" in recognised and "rejected" in recognised:
        chosen = [read_cell(row, recognised["chosen"]) for row in rows]
        raw = "prompt" not in recognised and any(is_dialogue(value) for value in chosen)
        return "dialogues" if raw else "chosen_rejected"
    raise ColumnError(
        "FIELD",
        f"no form fits the columns {', '.join(names) or '(none)'}; needed are a prompt with response_a and response_b, "
        "with a list of responses, or with chosen and rejected",
    )
