"""Rows of a file as comparisons: pairs, lists of responses, chosen and rejected, raw dialogues.

`rewardkit.data.columns` finds which of these forms a file has; here one row is read at a time, and a row that cannot be
used says why (`RowError`). An answer is a text, the turns after the prompt, or a whole conversation. The responses of
one prompt are a list of these, a list of objects with a model and a text, or a mapping from model to text. Rows as
preferences are `rewardkit.data.preferences`.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from rewardkit.data.columns import Reading, behind_system, read_row_prompt
from rewardkit.data.conversations import (
    Completion,
    RowError,
    answers_in_turn,
    behind_prompt,
    decode_answer,
    decode_list,
    is_dialogue,
    is_messages,
    is_turn,
    read_messages,
    read_text,
    read_whole,
    split_conversations,
    text_list,
)
from rewardkit.data.records import Choice, Comparison, Message, content_id, message_lists
from rewardkit.data.tables.cells import read_cell
from rewardkit.data.tables.json_rows import decode_json

MAX_KEY = 200  # characters of an id, and of a source's name
ITEM_TEXTS = ("text", "response", "content", "completion", "output", "answer", "value")
ITEM_SOURCES = ("model", "source", "name", "generator", "model_name")
RANKED_BY = ("rank", "score", "rating", "reward", "overall_score")
# Of a row with two completions, the fields of the completions and of what wrote them.
_PAIR_FIELDS = (("response_a", "response_b"), ("source_a", "source_b"))
_CHOSEN_FIELDS = (("chosen", "rejected"), ("source_chosen", "source_rejected"))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One response: its text, what wrote it, and its place in a ranking (lower is better), if the file gives one.

    One that is more than a text has its turns, and their transcript as its text.
    """

    text: str
    turns: tuple[Message, ...] = ()
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
    answers = _ranked([_read_item(item, f"{column}[{index}]") for index, item in enumerate(value)])
    if names is None:
        return answers
    return [replace(answer, source=read_source(name, "sources")) for answer, name in zip(answers, names, strict=True)]


def _read_item(item: Any, column: str) -> Answer:
    if is_messages(item) or (is_turn(item) and not any(name in item for name in ITEM_SOURCES if name != "name")):
        turns = read_messages(item if is_messages(item) else [item], column)
        if not all(turn.role in ("assistant", "tool") for turn in turns) or turns[-1].role != "assistant":
            raise RowError("wrong_type", column, item, "allowed is a response, without the prompt")
        completion = Completion.of(turns)
        return Answer(text=completion.text, turns=completion.turns)
    if not isinstance(item, Mapping):
        return Answer(text=read_text(item, column))
    text = next((name for name in ITEM_TEXTS if name in item), None)
    if text is None:
        raise RowError(
            "missing_field", column, dict(item), f"allowed is a response with one of {', '.join(ITEM_TEXTS)}"
        )
    source = next((name for name in ITEM_SOURCES if name in item), None)
    return Answer(
        text=read_text(item[text], f"{column}.{text}"),
        source=read_source(item[source], f"{column}.{source}") if source else "",
        meta={key: plain(value) for key, value in item.items() if key not in (text, source)},
    )


def _ranked(answers: list[Answer]) -> list[Answer]:
    """The responses with their ranks, all by one name: the first that all of them have, else the first that one has."""
    numbers = {name: [_number(answer.meta.get(name)) for answer in answers] for name in RANKED_BY}
    complete = (name for name in RANKED_BY if answers and None not in numbers[name])
    partial = (name for name in RANKED_BY if set(numbers[name]) - {None})
    if not (name := next(complete, None) or next(partial, None)):
        return answers
    sign = 1 if name == "rank" else -1
    ranks = [None if number is None else sign * number for number in numbers[name]]
    return [replace(answer, rank=rank) for answer, rank in zip(answers, ranks, strict=True)]


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
    text = "" if value is None else read_text(plain_key(value), column).strip()
    if len(text) > MAX_KEY:
        raise RowError("wrong_type", column, text, f"allowed are {MAX_KEY} characters at most")
    return text


