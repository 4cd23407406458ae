"""Turns in Anthropic's form, in which calls of tools and their results are parts of a content, as OpenAI writes them.

Only what both forms can say is rewritten; a part that is known to neither stays where it is, for the reader to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# How texts name an image that Tiebreak keeps, and how its exports do: `![x](image:HASH)`, `![x](images/HASH.png)`.
IMAGE = re.compile(r"\]\((?:image:|(?:[^\s()]*/)?images/)[0-9a-f]{64}\b")
CALL, RESULT = "tool_use", "tool_result"


def openai_turns(turns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The turns with calls under `tool_calls`, and each result as a turn of the role `tool` where it came."""
    written: list[Mapping[str, Any]] = []
    for turn in turns:
        parts = turn.get("content")
        kinds = {part.get("type") for part in parts if isinstance(part, Mapping)} if isinstance(parts, list) else set()
        if RESULT in kinds:
            written.extend(_with_results(turn, parts))  # type: ignore[arg-type]
        else:
            written.append(_with_calls(turn, parts) if CALL in kinds else turn)  # type: ignore[arg-type]
    return written


def _with_calls(turn: Mapping[str, Any], parts: Sequence[Any]) -> Mapping[str, Any]:
    """A turn that calls tools; one that says something behind a call stays as it is: the order would be lost."""
    at = [isinstance(part, Mapping) and part.get("type") == CALL for part in parts]
    calls = [part for part, is_call in zip(parts, at, strict=True) if is_call]
    if not all(at[at.index(True) :]) or not all(_is_call(part) for part in calls) or turn.get("tool_calls"):
        return turn
    written = [
        {
            "id": str(part.get("id") or ""),
            "type": "function",
            "function": {"name": part["name"], "arguments": _input(part)},
        }
        for part in calls
    ]
    return {**turn, "content": list(parts[: len(parts) - len(calls)]) or "", "tool_calls": written}


def _is_call(part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("name"), str) and isinstance(part.get("input", {}), Mapping)


def _input(part: Mapping[str, Any]) -> Mapping[str, Any]:
    return part.get("input") or {}


def _with_results(turn: Mapping[str, Any], parts: Sequence[Any]) -> list[Mapping[str, Any]]:
    """A turn that brings results: a turn of the role `tool` each, and what else it says in turns of its own between."""
    written: list[dict[str, Any]] = []
    others: list[Any] = []

    def say() -> None:
        if others:
            written.append({**turn, "content": list(others)})
            others.clear()

    for part in parts:
        if isinstance(part, Mapping) and part.get("type") == RESULT:
            say()
            result = {"role": "tool", "content": part.get("content") or "", "tool_call_id": part.get("tool_use_id")}
            written.append(result | ({"is_error": True} if part.get("is_error") is True else {}))
        else:
            others.append(part)
    say()
    return written  # type: ignore[return-value]


def shows_image(value: object) -> bool:
    """Whether a text, or one within lists and objects, shows an image by a name that only Tiebreak reads."""
    match value:
        case str():
            return "image" in value and IMAGE.search(value) is not None
        case Mapping():
            return any(map(shows_image, value.values()))
        case list() | tuple():
            return any(map(shows_image, value))
        case _:
            return False
