"""The rubric: guidelines, the overall question, its scale, criteria and flags; data in YAML, not code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SCALE_STEPS = (2, 3, 4, 5, 7, 8)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A preference scale from "the left one, strongly" to "the right one, strongly".

    Attributes:
        steps: 2, 3, 4, 5, 7 or 8. An odd number has a tie in its middle.
        labels: one wording per degree, strongest last, for example ("slightly better", "better", "much better").
        tie: whether a tie may be given; always so for odd steps, by an extra key for even ones.
    """

    steps: int = 7
    labels: tuple[str, ...] = ()
    tie: bool = True

    @property
    def degrees(self) -> int:
        """The number of strengths on each side: half the steps, rounded down."""
        return self.steps // 2


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One aspect asked about beside the overall question.

    Attributes:
        name: an identifier, unique in the rubric.
        kind: `compare` asks which response is better on it (by `scale`), `rate` asks a rating of each response.
        low, high: bounds of a rating.
        anchors: for a rating, by value what it means; for a comparison, guidance by side is in `question`.
        required: whether the judgment cannot be submitted without it.
    """

    name: str
    question: str
    kind: Literal["compare", "rate"] = "compare"
    scale: Scale = field(default_factory=lambda: Scale(steps=3))
    low: int = 1
    high: int = 5
    anchors: dict[int, str] = field(default_factory=dict)
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A mark on one response."""

    name: str
    label: str
    help: str = ""


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """What annotators read and answer."""

    title: str
    guidelines: str
    question: str = "Which response is better?"
    scale: Scale = field(default_factory=Scale)
    both_bad: bool = False
    criteria: tuple[Criterion, ...] = ()
    flags: tuple[Flag, ...] = ()
    rationale: Literal["off", "optional", "required"] = "optional"
    skip_reasons: tuple[str, ...] = ("not my expertise", "broken or empty text", "unclear prompt", "other")
