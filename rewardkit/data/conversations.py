"""Conversations as files write them, read into messages: lists of turns, ShareGPT, HH-RLHF's dialogues, plain text.

A turn may hold more than its text: calls of tools, thoughts, a refusal (`MORE`). They are kept with the turn; what
people cannot be shown (`MEDIA`) is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rewardkit.data.records import Message, Role
from rewardkit.data.tables.cells import decode_literal
from rewardkit.data.tables.content_parts import call_arguments, call_name, calls_of, openai_turns

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
    "ipython": "tool",
}
SPEAKER: dict[Role, str] = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}
# What a turn holds beside its text, by the names of OpenAI's format and of those that follow it.
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "tool_plan")
MORE = ("name", "tool_call_id", "is_error", *THOUGHTS, "tool_calls", "function_call", "tool_responses", "refusal")
MEDIA = ("audio", "image", "images", "video", "videos", "files", "attachments", "parts")
PLAIN = {"role", "content"}
TEXT_PARTS = (None, "text", "input_text", "output_text")
NO_CONTENT = (None, "", [], {})
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
        raise RowError("wrong_type", field, value, f"allowed is text, found {_kind(value, field)}")
    if unstorable := UNSTORABLE.search(value):
        start = unstorable.start()
        allowed = f"character {start + 1} is U+{ord(value[start]):04X}, which no UTF-8 text may hold"
        raise RowError("bad_character", field, value[max(0, start - 20) :][:40], allowed)
    return value


def _kind(value: object, field: str) -> str:
    """What stands in the place of a text; of a column of objects also how a place in them is named."""
    if not isinstance(value, Mapping):
        return type(value).__name__
    texts = {key: item for key, item in value.items() if isinstance(key, str) and isinstance(item, str)}
    if not texts or "[" in field:
        return "an object"
    place = max(texts, key=lambda key: len(texts[key]))  # most likely the one that is meant
    return f"an object with {', '.join(map(str, value))[:80]}; a place in it is named as {field}.{place}"


def decode_list(value: object) -> object:
    """A list that a cell carries as JSON, or as Python or NumPy write it, decoded; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        decoded = decode_literal(value)
        return decoded if _is_nested(decoded) else value
    return value


def _is_nested(value: object) -> bool:
    """Whether it is a list of turns or answers, or a mapping of texts; a text may also just look like JSON."""
    if isinstance(value, list):
        kinds = (dict, list, str | None)
        return bool(value) and any(all(isinstance(item, kind) for item in value) for kind in kinds)
    return is_turn(value) or (
        isinstance(value, dict) and bool(value) and all(isinstance(item, str) for item in value.values())
    )


def text_list(value: object) -> list[str] | None:
    """The texts of a list of texts, one that a cell carries among them; None in it is a text left empty.

    Returns:
        None where it is something else.
    """
    items = decode_list(value)
    if not isinstance(items, list) or not items or not all(isinstance(item, str | None) for item in items):
        return None
    return [item or "" for item in items]


def refuse_turns_as_text(value: str, field: str) -> None:
    """Refuses a list of turns that cannot be decoded, for it would be shown as its source.

    Raises:
        RowError: wrong_type.
    """
    if TURNS_AS_TEXT.match(value):
        allowed = "it looks like a list of turns, allowed is one as JSON or as Python writes it"
        raise RowError("wrong_type", field, value, allowed)


TURNS_AS_TEXT = re.compile(r"\s*(?:array\()?\[\s*\{\s*['\"](?:role|from|content|value)['\"]\s*:")


def is_turn(value: object) -> bool:
    """Whether a value is one turn with who speaks."""
    if not isinstance(value, Mapping):
        return False
    spoken = any(name in value for name in ("content", "value", *MORE))
    return spoken and any(str(value.get(name)).lower() in SPEAKERS for name in ("role", "from"))


def is_messages(value: object) -> bool:
    """Whether a value is a list of turns with who speaks."""
    if isinstance(value, str) or not isinstance(value, list | tuple | Sequence) or not value:
        return False
    return all(isinstance(turn, dict | Mapping) and ("role" in turn or "from" in turn) for turn in value)


def read_messages(value: object, field: str) -> tuple[Message, ...]:
    """Reads `[{"role", "content"}, ...]` or ShareGPT's `[{"from", "value"}, ...]`.

    Raises:
        RowError: naming the turn, if a speaker is unknown, a content is no text, or it holds what cannot be shown.
    """
    if not is_messages(value):
        raise RowError("wrong_type", field, value, "allowed is a list of turns with role and content")
    return tuple(read_turn(turn, f"{field}[{index}]") for index, turn in enumerate(openai_turns(value)))  # type: ignore[arg-type]


