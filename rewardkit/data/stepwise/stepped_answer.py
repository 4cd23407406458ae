"""An answer in steps, with what is known of each step.

A label is the probability that a step is right: 1 right, 0 wrong, 0.5 where a person said neutral, a share of votes or
of rollouts between; None where nobody said anything. Steps joined by a separator give the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rewardkit.data.records import Message

SEPARATOR = "\n"
"""What stands between two steps of an answer, unless somebody says otherwise."""
_SENTENCE = re.compile(r"(?<=[.!?])(?<!^\d\.)(?<!^\d\d\.)\s+|(?<=[。！？])\s*|\n+", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class SteppedAnswer:
    """An answer to a prompt in steps.

    Attributes:
        steps: texts, one or more, none of them blank.
        labels: a step each, the probability that it is right, 0 to 1; None for one that was not judged.
        metadata: the other columns of its row.
    """

    prompt: tuple[Message, ...]
    steps: tuple[str, ...]
    labels: tuple[float | None, ...]
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.steps or not all(step.strip() for step in self.steps):
            raise ValueError(f"steps are {self.steps!r}, allowed are one or more texts that are not blank")
        if len(self.labels) != len(self.steps):
            raise ValueError(f"{len(self.labels)} labels of {len(self.steps)} steps, allowed is one each")
        for label in self.labels:
            if label is not None and not 0 <= label <= 1:
                raise ValueError(f"label of a step is {label!r}, allowed is 0 to 1, or None for not judged")

    @property
    def num_judged(self) -> int:
        """How many steps have a label."""
        return sum(label is not None for label in self.labels)

    def answer(self, separator: str = SEPARATOR) -> str:
        """The whole text."""
        return separator.join(self.steps)


def first_error(labels: Sequence[float | None]) -> int | None:
    """The place of the first step that is more likely wrong than right; the number of steps where none is.

    Returns:
        None where it is not known: a step before it, or one of an answer without an error, was not judged.
    """
    for place, label in enumerate(labels):
        if label is None:
            return None
        if label < 0.5:
            return place
    return len(labels)


def split_steps(text: str, by: str = "line") -> tuple[str, ...]:
    """The steps of an answer; blank ones are left out.

    Args:
        by: `line`, `blank_line`, `sentence` (a line's end ends one, and so do . ! ? before a blank; the number of
            a list's entry does not), or else a text that stands between two steps.

    Raises:
        ValueError: if `by` is empty.
    """
    match by:
        case "":
            raise ValueError("by is empty, allowed are line, blank_line, sentence, and a text that parts steps")
        case "line":
            pieces = re.split(r"\r?\n", text)
        case "blank_line":
            pieces = re.split(r"\r?\n(?:[^\S\n]*\r?\n)+", text)
        case "sentence":
            pieces = _SENTENCE.split(text)
        case _:
            pieces = text.split(by)
    strip = str.rstrip if by in ("line", "blank_line") else str.strip  # indentation of a line says something
    return tuple(strip(piece) for piece in pieces if piece.strip())


def separator_of(by: str) -> str:
    """What joins steps to an answer that `split_steps` would part again."""
    return {"line": "\n", "blank_line": "\n\n", "sentence": " "}.get(by, by)