def plain_key(value: object) -> str:
    """An id or a name as text: a whole number is the same key as 7, as 7.0 (as tables with gaps have it) and as "7"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


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
            return {read_text(str(key), "meta"): plain(item) for key, item in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray):
            return [plain(item) for item in value]
        case _:
            return str(value)


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a row gives.

    Attributes:
        comparisons: those that can be judged.
        labels: by comparison id, what the file itself says is better.
        problems: pairs of the row that cannot be judged; a row that gives nothing raises instead.
    """

    comparisons: tuple[Comparison, ...]
    labels: Mapping[str, Choice] = field(default_factory=dict)
    problems: tuple[RowError, ...] = ()


def parse_row(row: Mapping[str, Any], reading: Reading) -> Parsed:
    """Reads one row as comparisons whose sides do not say which completion is better.

    A chosen and a rejected completion become a and b in an order that a hash of the content decides.

    Raises:
        RowError: naming field and value, if the row cannot be used.
    """
    match reading.form:
        case "pairs":
            return Parsed(comparisons=(read_pair(row, reading),))
        case "chosen_rejected" | "dialogues":
            return _hide_chosen(read_pair(row, reading), _number(row.get("p_chosen")))
        case "responses" | "ranked":
            return _parse_responses(row, reading)


def read_pair(row: Mapping[str, Any], reading: Reading) -> Comparison:
    """The two completions of a row of pairs, of chosen and rejected, or of dialogues, in the order of their columns.

    Of chosen and rejected a is the chosen one: a caller that shows the comparison to people takes `parse_row` instead.

    Raises:
        RowError: naming field and value, if the row cannot be used.
    """
    answers, sources = _PAIR_FIELDS if reading.form == "pairs" else _CHOSEN_FIELDS
    fields = (_column(reading, answers[0]), _column(reading, answers[1]))
    prompt, a, b = _read_answers(row, reading, answers, fields)
    source_a, source_b = (read_source(_value(row, reading, name), _column(reading, name)) for name in sources)
    pair = _split_pair(_value(row, reading, "source_pair"))
    if pair and not (source_a or source_b):
        source_a, source_b = pair
    _check_answers(a, b, fields, reading)
    return Comparison(
        id=read_row_id(row, reading) or content_key(prompt, a, b, source_a, source_b),
        prompt=prompt,
        completion_a=a.text,
        completion_b=b.text,
        source_a=source_a,
        source_b=source_b,
        meta=read_row_meta(row, reading),
        turns_a=a.turns,
        turns_b=b.turns,
    )


def content_key(
    prompt: Sequence[Message], a: Completion | Answer, b: Completion | Answer, source_a: str = "", source_b: str = ""
) -> str:
    """The id of a pair that the file gives none: a hash of its content."""
    turns = [message_lists(one.turns) for one in (a, b)] if a.turns or b.turns else []
    return content_id(message_lists(prompt), a.text, b.text, source_a, source_b, *turns)


def read_two(row: Mapping[str, Any], reading: Reading) -> tuple[tuple[Message, ...], str, str]:
    """The prompt and the two completions of a row of pairs, of chosen and rejected, or of dialogues, as they stand.

    Raises:
        RowError: if one of them cannot be read or is more than a text, or the prompts differ; empty or identical
            completions are no error.
    """
    names, _ = _PAIR_FIELDS if reading.form == "pairs" else _CHOSEN_FIELDS
    fields = (_column(reading, names[0]), _column(reading, names[1]))
    prompt, first, second = _read_answers(row, reading, names, fields)
    for one, column in zip((first, second), fields, strict=True):
        refuse_turns(one.turns, column)
    return prompt, first.text, second.text


def refuse_turns(turns: Sequence[Message], field: str) -> None:
    """Refuses a completion that is more than a text, where only texts are taken: in training and scoring.

    Raises:
        RowError: different_prefix for several turns, wrong_type for one that holds more than its text.
    """
    if len(turns) > 1:
        allowed = "allowed here are conversations that differ in their last turn alone: one answer to the same prompt"
        raise RowError("different_prefix", field, f"a list of {len(turns)} turns after the common start", allowed)
    for turn in turns:
        if holds := next((name for name in json.loads(turn.more or "{}") if name != "name"), ""):
            raise RowError(
                "wrong_type", f"{field}.{holds}", turn.more, "allowed here is an answer that is a text alone"
            )