def read_turn(turn: Mapping[str, Any], field: str) -> Message:
    """Reads one turn.

    Raises:
        RowError: as `read_messages`.
    """
    speaker = turn.get("role", turn.get("from"))
    role = SPEAKERS.get(str(speaker).lower())
    if role is None:
        raise RowError("wrong_type", f"{field}.role", speaker, f"allowed are {', '.join(SPEAKERS)}")
    if turn.keys() == PLAIN and isinstance(turn["content"], str):  # nearly all of them
        return Message(role=role, content=read_text(turn["content"], f"{field}.content"))
    if media := next((name for name in MEDIA if turn.get(name) not in NO_CONTENT), ""):
        raise RowError("wrong_type", f"{field}.{media}", turn[media], "allowed is text; it cannot be shown")
    more = {name: turn[name] for name in MORE if turn.get(name) not in (*NO_CONTENT, False)}
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = _read_parts(content, more, f"{field}.content")
    if content is None and more.keys() - {"name", "tool_call_id"}:
        content = ""  # as OpenAI's answers that call a tool have it
    text = read_text(content, f"{field}.content")
    if "refusal" in more and not isinstance(more["refusal"], str):
        del more["refusal"]  # a flag of some formats, and no words
    _check_texts(more, field)
    return Message(role=role, content=text, more=json.dumps(more, ensure_ascii=False, sort_keys=True) if more else "")


def _read_parts(parts: Sequence[object], more: dict[str, Any], field: str) -> str:
    """The text of a content in parts; refusals and thoughts among them go to `more`."""
    texts = []
    for index, part in enumerate(parts):
        if isinstance(part, str):
            texts.append(part)
            continue
        filled = {}
        if isinstance(part, Mapping):
            filled = {name: item for name, item in part.items() if item not in NO_CONTENT and name != "cache_control"}
        kind = filled.pop("type", None)
        if kind in TEXT_PARTS and filled.keys() <= {"text"} and isinstance(part, Mapping) and "text" in part:
            texts.append(read_text(part["text"], f"{field}[{index}].text"))
        elif kind in ("refusal", "thinking") and isinstance(filled.get(str(kind)), str):
            more[str(kind)] = "\n".join(filter(None, [more.get(str(kind)), filled[str(kind)]]))
        else:
            allowed = "allowed are parts of text; images, sounds and calls among parts cannot be shown"
            raise RowError("wrong_type", f"{field}[{index}]", part, allowed)
    return "\n".join(texts)


def _check_texts(value: object, field: str) -> None:
    match value:
        case str():
            read_text(value, field)
        case Mapping():
            for name, item in value.items():
                _check_texts(name, field)
                _check_texts(item, f"{field}.{name}")
        case list():
            for item in value:
                _check_texts(item, field)


def turn_parts(message: Message) -> list[tuple[str, str, str]]:
    """What a turn says, in the order in which people read it: what it is (empty for its text), its text, its kind.

    The kind is `text` or `json`. The name of an assistant is left out: it may tell which model wrote an answer.
    """
    more: dict[str, Any] = json.loads(message.more) if message.more else {}
    parts = [("thoughts", _shown(more[name]), "text") for name in THOUGHTS if name in more]
    answers = [str(more[name]) for name in ("name", "tool_call_id") if name in more and message.role != "assistant"]
    if answers:
        parts.append((f"{'answer of' if message.role == 'tool' else 'name'} {' '.join(answers)}", "", "text"))
    if message.content.strip() or not more.keys() - {"name"}:
        parts.append(("", message.content, "text"))
    if "refusal" in more:
        parts.append(("refusal", more["refusal"], "text"))
    for call in calls_of(more):
        parts.append((f"calls {call_name(call)}".strip(), _shown(call_arguments(call)), "json"))
    if "tool_responses" in more:
        parts.append(("answers of tools", _shown(more["tool_responses"]), "json"))
    return parts


