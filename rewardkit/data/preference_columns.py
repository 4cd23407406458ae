"""The optional columns of preference rows: numbers, degrees by criterion, votes, who judged and how reliably."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rewardkit.data.conversations import RowError, read_text
from rewardkit.data.export_formats import VOTES
from rewardkit.data.judgments import ALIASES
from rewardkit.data.responses import read_source

SOFT = ("p_chosen", "margin", "criteria", "votes", "num_judgments")  # what only a row of one pair can say
OPTIONAL = frozenset({*SOFT, "weight", "reliability", *ALIASES["annotator"]})
DEGREES = {"chosen": 1.0, "rejected": -1.0, "tie": 0.0}


def is_absent(value: object) -> bool:
    """Whether a cell holds nothing: null, or an empty text."""
    return value is None or value == ""


def read_number(value: object, field: str, low: float = -math.inf, high: float = math.inf, more: str = "") -> float:
    """A finite number within bounds, also written as text.

    Raises:
        RowError: bad_number, otherwise.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number) and low <= number <= high:
        return number
    bounds = {(-math.inf, math.inf): "a number", (0.0, math.inf): "a number of 0 or more"}
    raise RowError("bad_number", field, value, f"allowed is {bounds.get((low, high), f'{low:g} to {high:g}')}{more}")


def read_soft(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Preference that the row gives: p_chosen, margin, criteria, votes, num_judgments.

    Raises:
        RowError: naming the field that is out of its range.
    """
    found: dict[str, Any] = {}
    if not is_absent(value := row.get("p_chosen")):
        hint = "; below 0.5 the other completion is the chosen one" if _is_below_half(value) else ""
        found["p_chosen"] = read_number(value, "p_chosen", 0.5, 1.0, hint)
    if not is_absent(value := row.get("margin")):
        found["margin"] = read_number(value, "margin")
    if not is_absent(value := row.get("num_judgments")):
        found["num_judgments"] = _read_count(value, "num_judgments")
    if not is_absent(value := row.get("criteria")):
        degrees = _mapping(value, "criteria").items()
        found["criteria"] = {name: _degree(each, f"criteria.{name}") for name, each in degrees if not is_absent(each)}
    if not is_absent(value := row.get("votes")):
        counts = _mapping(value, "votes")
        if unknown := next((name for name in counts if name not in VOTES), ""):
            raise RowError("wrong_type", "votes", unknown, f"allowed are {', '.join(VOTES)}")
        numbers = {name: _read_count(each or 0, f"votes.{name}") for name, each in counts.items()}
        found["votes"] = {name: number for name, number in numbers.items() if number}
    return found


def read_weight(row: Mapping[str, Any]) -> float:
    """The row's weight, 1 if it gives none."""
    value = row.get("weight")
    return 1.0 if is_absent(value) else read_number(value, "weight", 0.0)


def read_annotator(row: Mapping[str, Any]) -> dict[str, object]:
    """`annotator` and `reliability`, where the row names them."""
    found: dict[str, object] = {}
    column = next((name for name in ALIASES["annotator"] if not is_absent(row.get(name))), "")
    if column:
        found["annotator"] = read_source(row[column], column)
    if not is_absent(value := row.get("reliability")):
        found["reliability"] = read_number(value, "reliability", 0.0, 1.0)
    return found


def read_ranks(value: object, field: str) -> list[float]:
    """A list of numbers, which CSV carries as JSON text."""
    ranks = _decoded(value, field)
    if not isinstance(ranks, Sequence) or isinstance(ranks, str):
        raise RowError("wrong_type", field, value, "allowed is a list of ranks, the best one lowest")
    return [read_number(rank, f"{field}[{index}]") for index, rank in enumerate(ranks)]


def _is_below_half(value: object) -> bool:
    try:
        return 0 <= float(value) < 0.5  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _read_count(value: object, field: str) -> int:
    number = read_number(value, field, 0.0)
    if not number.is_integer():
        raise RowError("bad_number", field, value, "allowed is a whole number")
    return int(number)


def _degree(value: object, field: str) -> float:
    if isinstance(value, str) and value in DEGREES:
        return DEGREES[value]
    return read_number(value, field, more=f", or {', '.join(DEGREES)}")


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    found = _decoded(value, field)
    if not isinstance(found, Mapping):
        raise RowError("wrong_type", field, value, "allowed is a mapping, as JSON text in a CSV file")
    for name in found:
        read_text(name, field)
    return found


def _decoded(value: object, field: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise RowError("wrong_type", field, value, "the text is no JSON") from error
