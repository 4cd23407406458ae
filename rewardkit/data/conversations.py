"""Conversations as files write them, read into messages: lists of turns, ShareGPT, HH-RLHF's dialogues, plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from rewardkit.data.records import Message, Role

# The names that chat formats give to who speaks.
SPEAKERS: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
# A turn of HH-RLHF's dialogues, as in "\n\nHuman: Hello\n\nAssistant: Hi".
TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):[ ]?")
DIALOGUE_PROMPT = re.compile(r"\A\s*Human:.*\n\nAssistant:\s*\Z", re.DOTALL)
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no database and no UTF-8 file takes these


class RowError(ValueError):
    """A row that cannot be used.

    Attributes:
        reason: in one word: missing_field, wrong_type, empty_response, identical_responses, different_prefix,
            bad_character, bad_id, duplicate_id, unknown_id, unknown_comparison, unknown_choice, no_preference,
            bad_number, template.
        field: where in the row.
        value: what stands there, shortened.
    """

    def __init__(self, reason: str, field: str, value: object, allowed: str) -> None:
        text = value if isinstance(value, str) else repr(value)
        self.reason, self.field = reason, field
        self.value = text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
        super().__init__(f"field {field} is {self.value!r}: {allowed}")


def read_text(value: object, field: str) -> str:
    """A text as it stands.

    Raises:
        RowError: if it is no string, or holds a character that cannot be stored.
    """
    if not isinstance(value, str):
        raise RowError("wrong_type", field, value, f"allowed is text, found {type(value).__name__}")
    if unstorable := UNSTORABLE.search(value):
        start = unstorable.start()
        allowed = f"character {start + 1} is U+{ord(value[start]):04X}, which no UTF-8 text may hold"
        raise RowError("bad_character", field, value[max(0, start - 20) :][:40], allowed)
    return value


def decode_list(value: object) -> object:
    """A list that CSV carries as JSON text, decoded; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            decoded = json.loads(value)
        except json.JSONDecodeError:
            return value
        return decoded if _is_nested(decoded) else value
    return value


def _is_nested(value: object) -> bool:
    """Whether it is a list of turns or answers, or a mapping of texts; a text may also just look like JSON."""
    if isinstance(value, list):
        return bool(value) and (all(isinstance(item, dict) for item in value) or all(isinstance(i, str) for i in value))
    return isinstance(value, dict) and bool(value) and all(isinstance(item, str) for item in value.values())


def is_messages(value: object) -> bool:
    """Whether a value is a list of turns with who speaks."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(turn, Mapping) and ("role" in turn or "from" in turn) for turn in value)
    )


def read_messages(value: object, field: str) -> tuple[Message, ...]:
    """Reads `[{"role", "content"}, ...]` or ShareGPT's `[{"from", "value"}, ...]`.

    Raises:
        RowError: naming the turn, if a speaker is unknown or a content is no text.
    """
    if not is_messages(value):
        raise RowError("wrong_type", field, value, "allowed is a list of turns with role and content")
    messages = []
    for index, turn in enumerate(value):  # type: ignore[arg-type]
        speaker = turn.get("role", turn.get("from"))
        content = turn.get("content", turn.get("value"))
        role = SPEAKERS.get(str(speaker).lower())
        if role is None:
            raise RowError("wrong_type", f"{field}[{index}].role", speaker, f"allowed are {', '.join(SPEAKERS)}")
        messages.append(Message(role=role, content=_read_content(content, f"{field}[{index}].content")))
    return tuple(messages)


def _read_content(content: object, field: str) -> str:
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise RowError("wrong_type", field, content, "allowed are parts of text; images and sounds cannot be shown")
        content = "\n".join(str(part) for part in parts)
    return read_text(content, field)


def is_dialogue(value: object) -> bool:
    """Whether a text is a whole raw dialogue: it starts with `Human:` and has a turn of the assistant."""
    return isinstance(value, str) and value.lstrip().startswith("Human:") and "\n\nAssistant:" in value


def read_dialogue(text: str, field: str) -> tuple[Message, ...]:
    """Reads turns marked `Human:` and `Assistant:` behind blank lines; the blanks around each turn go.

    Raises:
        RowError: if text stands before the first mark.
    """
    marks = list(TURN.finditer(read_text(text, field)))
    if not marks or text[: marks[0].start()].strip():
        raise RowError("wrong_type", field, text, "allowed is a dialogue that starts with 'Human:'")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return tuple(
        Message(role=SPEAKERS[mark[1].lower()], content=text[mark.end() : end].strip())
        for mark, end in zip(marks, ends, strict=True)
    )


def read_prompt(value: object, field: str, more: str = "") -> tuple[Message, ...]:
    """Reads a prompt: a list of turns, a dialogue that ends in `Assistant:`, or a plain text (one turn of the user).

    Args:
        value: what the row holds.
        field: how errors call it.
        more: what the last turn goes on with, behind a blank line (the input of an instruction).

    Raises:
        RowError: if it is empty or none of these.
    """
    if value is None:
        raise RowError("missing_field", field, value, "a prompt is needed")
    if is_messages(turns := decode_list(value)):
        messages = read_messages(turns, field)
    elif isinstance(value, str) and DIALOGUE_PROMPT.match(value):
        messages = read_dialogue(value, field)[:-1]
    else:
        messages = (Message(role="user", content=read_text(value, field)),)
    if more.strip():
        last = messages[-1]
        content = f"{last.content}\n\n{more}" if last.content.strip() else more
        messages = (*messages[:-1], Message(role=last.role, content=content))
    if not any(message.content.strip() for message in messages):
        raise RowError("missing_field", field, value, "a prompt is needed")
    return messages


def split_conversations(
    first: tuple[Message, ...], second: tuple[Message, ...], fields: tuple[str, str]
) -> tuple[tuple[Message, ...], str, str]:
    """Two whole conversations as their common prompt and their two last answers.

    Raises:
        RowError: different_prefix if they differ before the last turn; wrong_type if one does not end in an answer.
    """
    for messages, field in zip((first, second), fields, strict=True):
        if messages[-1].role != "assistant":
            raise RowError("wrong_type", field, messages[-1].content, "the last turn has to be the assistant's")
    if first[:-1] != second[:-1]:
        turn = first_difference(first[:-1], second[:-1])
        other = second[turn].content if turn < len(second) else ""
        allowed = f"the prompts differ from turn {turn + 1} on, allowed are conversations that differ in the last one"
        raise RowError("different_prefix", f"{fields[1]}[{turn}]", other, allowed)
    return first[:-1], first[-1].content, second[-1].content


def first_difference(first: Sequence[Message], second: Sequence[Message]) -> int:
    """The index of the first message in which two conversations differ."""
    pairs: Iterable[tuple[Message, Message]] = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
