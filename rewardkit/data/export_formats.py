"""Preferences as the rows trainers read: preference pairs, unpaired examples (KTO), demonstrations (SFT); their splits.

Three layouts. `conversational`: prompt and completions are lists of turns, and nothing is lost. `plain`: texts; a
prompt of one user turn is that text, a longer one is written as a dialogue of `Human:` and `Assistant:` turns as in
HH-RLHF; turns that hold more than a text, and completions of several turns, do not go into it. `implicit`: no prompt
column; chosen and rejected are whole conversations that share it. Rows of every layout are read back by
`rewardkit.data.preferences`. Which split a row goes to depends on its prompt alone; last come the two sides of a
training, and prompts that stand on both.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar, get_args

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


class Prompted(Protocol):
    """A row that goes with a prompt."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The conversation up to the answer."""
        ...


Row = TypeVar("Row", bound=Prompted)


def split_by_prompt(rows: Sequence[Row], *, eval_share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Training and held-out rows, each in the given order; all rows of a prompt fall on one side.

    A prompt is held out if a hash of seed and normalised prompt, as a number in [0, 1), lies under `eval_share`. Which
    side it falls on does not depend on the other rows, so that adding some moves none.

    Args:
        rows: all of them.
        eval_share: expected share of prompts held out, between 0 and 1.
        seed: another one holds out other prompts.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    if not 0 < eval_share < 1:
        raise ValueError(f"eval_share is {eval_share}, allowed is between 0 and 1")
    train: list[Row] = []
    held_out: list[Row] = []
    for row in rows:
        # A key of its own: the splits of an export with the same seed say nothing about these.
        side = held_out if prompt_position(row.prompt, f"held_out {seed}") < eval_share else train
        side.append(row)
    return train, held_out


def find_leakage(train: Iterable[Prompted], held_out: Iterable[Prompted]) -> list[str]:
    """The held-out prompts that are training prompts too, each once, as texts; case and white space do not count."""
    train_prompts = {normal_prompt(row.prompt) for row in train}
    shared = {}
    for row in held_out:
        normal = normal_prompt(row.prompt)
        if normal in train_prompts:
            shared.setdefault(normal, plain_prompt(row.prompt))
    return list(shared.values())


def num_prompts(rows: Iterable[Prompted]) -> int:
    """How many different prompts there are, normalised."""
    return len({normal_prompt(row.prompt) for row in rows})
