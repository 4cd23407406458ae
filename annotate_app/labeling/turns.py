"""Turns as people read them: what each says in parts, every result of a tool beneath the call that it answers.

The parts of a turn written one after another are its text as it is shown raw, compared and marked (`written`). That
form is canonical: the arguments of a call stand one a line in the order of their names, and the ids of calls, which
say nothing and differ from answer to answer, are left out where a result was found by them. The name of an assistant
is left out too: it may tell which model wrote an answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rewardkit.data.conversations import SPEAKER, THOUGHTS, call_name
from rewardkit.data.records import Message, Role
from rewardkit.data.tables.cells import decode_literal
from rewardkit.data.tables.json_rows import decode_json

PartKind = Literal["text", "thoughts", "refusal", "call", "result", "name"]
BlockKind = Literal["role", "label", "text", "json", "gap"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something that a turn says.

    Attributes:
        kind: what it is.
        label: the words above it in the raw form, without their brackets; empty for the turn's text.
        text: what it says, as it is shown raw.
        is_json: whether the text is JSON.
        is_error: whether it is the result of a tool that failed.
        name: of the tool that is called.
    """

    kind: PartKind
    label: str
    text: str
    is_json: bool = False
    is_error: bool = False
    name: str = ""


@dataclass(kw_only=True)
class Turn:
    """A turn with its parts; results of tools stand among the parts of the turn that called them."""

    role: Role
    parts: list[Part]
    calls: dict[str, int] = field(default_factory=dict)  # by its id, after how many parts the results of a call end

    def answer(self, call: str, part: Part) -> None:
        """Puts a result beneath its call."""
        at = self.calls[call]
        self.parts.insert(at, part)
        self.calls = {key: place + (place >= at) for key, place in self.calls.items()}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A stretch of a written text; `text` and `json` are what is compared with the other response."""

    kind: BlockKind
    text: str


def arrange(messages: Sequence[Message]) -> list[Turn]:
    """Turns with their parts in the order in which people read them."""
    turns: list[Turn] = []
    caller: Turn | None = None  # the turn whose calls the results behind it answer
    for message in messages:
        more: dict[str, Any] = json.loads(message.more) if message.more else {}
        if message.role == "tool" and caller is not None:
            call = _answered_call(more, caller)
            if call is not None:
                caller.answer(call, _result(message.content, "result", more))
                continue
        turn = _turn(message, more)
        turns.append(turn)
        if message.role != "tool":
            caller = turn if turn.calls else None
    return turns


def _answered_call(more: Mapping[str, Any], caller: Turn) -> str | None:
    """The call that a result names by its id, or, where it has none, by the only name or as the only call."""
    if "tool_call_id" in more:
        key = f"id {more['tool_call_id']}"
        return key if key in caller.calls else None
    named = [key for key in caller.calls if key.partition(" ")[0] == "name" and key == f"name {more.get('name')}"]
    if named:
        return named[0]
    return next(iter(caller.calls)) if len(caller.calls) == 1 and "name" not in more else None


def _turn(message: Message, more: Mapping[str, Any]) -> Turn:
    parts = [Part(kind="thoughts", label="thoughts", text=_shown(more[name])) for name in THOUGHTS if name in more]
    if message.role == "tool":
        answered = " ".join(str(more[name]) for name in ("name", "tool_call_id") if name in more)
        parts.append(_result(message.content, f"answer of {answered}" if answered else "", more))
    else:
        if "name" in more and message.role != "assistant":
            parts.append(Part(kind="name", label=f"name {more['name']}", text=""))
        if message.content.strip() or not more.keys() - {"name"}:
            parts.append(Part(kind="text", label="", text=message.content))
    if "refusal" in more:
        parts.append(Part(kind="refusal", label="refusal", text=_shown(more["refusal"])))
    turn = Turn(role=message.role, parts=parts)
    calls = more.get("tool_calls", [])
    for number, call in enumerate([*(calls if isinstance(calls, list) else [calls]), *_legacy_call(more)]):
        name = call_name(call)
        parts.append(Part(kind="call", label=f"calls {name}".strip(), text=_arguments(call), is_json=True, name=name))
        identity = call.get("id") if isinstance(call, Mapping) else None
        key = f"id {identity}" if identity else f"name {name}" if name else f"call {number}"
        turn.calls[key if key not in turn.calls else f"call {number}"] = len(parts)
    if "tool_responses" in more:
        responses = more["tool_responses"]
        for response in responses if isinstance(responses, list) else [responses]:
            parts.append(_result(_shown(response), "answers of tools", more))
    return turn


def _legacy_call(more: Mapping[str, Any]) -> list[object]:
    return [more["function_call"]] if more.get("function_call") else []


def _result(text: str, label: str, more: Mapping[str, Any]) -> Part:
    """What a tool said; JSON in its canonical form, and an error where the turn or the JSON says so."""
    try:
        value = decode_json(text)
    except ValueError:
        value = text
    is_json = isinstance(value, dict | list)
    failed = more.get("is_error") is True or (isinstance(value, dict) and bool(value.get("error")))
    label = f"{label}, an error".removeprefix(", ") if failed else label
    return Part(kind="result", label=label, text=_shown(value) if is_json else text, is_json=is_json, is_error=failed)


def _arguments(call: object) -> str:
    function = call.get("function", call) if isinstance(call, Mapping) else call
    arguments = function.get("arguments", function) if isinstance(function, Mapping) else function
    return _shown(decode_literal(arguments) if isinstance(arguments, str) else arguments)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)


def blocks_of(turns: Sequence[Turn]) -> Iterator[Block]:
    """The written form in stretches: who speaks where there are several turns, labels in brackets, texts."""
    for number, turn in enumerate(turns):
        if number:
            yield Block(kind="gap", text="\n\n")
        yield Block(kind="role", text=f"{SPEAKER[turn.role]}:\n" if len(turns) > 1 else "")
        for place, part in enumerate(turn.parts):
            if place:
                yield Block(kind="gap", text="\n\n")
            if part.label:
                yield Block(kind="label", text=f"[{part.label}]" + ("\n" if part.text else ""))
            yield Block(kind="json" if part.is_json else "text", text=part.text)


def written(turns: Sequence[Message]) -> str:
    """Turns as one text, as they are shown raw."""
    return "".join(block.text for block in blocks_of(arrange(turns)))