def _column(reading: Reading, name: str) -> str:
    return reading.columns.get(name, name)


def _value(row: Mapping[str, Any], reading: Reading, name: str) -> Any:
    column = reading.columns.get(name)
    return read_cell(row, column) if column else None


def _hide_chosen(pair: Comparison, p_chosen: float | None) -> Parsed:
    digest = content_id(message_lists(pair.prompt), pair.completion_a, pair.completion_b)
    swapped = int(digest, 16) % 2 == 1
    better: Choice = "tie" if p_chosen == 0.5 else "b" if swapped != (p_chosen is not None and p_chosen < 0.5) else "a"
    return Parsed(comparisons=(pair.swap() if swapped else pair,), labels={pair.id: better})


def _parse_responses(row: Mapping[str, Any], reading: Reading) -> Parsed:
    column = _column(reading, "responses")
    answers = read_answers(_value(row, reading, "responses"), column, _value(row, reading, "sources"))
    if len(answers) < 2:
        raise RowError("missing_field", column, f"a list of {len(answers)}", "two responses or more are needed")
    if reading.form == "ranked" and all(answer.rank is None for answer in answers):
        answers = [replace(answer, rank=float(position)) for position, answer in enumerate(answers)]
    prompt = read_row_prompt(row, reading.columns)
    row_id, meta = read_row_id(row, reading), read_row_meta(row, reading)
    comparisons, labels, problems = [], {}, []
    for first, second in choose_pairs(len(answers), reading.pairs, seed=content_id(message_lists(prompt))):
        a, b = answers[first], answers[second]
        asked = prompt
        if a.turns or b.turns:
            asked, a, b = _own_ways(prompt, a, b, (f"{column}[{first}]", f"{column}[{second}]"))
        try:
            _check_answers(a, b, (f"{column}[{first}]", f"{column}[{second}]"), reading)
        except RowError as error:
            problems.append(error)
            continue
        suffix = f":{first + 1}-{second + 1}" if len(answers) > 2 else ""
        key = row_id + suffix if row_id else content_key(asked, a, b, a.source, b.source)
        if len(key) > MAX_KEY:
            raise RowError("bad_id", _column(reading, "id"), key, f"allowed are {MAX_KEY} characters at most")
        of_answers = {f"response_{side}": dict(one.meta) for side, one in (("a", a), ("b", b)) if one.meta}
        comparisons.append(
            Comparison(
                id=key,
                prompt=asked,
                completion_a=a.text,
                completion_b=b.text,
                source_a=a.source,
                source_b=b.source,
                meta={**meta, **of_answers},
                turns_a=a.turns,
                turns_b=b.turns,
            )
        )
        if a.rank is not None and b.rank is not None:
            labels[key] = "tie" if a.rank == b.rank else "a" if a.rank < b.rank else "b"
    if not comparisons:
        raise problems[0]
    return Parsed(comparisons=tuple(comparisons), labels=labels, problems=tuple(problems))


def _own_ways(
    prompt: tuple[Message, ...], a: Answer, b: Answer, fields: tuple[str, str]
) -> tuple[tuple[Message, ...], Answer, Answer]:
    """Two answers of which one is more than a text: what they begin with in common goes to the prompt."""
    wholes = [(*prompt, *(one.turns or (Message(role="assistant", content=one.text),))) for one in (a, b)]
    asked, first, second = split_conversations(wholes[0], wholes[1], fields)
    a, b = (replace(one, text=rest.text, turns=rest.turns) for one, rest in ((a, first), (b, second)))
    return asked, a, b


