"""What a judge is asked and what it answers, whatever it is: a rubric, a pair in an order, a choice about content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rewardkit.data.records import Comparison

Side = Literal["a", "b"]
Choice = Literal["a", "b", "tie", "both_bad", "refused", "unreadable", "unanswered"]
FIRST, SECOND, TIE, BOTH_BAD = "A", "B", "T", "X"  # what a judge answers with: A is the answer shown first


@dataclass(frozen=True, kw_only=True)
class JudgeCriterion:
    """One aspect asked about beside the overall question; `rating` holds the bounds where each answer is rated."""

    name: str
    question: str
    rating: tuple[int, int] | None = None
    anchors: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JudgeRubric:
    """What a judge reads: the project's rubric of one version.

    Attributes:
        wordings: one per degree of a preference, weakest first.
        tie, both_bad: whether these may be answered.
        flags: by name, what a flag on an answer means.
    """

    version: int
    guidelines: str
    question: str
    wordings: tuple[str, ...] = ("better",)
    tie: bool = True
    both_bad: bool = False
    criteria: tuple[JudgeCriterion, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)

    @property
    def letters(self) -> dict[str, str]:
        """By letter of an answer, what it says."""
        letters = {FIRST: "answer A is better", SECOND: "answer B is better"}
        if self.tie:
            letters[TIE] = "they are about equally good"
        if self.both_bad:
            letters[BOTH_BAD] = "both are bad"
        return letters


@dataclass(frozen=True, kw_only=True)
class Example:
    """A pair that people have settled, as a judge is shown it."""

    comparison: Comparison
    shown_first: Side
    choice: Literal["a", "b", "tie", "both_bad"]
    strength: int = 0
    rationale: str = ""


@dataclass(frozen=True, kw_only=True)
class JudgeQuestion:
    """A pair in an order.

    Attributes:
        shown_first: which answer comes first; empty for a judge that sees no order.
        samples: numbers of the answers that are wanted.
        arguments: what debaters said about it, see `alignment.judges.debate`; empty without a debate.
    """

    comparison: Comparison
    shown_first: Literal["a", "b", ""] = ""
    samples: tuple[int, ...] = (0,)
    arguments: str = ""

    @property
    def first(self) -> str:
        """Text of the answer shown first, A."""
        return self.comparison.completion_b if self.shown_first == "b" else self.comparison.completion_a

    @property
    def second(self) -> str:
        """Text of the answer shown second, B."""
        return self.comparison.completion_a if self.shown_first == "b" else self.comparison.completion_b


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An answer about positions, as a judge gives it.

    Attributes:
        letter: A, B, T or X; empty where it could not be read.
        p_first: probability that the answer shown first is better, a tie as half; None where it is not known.
        strength: degree, 1 or more for A and B.
        criteria: by name, -1 where the first is better, 1 where the second is, 0 for a tie; or both ratings.
    """

    letter: str = ""
    p_first: float | None = None
    strength: int = 0
    criteria: Mapping[str, int | tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JudgeAnswer:
    """An answer about content, its position undone.

    Attributes:
        choice: `unanswered` where nothing came, which is worth asking another time.
        p_a: probability that a is better, a tie as half; None where it is not known.
        raw: what it answered, as it came; of what is unanswered, why.
        usage: see `alignment.judges.chat.ChatAnswer`.
    """

    question: JudgeQuestion
    sample: int
    choice: Choice
    p_a: float | None = None
    strength: int = 0
    criteria: Mapping[str, int | tuple[int, int]] = field(default_factory=dict)
    raw: str = ""
    usage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What asking takes.

    Attributes:
        num_requests: conversations that are sent.
        prompt_tokens, completion_tokens: that are read and written.
        cost: of these tokens, in the currency of the prices.
    """

    num_requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


def undo_position(
    question: JudgeQuestion, sample: int, verdict: Verdict, *, raw: str, usage: Mapping[str, float]
) -> JudgeAnswer:
    """The answer about content that a verdict about positions is."""
    swapped = question.shown_first == "b"
    names: dict[str, Choice] = {FIRST: "a", SECOND: "b", TIE: "tie", BOTH_BAD: "both_bad", "": "unreadable"}
    if swapped:
        names |= {FIRST: "b", SECOND: "a"}
    choice = names[verdict.letter]
    p_first, criteria = verdict.p_first, dict(verdict.criteria)
    if swapped:
        for name, value in criteria.items():
            criteria[name] = (value[1], value[0]) if isinstance(value, tuple) else -value
    return JudgeAnswer(
        question=question,
        sample=sample,
        choice=choice,
        p_a=p_first if p_first is None or not swapped else 1 - p_first,
        strength=max(1, verdict.strength) if choice in ("a", "b") else 0,
        criteria=criteria if choice != "unreadable" else {},
        raw=raw,
        usage=usage,
    )
