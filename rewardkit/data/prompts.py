"""The prompts of a file, of whatever form: alone, or with completions, preferences or comparisons behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from rewardkit.data.columns import ALIASES, detect_reading, prompt_columns, read_row_prompt
from rewardkit.data.comparison_rows import read_two
from rewardkit.data.export_formats import turns
from rewardkit.data.preferences import Check, OnBadRow, ReadRow, ReadRows, Refuse, read_each
from rewardkit.data.records import Message
from rewardkit.data.sources import Part, choose_split, open_source, training_splits
from rewardkit.data.training_data import find_run

Prompt = tuple[Message, ...]
_MORE = ("input", "system", "system_prompt", "history")


def read_prompts(
    source: str, *, on_bad_row: OnBadRow = "error", check: Check[Prompt] | None = None
) -> ReadRows[Prompt]:
    """Reads JSONL, JSON, CSV or Parquet, a folder with one split, a saved `datasets` folder or a hub id, row by row.

    The prompt of a row is its own column, or what chosen and rejected (or two dialogues) have in common; of a column
    that holds a whole conversation, everything before the last turn of the assistant.

    Args:
        source: a path or hub id; `SOURCE:SPLIT` names one split of several.
        on_bad_row: stop with an error that names the first bad row, or list them and go on.
        check: asked for every row.

    Raises:
        ValueError: naming file and line, if a row is bad or there is no prompt.
        FileNotFoundError: if there is no such source.
    """
    splits = open_source(source)
    return read_each(splits[choose_split(splits, source)], source, _reader, on_bad_row=on_bad_row, check=check)


@dataclass(frozen=True, kw_only=True)
class PromptRow:
    """A prompt and the columns of its row, as the file has them: the right answer among them, say."""

    prompt: Prompt
    columns: Mapping[str, Any]


def read_prompt_rows(
    source: str, *, on_bad_row: OnBadRow = "error", check: Check[PromptRow] | None = None
) -> ReadRows[PromptRow]:
    """Reads what `read_prompts` reads, each prompt with its row.

    Raises:
        ValueError, FileNotFoundError: as `read_prompts`.
    """

    def reader(parts: Sequence[Part], first: Sequence[Mapping[str, Any]], name: str) -> tuple[ReadRow[PromptRow], str]:
        read, form = _reader(parts, first, name)

        def read_row(row: Mapping[str, Any], refuse: Refuse) -> list[PromptRow]:
            return [PromptRow(prompt=prompt, columns=row) for prompt in read(row, refuse)]

        return read_row, form

    splits = open_source(source)
    return read_each(splits[choose_split(splits, source)], source, reader, on_bad_row=on_bad_row, check=check)


def prompt_row(row: PromptRow) -> dict[str, Any]:
    """The prompt with the other columns of its row, as `read_prompt_rows` reads it back.

    Columns that were read into the prompt are not among them.
    """
    others = {name: value for name, value in row.columns.items() if name not in ("prompt", *_MORE)}
    return {"prompt": turns(row.prompt), **others}


def read_trained_prompts(model: str) -> list[Prompt] | None:
    """The prompts of the training split that a model's run read, its held-out share among them; None without a run.

    Raises:
        ValueError, FileNotFoundError, ImportError: if it cannot be read any more.
    """
    run_dir = find_run(model)
    if run_dir is None:
        return None
    config = yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8"))
    source = str(config.get("data") or run_dir / "data" / "preferences.jsonl")
    splits = open_source(source)
    training, _ = training_splits(splits, source)
    return read_each(splits[training], source, _reader, on_bad_row="skip").rows


def distinct(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Each prompt once, in the order of its first occurrence."""
    return list(dict.fromkeys(prompts))


def distinct_rows(rows: Sequence[PromptRow], apart_by: str = "") -> list[PromptRow]:
    """The first row of each prompt, or of each with another value in a column, in the order of first occurrence."""
    first_rows: dict[tuple[Prompt, str], PromptRow] = {}
    for row in rows:
        first_rows.setdefault((row.prompt, str(row.columns.get(apart_by))), row)
    return list(first_rows.values())


def _reader(_parts: Sequence[Part], first: Sequence[Mapping[str, Any]], source: str) -> tuple[ReadRow[Prompt], str]:
    names = list(dict.fromkeys(name for row in first for name in row))
    columns = prompt_columns(names)
    if "prompt" in columns:

        def read(row: Mapping[str, Any], _refuse: Refuse) -> list[Prompt]:
            prompt = read_row_prompt(row, columns)
            return [prompt[:-1] if prompt[-1].role == "assistant" and len(prompt) > 1 else prompt]

        return read, "prompt"
    try:
        pairs = detect_reading(first)
    except ValueError as error:
        raise ValueError(
            f"{source}: no column holds a prompt, allowed names are {', '.join(ALIASES['prompt'])}"
        ) from error
    return lambda row, _refuse: [read_two(row, pairs)[0]], pairs.form
