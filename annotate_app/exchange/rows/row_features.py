"""The types of exported columns, told from all rows of all splits, as the front matter of a dataset card names them.

Without them the `datasets` library takes the types of the first split, or of its first rows: a criterion that nobody
judged there is a column of nulls, and the numbers of the next split do not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewardkit.data.files import Format

Kind = str | dict[str, Any] | list[Any]
"""A name of a type; a struct as its kinds by name; a list as a list of the one kind of its items."""

EMPTY = "null"
UNKNOWN = "unknown"  # of values that have no type in common
# Of columns that may hold nothing at all, what they would hold.
WHERE_EMPTY = {"criteria": "float64"}


class RowFeatures:
    """What was seen so far, by column."""

    def __init__(self, format: Format) -> None:
        self._format = format
        self._kinds: dict[str, Kind] = {}

    def take(self, row: Mapping[str, Any]) -> None:
        """Sees one row."""
        for name, value in row.items():
            self._kinds[name] = _common(self._kinds.get(name, EMPTY), _kind(self._as_written(value)))

    def _as_written(self, value: object) -> object:
        if isinstance(value, Mapping) and self._format in ("csv", "parquet"):
            return ""
        return "" if isinstance(value, list) and self._format == "csv" else value

    def listed(self) -> list[dict[str, Any]]:
        """The columns as `dataset_info.features` lists them; nothing where one of them has no type."""
        listed = [_feature(name, kind, WHERE_EMPTY.get(name, "string")) for name, kind in self._kinds.items()]
        return [] if any(map(_is_unknown, self._kinds.values())) else listed


def _kind(value: object) -> Kind:
    match value:
        case None:
            return EMPTY
        case bool():
            return "bool"
        case int():
            return "int64"
        case float():
            return "float64"
        case str():
            return "string"
        case Mapping():
            return {str(name): _kind(item) for name, item in value.items()}
        case list() | tuple():
            items: Kind = EMPTY
            for item in value:
                items = _common(items, _kind(item))
            return [items]
        case _:
            return UNKNOWN


def _common(first: Kind, second: Kind) -> Kind:
    if first == second or second == EMPTY:
        return first
    if first == EMPTY:
        return second
    if isinstance(first, dict) and isinstance(second, dict):
        return {name: _common(first.get(name, EMPTY), second.get(name, EMPTY)) for name in {**first, **second}}
    if isinstance(first, list) and isinstance(second, list):
        return [_common(first[0], second[0])]
    if isinstance(first, str) and isinstance(second, str) and {first, second} == {"int64", "float64"}:
        return "float64"
    return UNKNOWN


def _is_unknown(kind: Kind) -> bool:
    if isinstance(kind, str):
        return kind == UNKNOWN
    return any(map(_is_unknown, kind.values() if isinstance(kind, dict) else kind))


def _feature(name: str, kind: Kind, where_empty: str) -> dict[str, Any]:
    return {"name": name, **_typed(kind, where_empty)}


def _typed(kind: Kind, where_empty: str) -> dict[str, Any]:
    match kind:
        case dict():
            return {"struct": [_feature(name, inner, where_empty) for name, inner in kind.items()]}
        case [dict() as items]:
            return {"list": [_feature(name, inner, where_empty) for name, inner in items.items()]}
        case [list() as items]:
            return {"list": _typed(items, where_empty)}
        case [str() as items]:
            return {"list": where_empty if items == EMPTY else items}
        case _:
            return {"dtype": where_empty if kind == EMPTY else kind}