def _read_answers(
    row: Mapping[str, Any], reading: Reading, names: tuple[str, str], fields: tuple[str, str]
) -> tuple[tuple[Message, ...], Completion, Completion]:
    values = [decode_answer(_value(row, reading, name), column) for name, column in zip(names, fields, strict=True)]
    prompt_value = _value(row, reading, "prompt")
    if prompt_value is None and "prompt" not in reading.columns:
        whole = [
            behind_system(row, reading.columns, read_whole(value, column))
            for value, column in zip(values, fields, strict=True)
        ]
        split = split_conversations(whole[0], whole[1], fields)
        if not split[0]:
            raise RowError("missing_field", "prompt", None, f"{fields[0]} and {fields[1]} begin with the answer")
        if reading.form == "dialogues":  # whose judges read one answer to the same prompt
            refuse_turns(split[1].turns or split[2].turns, f"{fields[1]}[{len(split[0])}]")
        return split
    asked = text_list(prompt_value)
    listed = any(isinstance(value, list) and text_list(value) is not None for value in values)
    if asked is not None and (isinstance(prompt_value, str) or len(asked) > 1 or listed):
        told = [
            behind_system(row, reading.columns, answers_in_turn(asked, value, column))
            for value, column in zip(values, fields, strict=True)
        ]
        return split_conversations(told[0], told[1], fields)
    prompt = read_row_prompt(row, reading.columns)
    if prompt[-1].role == "assistant" and all(is_messages(value) for value in values):
        whole = [behind_system(row, reading.columns, read_whole(*one)) for one in zip(values, fields, strict=True)]
        if prompt in whole:  # the column repeats one of the two conversations
            return split_conversations(whole[0], whole[1], fields)
    conversations = []
    for value, column in zip(values, fields, strict=True):
        if not is_messages(value) and not _repeats(value, prompt_value):
            conversations.append((*prompt, Message(role="assistant", content=read_text(value, column))))
        else:
            conversations.append(behind_prompt(prompt, read_whole(value, column), column))
    first, second = conversations
    if len(first) == len(second) == len(prompt) + 1 and not first[-1].more and not second[-1].more:
        return prompt, Completion.of(first[-1:]), Completion.of(second[-1:])
    return split_conversations(first, second, fields)


def _repeats(value: object, prompt: object) -> bool:
    """Whether an answer is a dialogue that starts with the row's prompt."""
    if not isinstance(value, str) or not isinstance(prompt, str):
        return False
    return is_dialogue(value) and value.strip().startswith(prompt.strip())


def _check_answers(a: Completion | Answer, b: Completion | Answer, fields: tuple[str, str], reading: Reading) -> None:
    blank = [not a.text.strip(), not b.text.strip()]
    if all(blank) or (any(blank) and reading.empty == "bad"):
        column, text = (fields[0], a.text) if blank[0] else (fields[1], b.text)
        raise RowError("empty_response", column, text, "an answer with a text is needed")
    if a.text.strip() == b.text.strip() and a.turns == b.turns:
        raise RowError("identical_responses", fields[1], b.text, f"it is the same as {fields[0]}")


def _split_pair(value: object) -> tuple[str, str] | None:
    """`m1_m2`, `m1 vs m2` or `[m1, m2]`; None where it cannot be told where one name ends."""
    names = decode_list(value)
    if isinstance(names, str):
        names = next((parts for mark in (" vs ", "|", "_") if len(parts := names.split(mark)) == 2), None)
    if isinstance(names, Sequence) and len(names) == 2:
        return str(names[0])[:MAX_KEY], str(names[1])[:MAX_KEY]
    return None


def read_row_id(row: Mapping[str, Any], reading: Reading) -> str:
    """The id that a row has, empty where the file has none.

    Raises:
        RowError: if it cannot be one.
    """
    if "id" not in reading.columns:
        return ""
    value, column = _value(row, reading, "id"), _column(reading, "id")
    whole = isinstance(value, str | int) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool) or not str(value).strip():
        raise RowError("bad_id", column, value, "allowed is a text or a whole number")
    key = read_text(plain_key(value), column).strip()
    if len(key) > MAX_KEY:
        raise RowError("bad_id", column, key, f"allowed are {MAX_KEY} characters at most")
    return key


def read_row_meta(row: Mapping[str, Any], reading: Reading) -> dict[str, object]:
    """What a row holds beside its comparison."""
    column_meta = _value(row, reading, "meta")
    if isinstance(column_meta, str):
        try:
            column_meta = decode_json(column_meta)
        except ValueError:
            column_meta = None
    used = set(reading.columns.values())
    if not isinstance(column_meta, Mapping):  # a column of that name that is no mapping is metadata like any other
        used.discard(_column(reading, "meta"))
        column_meta = {}
    own = {name: value for name, value in row.items() if name not in used}
    return {read_text(str(name), "meta"): plain(value) for name, value in {**own, **column_meta}.items()}
