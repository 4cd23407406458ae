"""Preferences as the rows trainers read: preference pairs, unpaired examples (KTO), demonstrations (SFT); their splits.

Three layouts. `conversational`: prompt and completions are lists of turns, and nothing is lost. `plain`: texts; a
prompt of one user turn is that text, a longer one is written as a dialogue of `Human:` and `Assistant:` turns as in
HH-RLHF; turns that hold more than a text, and completions of several turns, do not go into it. `implicit`: no prompt
column; chosen and rejected are whole conversations that share it. Rows of every layout are read back by
`rewardkit.data.preferences`. Which split a row goes to depends on its prompt alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from rewardkit.data.comparison_rows import content_key
from rewardkit.data.conversations import Completion, transcript
from rewardkit.data.records import Message, Preference, message_lists

Layout = Literal["conversational", "plain", "implicit"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
VOTES = ("chosen", "rejected", "tie", "both_bad")
SPEAKER = {"system": "System", "user": "Human", "assistant": "Assistant", "tool": "Tool"}
NUMBERS = ("p_chosen", "weight", "margin", "num_judgments")


def preference_row(
    preference: Preference, layout: Layout = "conversational", *, criteria: Sequence[str] = (), sources: bool = False
) -> dict[str, Any]:
    """A row of prompt, chosen and rejected with what is known of it.

    A pair without an id gets the one that `read_preferences` gives a row without one, a hash of its content: an empty
    one could not be read.

    Args:
        preference: the pair.
        layout: see the module.
        criteria: names of the columns under `criteria`, the same in every row; one that was not judged is None.
        sources: also name what wrote chosen and rejected.
    """
    chosen = Completion(text=preference.chosen, turns=preference.turns_chosen)
    rejected = Completion(text=preference.rejected, turns=preference.turns_rejected)
    row = _columns(preference.prompt, {"chosen": chosen, "rejected": rejected}, layout)
    row.update({name: getattr(preference, name) for name in NUMBERS})
    row["votes"] = {name: preference.votes.get(name, 0) for name in VOTES}
    if criteria:
        row["criteria"] = {name: preference.criteria.get(name) for name in criteria}
    sides = preference.source_chosen, preference.source_rejected
    row["comparison_id"] = preference.comparison_id or content_key(preference.prompt, chosen, rejected, *sides)
    if sources:
        row["source_chosen"], row["source_rejected"] = preference.source_chosen, preference.source_rejected
    return row


def unpaired_row(
    prompt: Sequence[Message], completion: Completion, label: bool, layout: Layout, comparison_id: str
) -> dict[str, Any]:
    """A row of prompt, completion and whether it is desirable, as KTO reads it."""
    return {**_columns(prompt, {"completion": completion}, layout), "label": label, "comparison_id": comparison_id}


def demonstration_row(
    prompt: Sequence[Message], completion: Completion, layout: Layout, comparison_id: str
) -> dict[str, Any]:
    """A row of prompt and completion, as SFT reads it."""
    return {**_columns(prompt, {"completion": completion}, layout), "comparison_id": comparison_id}


def is_plain(prompt: Sequence[Message], *completions: Completion) -> bool:
    """Whether the layout `plain` can hold them: all are texts alone."""
    return not any(message.more for message in prompt) and not any(completion.turns for completion in completions)


def _columns(prompt: Sequence[Message], completions: Mapping[str, Completion], layout: Layout) -> dict[str, Any]:
    match layout:
        case "conversational":
            return {"prompt": turns(prompt), **{name: answer_turns(one) for name, one in completions.items()}}
        case "plain":
            if not is_plain(prompt, *completions.values()):
                raise ValueError("layout is 'plain', allowed for turns that hold more than a text is conversational")
            return {"prompt": plain_prompt(prompt), **{name: one.text for name, one in completions.items()}}
        case "implicit":
            return {name: [*turns(prompt), *answer_turns(one)] for name, one in completions.items()}


def turn(role: str, content: str) -> dict[str, Any]:
    """One turn as chat templates take it."""
    return {"role": role, "content": content}


def turns(prompt: Sequence[Message]) -> list[dict[str, Any]]:
    """The turns of a prompt, with all they hold beside their texts."""
    return [
        turn(message.role, message.content) | (json.loads(message.more) if message.more else {}) for message in prompt
    ]


def answer_turns(completion: Completion) -> list[dict[str, Any]]:
    """The turns that follow the prompt: one of a text alone, or those it went on with."""
    return turns(completion.turns) or [turn("assistant", completion.text)]


def plain_prompt(prompt: Sequence[Message]) -> str:
    """One text: the only user turn, or a dialogue that ends in `Assistant:`."""
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].content
    lines = [f"{SPEAKER[message.role]}: {transcript([message])}" for message in prompt]
    return "\n\n".join(lines) + "\n\nAssistant:"


def normal_prompt(prompt: Sequence[Message]) -> str:
    """What near copies of a prompt have in common: Unicode's NFKC form without case and with single blanks."""
    text = " ".join(" ".join(part) for part in message_lists(prompt))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def prompt_position(prompt: Sequence[Message], key: str) -> float:
    """A number in [0, 1) from a hash of the key and the normalised prompt, uniform over prompts."""
    return int.from_bytes(hashlib.sha256(f"{key}\n{normal_prompt(prompt)}".encode()).digest()[:8], "big") / 2**64


def split_of(prompt: Sequence[Message], splits: Mapping[str, float], seed: int) -> str:
    """The split that a prompt falls into, the same for every pair of it and however often it is exported.

    The position of the prompt falls into one of the intervals that the shares span.
    """
    position = prompt_position(prompt, str(seed))
    for name, end in _ends(splits):
        if position < end:
            return name
    return list(splits)[-1]


def _ends(splits: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    total = 0.0
    for name, share in splits.items():
        total += share
        yield name, total


def parse_splits(text: str) -> dict[str, float]:
    """Reads `train=0.9,test=0.1`.

    Raises:
        ValueError: if a share is not between 0 and 1, a name occurs twice, or the shares do not add up to 1.
    """
    splits: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not re.fullmatch(r"\w+", name.strip()) or name.strip() in splits or not 0 < value <= 1:
            raise ValueError(f"split {part!r}, allowed is NAME=SHARE with a share between 0 and 1, each name once")
        splits[name.strip()] = value
    if abs(sum(splits.values()) - 1) > 1e-9:
        raise ValueError(f"the shares of split {text!r} add up to {sum(splits.values()):g}, allowed is 1")
    return splits
