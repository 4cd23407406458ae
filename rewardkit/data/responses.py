"""The responses of one prompt as files list them: texts, objects with a model and a text, or text by model."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from rewardkit.data.conversations import RowError, decode_list, read_text

MAX_KEY = 200  # characters of an id, and of a source's name
ITEM_TEXTS = ("text", "response", "content", "completion", "output", "answer", "value")
ITEM_SOURCES = ("model", "source", "name", "generator", "model_name")
ITEM_SCORES = ("score", "rating", "reward", "overall_score")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One response: its text, what wrote it, and its place in a ranking (lower is better), if the file gives one."""

    text: str
    source: str = ""
    rank: float | None = None
    meta: Mapping[str, object] = field(default_factory=dict)


def read_answers(value: Any, column: str, sources: Any) -> list[Answer]:
    """Reads a list of responses, or of objects, or a mapping; `sources` may name what wrote them.

    Raises:
        RowError: naming the response that cannot be read.
    """
    value = decode_list(value)
    if isinstance(value, Mapping):
        value = [{"model": name, "text": text} for name, text in value.items()]
    if not isinstance(value, Sequence) or isinstance(value, str):
        kind = "missing_field" if value is None else "wrong_type"
        raise RowError(kind, column, value, "allowed is a list of responses, or a mapping from model to response")
    names = decode_list(sources)
    if names is not None and (not isinstance(names, Sequence) or isinstance(names, str) or len(names) != len(value)):
        raise RowError("wrong_type", "sources", names, f"allowed is a list of {len(value)} names, one per response")
    answers = [_read_item(item, f"{column}[{index}]") for index, item in enumerate(value)]
    if names is None:
        return answers
    return [
        Answer(text=answer.text, source=read_source(name, "sources"), rank=answer.rank, meta=answer.meta)
        for answer, name in zip(answers, names, strict=True)
    ]


def _read_item(item: Any, column: str) -> Answer:
    if not isinstance(item, Mapping):
        return Answer(text=read_text(item, column))
    text = next((name for name in ITEM_TEXTS if name in item), None)
    if text is None:
        raise RowError(
            "missing_field", column, dict(item), f"allowed is a response with one of {', '.join(ITEM_TEXTS)}"
        )
    source = next((name for name in ITEM_SOURCES if name in item), None)
    rank = _number(item.get("rank"))
    score = next((number for name in ITEM_SCORES if (number := _number(item.get(name))) is not None), None)
    return Answer(
        text=read_text(item[text], f"{column}.{text}"),
        source=read_source(item[source], f"{column}.{source}") if source else "",
        rank=rank if rank is not None else -score if score is not None else None,
        meta={key: plain(value) for key, value in item.items() if key not in (text, source)},
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_source(value: object, column: str) -> str:
    """The name of what wrote a response; empty for None."""
    text = "" if value is None else read_text(str(value), column).strip()
    if len(text) > MAX_KEY:
        raise RowError("wrong_type", column, text, f"allowed are {MAX_KEY} characters at most")
    return text


def choose_pairs(count: int, pairs: str, *, seed: str) -> list[tuple[int, int]]:
    """Which of `count` responses are compared with which: index pairs, the lower first.

    Args:
        count: number of responses.
        pairs: `all`, `adjacent`, `star:first`, or `random:N` for N different ones (all, where there are no more).
        seed: of the random choice; the prompt's hash makes it the same at every import.
    """
    every = list(combinations(range(count), 2))
    match pairs:
        case "all":
            return every
        case "adjacent":
            return [(index, index + 1) for index in range(count - 1)]
        case "star:first":
            return [(0, index) for index in range(1, count)]
        case _:
            wanted = int(pairs.removeprefix("random:"))
            return sorted(random.Random(seed).sample(every, min(wanted, len(every))))


def plain(value: object) -> object:
    """A value as JSON can hold it: NaN and infinities as None, what JSON does not know as text."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return read_text(value, "meta")
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray):
            return [plain(item) for item in value]
        case _:
            return str(value)