def call_names(messages: Iterable[Message]) -> list[str]:
    """The names of the tools that some turns call, in order."""
    names = []
    for message in messages:
        calls = calls_of(json.loads(message.more)) if message.more else []
        names += [name for name in map(call_name, calls) if name]
    return names


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def transcript(messages: Sequence[Message]) -> str:
    """Turns as one text: what each says, behind who speaks where there are several."""
    blocks = []
    for message in messages:
        said = [f"[{label}]\n{text}".rstrip() if label else text for label, text, _ in turn_parts(message)]
        who = f"{SPEAKER[message.role]}:\n" if len(messages) > 1 else ""
        blocks.append(who + "\n\n".join(said))
    return "\n\n".join(blocks)


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
    turns = [value] if is_turn(value) else decode_list(value)
    if isinstance(turns, Mapping) and "messages" in turns and not is_turn(turns):  # as OpenAI's fine-tuning has it
        turns = turns["messages"]
    if is_turn(turns):
        turns = [turns]
    if is_messages(turns):
        messages = read_messages(turns, field)
    elif (texts := text_list(value)) is not None:
        if len(texts) > 1 or isinstance(value, str):
            raise RowError("wrong_type", field, value, "a list of texts does not say who speaks, allowed are turns")
        messages = (Message(role="user", content=read_text(texts[0], field)),)
    elif isinstance(value, str) and DIALOGUE_PROMPT.match(value):
        messages = read_dialogue(value, field)[:-1]
    else:
        if isinstance(value, str):
            refuse_turns_as_text(value, field)
        messages = (Message(role="user", content=read_text(value, field)),)
    if more.strip():
        last = messages[-1]
        content = f"{last.content}\n\n{more}" if last.content.strip() else more
        messages = (*messages[:-1], replace(last, content=content))
    if not any(message.content.strip() or message.more for message in messages):
        raise RowError("missing_field", field, value, "a prompt is needed")
    return messages


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What follows a prompt: a text; where it is more than that, its turns and their transcript as the text."""

    text: str
    turns: tuple[Message, ...] = ()

    @classmethod
    def of(cls, turns: tuple[Message, ...]) -> Completion:
        """From the turns after the prompt."""
        if len(turns) == 1 and not turns[0].more:
            return cls(text=turns[0].content)
        return cls(text=transcript(turns), turns=turns)


def split_conversations(
    first: tuple[Message, ...], second: tuple[Message, ...], fields: tuple[str, str]
) -> tuple[tuple[Message, ...], Completion, Completion]:
    """Two whole conversations as their common prompt and what each went on with.

    These are the two last answers, or several turns where the conversations differ before their last turn: from the
    first answer in which they differ, as the judges of MT-Bench and of Chatbot Arena read them.

    Raises:
        RowError: different_prefix if they differ first in a turn that is not the assistant's; wrong_type if one does
            not end in an answer.
    """
    for messages, field in zip((first, second), fields, strict=True):
        if messages[-1].role != "assistant":
            raise RowError("wrong_type", field, messages[-1].content, "the last turn has to be the assistant's")
    start = first_difference(first, second)
    shortest = min(len(first), len(second))
    if start == shortest:  # one of them goes on where the other ends
        start -= 1
    if not first[start].role == second[start].role == "assistant":
        other = second[start].content
        allowed = (
            f"the prompts differ from turn {start + 1} on, allowed are conversations that first differ in an answer"
        )
        raise RowError("different_prefix", f"{fields[1]}[{start}]", other, allowed)
    return first[:start], Completion.of(first[start:]), Completion.of(second[start:])


def first_difference(first: Sequence[Message], second: Sequence[Message]) -> int:
    """The index of the first message in which two conversations differ."""
    pairs: Iterable[tuple[Message, Message]] = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def answers_in_turn(asked: Sequence[str], value: object, column: str) -> tuple[Message, ...]:
    """A conversation of which prompt and answer are lists of texts, one a turn, as in Chatbot Arena's files."""
    answers = text_list(value)
    if answers is None or len(answers) != len(asked):
        found = "one text" if answers is None else f"{len(answers)}"
        allowed = f"the prompt is a list of {len(asked)} texts, allowed is as long a list of answers, found {found}"
        raise RowError("wrong_type", column, value, allowed)
    turns = []
    for question, answer in zip(asked, answers, strict=True):
        turns.append(Message(role="user", content=read_text(question, "prompt")))
        turns.append(Message(role="assistant", content=read_text(answer, column)))
    return tuple(turns)


def behind_prompt(prompt: tuple[Message, ...], turns: tuple[Message, ...], column: str) -> tuple[Message, ...]:
    """The whole conversation: turns that begin with the prompt as they are, those of an answer behind the prompt.

    A conversation may hold more before the row's prompt than the row does; both have to end in the same turn then.
    """
    start = turns[0]
    if start.role in ("assistant", "tool"):
        return (*prompt, *turns)
    bare = tuple(turn for turn in prompt if turn.role != "system")
    if turns[: len(prompt)] == prompt:
        return turns
    if bare and turns[: len(bare)] == bare:
        return (*(turn for turn in prompt if turn.role == "system"), *turns)
    if len(turns) > 1 and turns[-2].content == prompt[-1].content:
        return turns if len(turns) > len(prompt) else (*prompt, turns[-1])
    raise RowError("different_prefix", column, start.content, "it does not start with the row's prompt")


def read_whole(value: object, column: str) -> tuple[Message, ...]:
    """Reads a whole conversation, as turns or as a dialogue."""
    return read_messages(value, column) if is_messages(value) else read_dialogue(read_text(value, column), column)


# The beginnings of a text that may hold turns: lists, objects, and dialogues of HH-RLHF.
STRUCTURED = re.compile(r"\s*(?:[\[{]|Human:|array\()")


def decode_answer(value: Any, column: str) -> Any:
    """An answer as it is compared: a text, or turns, which a cell may hold as text."""
    if value is None:
        raise RowError("missing_field", column, value, "an answer is needed")
    if isinstance(value, str):
        if not STRUCTURED.match(value):
            return value
        decoded = decode_list(value)
        if is_turn(decoded):
            return [decoded]
        if is_messages(decoded):
            return decoded
        if not is_dialogue(value):
            refuse_turns_as_text(value, column)
        return value
    return [value] if is_turn(value) else value
