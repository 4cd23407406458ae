"""What turns hold beside their text: calls of tools and their results, and images.

Anthropic's form, in which calls and results are parts of a content, is written as OpenAI's. Only what both can say is
rewritten; a part that is known to neither stays where it is, for the reader to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewardkit.data.tables.cells import decode_literal

# How texts name an image that Tiebreak keeps, and how its exports do: `![x](image:HASH)`, `![x](images/HASH.png)`.
IMAGE = re.compile(r"\]\((?:image:|(?:[^\s()]*/)?images/)[0-9a-f]{64}\b")
CALL, RESULT = "tool_use", "tool_result"


def openai_turns(turns: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The turns with calls under `tool_calls`, and each result as a turn of the role `tool` where it came."""
    written: list[Mapping[str, Any]] = []
    for turn in turns:
        content = turn.get("content")
        parts = content if isinstance(content, list) else []
        kinds = {part.get("type") for part in parts if isinstance(part, Mapping)}
        if RESULT in kinds:
            written.extend(_with_results(turn, parts))
        else:
            written.append(_with_calls(turn, parts) if CALL in kinds else turn)
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
            "function": {"name": part["name"], "arguments": part.get("input") or {}},
        }
        for part in calls
    ]
    return {**turn, "content": list(parts[: len(parts) - len(calls)]) or "", "tool_calls": written}


def _is_call(part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("name"), str) and isinstance(part.get("input", {}), Mapping)


def _with_results(turn: Mapping[str, Any], parts: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
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
    return written


def calls_of(more: Mapping[str, Any]) -> list[object]:
    """The calls of tools that a turn holds beside its text, one in the older form of OpenAI's format last."""
    calls = more.get("tool_calls", [])
    return [*(calls if isinstance(calls, list) else [calls]), *filter(None, [more.get("function_call")])]


def call_name(call: object) -> str:
    """The name of the tool that a call is for; empty where it has none."""
    function = call.get("function", call) if isinstance(call, Mapping) else call
    return str(function.get("name", "")) if isinstance(function, Mapping) else ""


def call_arguments(call: object) -> object:
    """What a call gives its tool, decoded where it is text; the whole call where it has no place for that."""
    function = call.get("function", call) if isinstance(call, Mapping) else call
    arguments = function.get("arguments", function) if isinstance(function, Mapping) else function
    return decode_literal(arguments) if isinstance(arguments, str) else arguments


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
