"""Marks for any reply to a message of the demo's desk, by a rule: what simulated annotators see in a policy's answers.

The marks of the desk's written replies were given by hand; a policy's answers are new each time. For these the same
three marks, from 0 to 4, are read off the text, with what the desk itself wrote to the message as the measure:

    solves    4 times the share of the best written reply's words that the reply says too
    correct   4 times the share of its own words that the message or a written reply to it says
    tone      4 times the share of different ones among its pairs of neighbouring words; half of that if its last
              sentence does not end

and from them gold as of any reply of the demo (`annotate_app.demo`). A rule of thumb, made up for the demo: it knows no
second way to say a thing, and nobody but simulated annotators may judge by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise

from rewardkit.data.records import Message

MARKS = {"solves": 0.9, "correct": 0.7, "tone": 0.3}
"""Criteria of the rubric, and their weight in the gold reward."""
MOST, MIDDLE = 4, 2
_WORD = re.compile(r"[\w']+")
_END = re.compile(r"[.!?)\"]\s*$")


@dataclass(frozen=True, kw_only=True)
class DeskMessage:
    """A message to the desk: its words, and the words of the replies that were written to it, the best one first."""

    words: frozenset[str]
    replies: tuple[frozenset[str], ...]


def gold_of(marks: Mapping[str, float]) -> float:
    """The gold reward of marks from 0 to 4, in logits: 0.9 (solves - 2) + 0.7 (correct - 2) + 0.3 (tone - 2)."""
    return sum(weight * (marks[mark] - MIDDLE) for mark, weight in MARKS.items())


def read_marks(prompt: Sequence[Message], reply: str) -> dict[str, float]:
    """The marks of any reply to a message of the desk, by the rule.

    Raises:
        ValueError: if the message is none of the desk's.
    """
    message = desk_messages().get(_key(prompt))
    if message is None:
        raise ValueError(f"prompt {prompt[-1].content[:80]!r} is no message of the demo's desk")
    words = _words(reply)
    if not words:
        return dict.fromkeys(MARKS, 0.0)
    said, known = frozenset(words), message.words.union(*message.replies)
    pairs = list(pairwise(words))
    different = len(set(pairs)) / len(pairs) if pairs else 1.0
    return {
        "solves": MOST * len(said & message.replies[0]) / len(message.replies[0]),
        "correct": MOST * sum(word in known for word in words) / len(words),
        "tone": MOST * different * (1.0 if _END.search(reply) else 0.5),
    }


def desk_rows() -> list[dict]:
    """The messages with their written replies and marks, as they lie in `demo_project/desk.jsonl`."""
    text = resources.files("annotate_app").joinpath("demo_project", "desk.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@cache
def desk_messages() -> Mapping[str, DeskMessage]:
    """The desk's messages by their text."""
    messages = {}
    for row in desk_rows():
        best_first = sorted(row["responses"], key=lambda reply: -gold_of(reply))
        prompt = tuple(Message(**message) for message in row["messages"])
        messages[_key(prompt)] = DeskMessage(
            words=frozenset(word for message in prompt for word in _words(message.content)),
            replies=tuple(frozenset(_words(reply["text"])) for reply in best_first),
        )
    return messages


def _key(prompt: Sequence[Message]) -> str:
    return "\n".join(message.content for message in prompt)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
