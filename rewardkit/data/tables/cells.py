"""One cell of a row: reaching into objects and lists, and values that a cell holds as source text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rewardkit.data.tables.json_rows import decode_json


def read_cell(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column, or of a place in one: `question.full_text`, `annotations.0.result`.

    A column of that very name wins; an object or list that the cell holds as text is decoded.

    Returns:
        None where there is none.
    """
    if column in row:
        return row[column]
    head, dot, rest = column.partition(".")
    while dot:
        if head in row:
            return _inside(row[head], rest)
        key, dot, rest = rest.partition(".")
        head = f"{head}.{key}"
    return None


def _inside(value: object, path: str) -> Any:
    value = decode_literal(value) if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return read_cell(value, path)
    key, _, rest = path.partition(".")
    if isinstance(value, Sequence) and not isinstance(value, str) and key.isdecimal() and int(key) < len(value):
        item = value[int(key)]
        return _inside(item, rest) if rest else item
    return None


def places_within(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The places in objects of some rows that `read_cell` reaches, at most `MOST_PLACES`; none within turns."""
    places = dict.fromkeys(
        place for row in rows for name, value in row.items() for place in _places(value, str(name), DEEPEST_PLACE)
    )
    return list(places)[:MOST_PLACES]


MOST_PLACES, DEEPEST_PLACE = 60, 4


def _places(value: object, path: str, depth: int) -> Iterator[str]:
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping) and not {"role", "from"} & value.keys():
        inner = value.items()
    elif isinstance(value, Sequence) and not isinstance(value, str):
        inner = [(number, item) for number, item in enumerate(value[:2]) if isinstance(item, Mapping)]
    for key, item in inner if depth else ():
        if isinstance(key, str):
            yield f"{path}.{key}"
        yield from _places(item, f"{path}.{key}", depth - 1)


def decode_literal(text: str) -> object:
    """The value that a text is the JSON or the Python source of; the text itself where it is neither."""
    try:
        return decode_json(text)
    except ValueError:
        pass
    if not LITERAL.match(text):
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a backslash that escapes nothing
            return ast.literal_eval(_with_commas(text.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError):
        return text


# A list or mapping whose first item is a text, None, or a list or mapping again.
LITERAL = re.compile(r"\s*[\[{]\s*(?:['\"\[{]|None\b|True\b|False\b)")


def _with_commas(source: str) -> str:
    """Puts the commas that NumPy leaves out: two texts in a row are two items there, and one text in Python."""
    cuts, lines, before = [], source.splitlines(keepends=True), ""
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.ENDMARKER):
            continue
        kind = "text" if token.type == tokenize.STRING else token.string
        if (before, kind) in (("text", "text"), ("}", "{"), ("]", "[")):
            cuts.append(starts[token.start[0] - 1] + token.start[1])
        before = kind
    for cut in reversed(cuts):
        source = f"{source[:cut]},{source[cut:]}"
    return source
