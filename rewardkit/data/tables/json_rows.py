"""Objects in JSON: one a line, or the items of an array, read a row at a time."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from rewardkit.data.tables.lines import BOM, CHUNK, LONGEST_ROW, byte_lines, not_utf8, read_bytes, text_lines

Rows = Iterator[tuple[int, dict[str, Any]]]
OnBad = Callable[[int, str], None]
"""Takes the line or record number of a row that is not one, and what is wrong with it."""

DEEPEST = 100  # levels of lists and objects in a row
MOST_WHOLE = 256 * 2**20  # bytes of an object that holds its rows under `data`, which is read at once
_BETWEEN = re.compile(r"[\s,]*")  # of two records of an array
# NaN and the infinities are not JSON; Python writes them all the same, and means a missing number by them.
DECODER = json.JSONDecoder(parse_constant=lambda _constant: None)


def decode_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: if it is none, or is nested deeper than `DEEPEST`.
    """
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"invalid JSON at character {error.pos + 1} ({error.msg}): {text[:60]!r}") from error
    except RecursionError as error:
        raise ValueError(_too_deep(text)) from error
    check_depth(value, text)
    return value


def check_depth(value: object, text: str) -> None:
    """Refuses what is nested so deeply that no program walks through it.

    Args:
        value: what `text` holds.

    Raises:
        ValueError: if it is deeper than `DEEPEST`.
    """
    if text.count("[") + text.count("{") <= DEEPEST:
        return
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list)
        ]
    if level:
        raise ValueError(_too_deep(text))


def _too_deep(text: str) -> str:
    return f"JSON is nested deeper than {DEEPEST} levels: {text[:60]!r}"


def as_object(value: object) -> dict[str, Any]:
    """A row.

    Raises:
        ValueError: if it is no object.
    """
    if not isinstance(value, dict):
        raise ValueError(f"a row is {str(value)[:60]!r}, allowed is an object with named fields")
    return value


def refuse(number: int, error: ValueError, where: str, on_bad: OnBad | None) -> None:
    """Tells of a bad row, or raises where nobody is to be told."""
    problem = not_utf8(error) if isinstance(error, UnicodeDecodeError) else str(error)
    if on_bad is None:
        raise ValueError(f"{where}: {problem}") from error
    on_bad(number, problem)


def read_jsonl(stream: BinaryIO, name: str, on_bad: OnBad | None) -> Rows:
    """An object a line, with the number of its line."""
    for number, line in byte_lines(stream, name):
        if not line.strip():
            continue
        try:
            row = as_object(decode_json(line.decode().strip()))
        except ValueError as error:
            refuse(number, error, f"{name}:{number}", on_bad)
            continue
        yield number, row


def read_json(stream: BinaryIO, name: str, on_bad: OnBad | None) -> Rows:
    """An array of objects, an object with such an array under `data`, or an object a line."""
    start = read_bytes(stream, CHUNK, name).removeprefix(BOM).lstrip()
    stream.seek(0)
    if not start.strip():
        return
    if start.startswith(b"["):
        yield from _objects(_read_array(stream, name), name, on_bad)
        return
    first, _, more = start.partition(b"\n")
    if _is_row(first) and (more or len(start) < CHUNK):
        yield from read_jsonl(stream, name, on_bad)
        return
    pieces, size = [], 0
    for line in text_lines(stream, name):
        pieces.append(line)
        size += len(line)
        if size > MOST_WHOLE:
            raise ValueError(f"{name}: an object of more than {MOST_WHOLE >> 20} MiB, allowed is an object a line")
    try:
        whole = as_object(decode_json("".join(pieces)))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    yield from _objects(whole["data"] if isinstance(whole.get("data"), list) else [whole], name, on_bad)


def _is_row(line: bytes) -> bool:
    """Whether a line is an object by itself, and none that holds rows."""
    try:
        value = DECODER.decode(line.decode().strip())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and not isinstance(value.get("data"), list)


def _objects(values: Iterable[object], name: str, on_bad: OnBad | None) -> Rows:
    for number, value in enumerate(values, start=1):
        try:
            if isinstance(value, ValueError):
                raise value
            row = as_object(value)
        except ValueError as error:
            refuse(number, error, f"{name}: record {number}", on_bad)
            continue
        yield number, row


def _read_array(stream: BinaryIO, name: str) -> Iterator[object]:
    """The items of an array; one that is nested too deeply as the error that says so."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    buffer, at, number, ended = "", 0, 0, False
    opened = False
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]  # it matches the empty string too
        if not opened and buffer.startswith("[", at):
            at, opened = at + 1, True
            continue
        if opened and buffer.startswith("]", at):
            return
        try:
            value, end = DECODER.raw_decode(buffer, at)
        except RecursionError as error:
            raise ValueError(f"{name}: record {number + 1}: {_too_deep(buffer[at : at + 60])}") from error
        except json.JSONDecodeError as error:
            if ended:
                raise ValueError(f"{name}: record {number + 1}: invalid JSON ({error.msg})") from error
            if len(buffer) - at > LONGEST_ROW:
                limit = LONGEST_ROW >> 20
                raise ValueError(f"{name}: record {number + 1} is longer than {limit} MiB, or no JSON") from error
            # A record may end beyond what was read: reading as much again keeps the work linear.
            data = read_bytes(stream, max(CHUNK, len(buffer) - at), f"{name}: after record {number}")
            try:
                more = decoder.decode(data, final=not data)
            except UnicodeDecodeError as bad:
                raise ValueError(f"{name}: after record {number}: the text is not UTF-8 ({bad.reason})") from bad
            buffer, at, ended = buffer[at:] + more, 0, not data
            continue
        except ValueError as error:  # a number of more digits than Python reads
            raise ValueError(f"{name}: record {number + 1}: {error}") from error
        number += 1
        try:
            check_depth(value, buffer[at:end])
        except ValueError as error:
            value = error
        at = end
        yield value
