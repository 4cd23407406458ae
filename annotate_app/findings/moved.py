"""What moved a score: the reward of an answer beside its reward without one of its sentences, asked of the same model.

Exact, not an approximation: each difference is that of two rewards. What one sentence adds depends on the others, so
the differences need not add up to the reward. Of a model that counts words the part of each word is told too, and
these do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotate_app.trainings.scorer import Answered, Scorers
from rewardkit.data.records import Message
from rewardkit.reward.metadata import read_card
from rewardkit.stats.calibration import apply

MOST_PARTS = 40
"""Of one answer: the model is asked once for each; of longer answers several sentences are left out together."""
_SPACE = re.compile(r"\s+")
_CLOSING = "\"'”’)]"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of an answer.

    Attributes:
        start, end: its characters.
        change: of the reward by it, mean over members: with it minus without it.
        std: over members, ddof 1; 0 of one member.
        probability: that A is preferred without it.
    """

    start: int
    end: int
    change: float
    std: float
    probability: float


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What moved the scores of two answers.

    Attributes:
        parts: of A and of B; empty of an answer of one word.
        words: of each, what every word adds as (start, end, value); None of a model that does not count words.
        length: of each, what its number of words adds; None likewise.
        criteria: by criterion head, rewards of A and B.
        num_asked: answers that the model was asked for.
    """

    parts: tuple[tuple[Part, ...], tuple[Part, ...]]
    words: tuple[Sequence[tuple[int, int, float]], Sequence[tuple[int, int, float]]] | None
    length: tuple[float, float] | None
    criteria: Mapping[str, tuple[float, float]]
    num_asked: int


def what_moved(
    scorers: Scorers, model: Path, prompt: str, first: str, second: str, *, before: Sequence[Message] = ()
) -> Moved:
    """Asks a model for both answers without each of their parts.

    Raises:
        ValueError: if the model cannot be loaded or does not answer.
    """
    spans = [split(text) for text in (first, second)]
    left_out = [
        text[:start] + text[end:] for text, parts in zip((first, second), spans, strict=True) for start, end in parts
    ]
    answered = scorers.ask(model, prompt, [first, second, *left_out], before=before)
    calibration = read_card(model).calibration
    whole, without = answered.members[:, :2], answered.members[:, 2:]
    parts: list[tuple[Part, ...]] = []
    at = 0
    for side, side_spans in enumerate(spans):
        made = []
        for start, end in side_spans:
            changed = whole.copy()
            changed[:, side] = without[:, at]
            change = whole[:, side] - without[:, at]
            made.append(
                Part(
                    start=start,
                    end=end,
                    change=float(change.mean()),
                    std=float(change.std(ddof=1)) if len(change) > 1 else 0.0,
                    probability=float(apply(calibration, changed[:, 0] - changed[:, 1]).mean()),
                )
            )
            at += 1
        parts.append(tuple(made))
    return Moved(
        parts=(parts[0], parts[1]),
        words=_of_both(answered),
        length=(answered.length[0], answered.length[1]) if answered.length else None,
        criteria={name: (values[0], values[1]) for name, values in answered.criteria.items()},
        num_asked=2 + len(left_out),
    )


def _of_both(answered: Answered) -> tuple[Sequence[tuple[int, int, float]], Sequence[tuple[int, int, float]]] | None:
    return (answered.words[0], answered.words[1]) if answered.words else None


def split(text: str) -> list[tuple[int, int]]:
    """The parts of a text as characters [start, end): its sentences, of a single one its words; together all of it.

    At most MOST_PARTS, of about as many sentences each; none of a text that is one word, without which nothing is left.
    """
    spaces = [space.span() for space in _SPACE.finditer(text) if space.start() > 0 and space.end() < len(text)]
    ends = [end for start, end in spaces if _ends_sentence(text, start, end)] or [end for _, end in spaces]
    if not ends:
        return []
    starts = [0, *ends]
    firsts = [starts[group[0]] for group in np.array_split(np.arange(len(starts)), min(MOST_PARTS, len(starts)))]
    return list(zip(firsts, [*firsts[1:], len(text)], strict=True))


def _ends_sentence(text: str, start: int, end: int) -> bool:
    """Whether white space at [start, end) stands behind a sentence, or between lines."""
    before = text[max(0, start - 3) : start].rstrip(_CLOSING)
    return before[-1:] in (".", "!", "?", "…") or "\n" in text[start:end]
