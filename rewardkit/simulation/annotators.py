"""Simulated annotators: who they are, how they choose, and what a group of them says of a set of comparisons.

A world to judge, with texts and a known gold reward, is made by `rewardkit.simulation.support_desk_world`; any
comparison whose gold rewards are known will do. By custom their names start with `sim-`, so that nobody takes them for
people.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rewardkit.data.records import Choice, Comparison, Judgment

Side = Literal["a", "b"]


@dataclass(frozen=True, kw_only=True)
class GoldComparison:
    """A comparison with what a person can only estimate.

    Attributes:
        gold_a, gold_b: gold rewards of the two completions, in logits: at sharpness 1 a difference of 1 is preferred
            with odds of e to 1 before ties.
        aspects: by criterion, the gold values `(a, b)` on the same scale.
    """

    comparison: Comparison
    gold_a: float
    gold_b: float
    aspects: tuple[tuple[str, float, float], ...] = ()

    @property
    def choice(self) -> Choice:
        """The completion with the higher gold reward, or a tie where they are equal."""
        if self.gold_a == self.gold_b:
            return "tie"
        return "a" if self.gold_a > self.gold_b else "b"


@dataclass(frozen=True, kw_only=True)
class ScaleOf:
    """The scale of a question as far as answering it goes: degrees per side, and whether a tie may be given."""

    degrees: int
    tie: bool


@dataclass(frozen=True, kw_only=True)
class SimulatedAnnotator:
    """Somebody who prefers the better completion more often than not.

    With probability `reliability` an answer is attentive, else careless. The pull towards b, in logits, is

        attentive   u = sharpness (gold_b - gold_a) + length_bias ln(L_b / L_a) + left_bias side
        careless    u = left_bias side

    with L the length in characters (at least 1) and side +1 where b stands left, -1 where a does: length is a matter of
    content, left of the screen. With x = u + e, e standard logistic and h = tie_width,

        b if x > h,  a if x < -h,  a tie between:   P(b) = sigma(u - h),  P(a) = sigma(-u - h)

    which is Rao and Kupper 1967 with theta = exp(h), and Bradley-Terry for h = 0 or where no tie may be given (then the
    sign of x decides). The degree of a preference is 1 + floor((|x| - h) / degree_width), at most the scale's.
    Each criterion is answered by the same rule from its own gold values and its own e, careless or not as a whole.

    An attentive answer is both_bad if both golds are under `both_bad_below` (a reward), a skip with probability
    `skip_rate`. Seconds are log-normal (sigma 0.35) about 3 + characters read / chars_per_s, if careless a third of it.

    Attributes:
        reliability: share of attentive answers, 0 to 1.
        sharpness: logits per unit of gold reward, > 0: how small a difference is seen.
    """

    name: str
    reliability: float = 0.95
    sharpness: float = 1.0
    tie_width: float = 0.4
    left_bias: float = 0.0
    length_bias: float = 0.0
    degree_width: float = 1.5
    both_bad_below: float = -math.inf
    skip_rate: float = 0.0
    chars_per_s: float = 25.0

    def __post_init__(self) -> None:
        for name in ("reliability", "skip_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is 0 to 1")
        for name in ("sharpness", "degree_width", "chars_per_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is more than 0")
        if not self.tie_width >= 0:
            raise ValueError(f"tie_width is {self.tie_width}, allowed is 0 or more")

    def probabilities(self, item: GoldComparison, shown_left: Side, *, tie: bool = True) -> dict[Choice, float]:
        """P(a), P(tie) and P(b) of a judgment that is neither a skip nor both_bad, careless answers mixed in."""
        width = self.tie_width if tie else 0.0
        by_choice: dict[Choice, float] = {"a": 0.0, "tie": 0.0, "b": 0.0}
        for share, attentive in ((self.reliability, True), (1 - self.reliability, False)):
            pull = self._pull(item, shown_left, attentive=attentive)
            p_a, p_b = _sigmoid(-pull - width), _sigmoid(pull - width)
            by_choice["a"] += share * p_a
            by_choice["b"] += share * p_b
            by_choice["tie"] += share * (1 - p_a - p_b)
        return by_choice

    def judge(
        self,
        item: GoldComparison,
        shown_left: Side,
        rng: np.random.Generator,
        *,
        scale: ScaleOf = ScaleOf(degrees=3, tie=True),
        criteria: Sequence[tuple[str, ScaleOf]] = (),
        created_at: float = 0.0,
        rubric_version: int = 0,
    ) -> Judgment:
        """One judgment. `criteria` that the item has no aspect for are left out; created_at is in unix seconds."""
        attentive = bool(rng.random() < self.reliability)
        skips = bool(rng.random() < self.skip_rate)
        score = self._answer(self._pull(item, shown_left, attentive=attentive), scale, rng)
        aspects = {name: (gold_a, gold_b) for name, gold_a, gold_b in item.aspects}
        scores = {}
        for name, criterion_scale in criteria:
            if name in aspects:
                pull = self._pull(item, shown_left, attentive=attentive, gold=aspects[name])
                scores[name] = self._answer(pull, criterion_scale, rng)
        choice: Choice = "tie" if score == 0 else "a" if score < 0 else "b"
        if attentive and max(item.gold_a, item.gold_b) < self.both_bad_below:
            choice = "both_bad"
        if attentive and skips:
            choice, scores = "skip", {}
        return Judgment(
            comparison_id=item.comparison.id,
            annotator=self.name,
            choice=choice,
            strength=abs(score) if choice in ("a", "b") else 0,
            criteria=scores,
            reason="other" if choice == "skip" else "",
            seconds=self._seconds(item.comparison, rng, attentive=attentive),
            shown_left=shown_left,
            created_at=created_at,
            rubric_version=rubric_version,
        )

    def _pull(
        self, item: GoldComparison, shown_left: Side, *, attentive: bool, gold: tuple[float, float] | None = None
    ) -> float:
        pull = self.left_bias * (1 if shown_left == "b" else -1)
        if attentive:
            gold_a, gold_b = gold or (item.gold_a, item.gold_b)
            length_a, length_b = len(item.comparison.completion_a), len(item.comparison.completion_b)
            pull += self.sharpness * (gold_b - gold_a)
            pull += self.length_bias * math.log(max(length_b, 1) / max(length_a, 1))
        return pull

    def _answer(self, pull: float, scale: ScaleOf, rng: np.random.Generator) -> int:
        """A signed degree, 0 for a tie."""
        felt = pull + float(rng.logistic())
        width = self.tie_width if scale.tie else 0.0
        if scale.tie and abs(felt) <= width:
            return 0
        degree = min(scale.degrees, 1 + int((abs(felt) - width) / self.degree_width))
        return degree if felt > 0 else -degree

    def _seconds(self, comparison: Comparison, rng: np.random.Generator, *, attentive: bool) -> float:
        characters = len(comparison.completion_a) + len(comparison.completion_b)
        characters += sum(len(message.content) for message in comparison.prompt)
        median = (3 + characters / self.chars_per_s) * (1 if attentive else 1 / 3)
        return round(float(median * rng.lognormal(0.0, 0.35)), 1)


def simulate_judgments(
    items: Iterable[GoldComparison],
    annotators: Sequence[SimulatedAnnotator],
    *,
    overlap: int,
    seed: int,
    scale: ScaleOf = ScaleOf(degrees=3, tie=True),
    criteria: Sequence[tuple[str, ScaleOf]] = (),
    started_at: float = 0.0,
    spacing_s: float = 60.0,
) -> Iterator[Judgment]:
    """Judgments of every item by `overlap` different annotators, drawn anew for each, sides shuffled.

    Item n is judged from a generator of its own, seeded by (seed, n): the same items in front give the same judgments,
    whatever follows. The clock starts at `started_at` and moves on by `spacing_s` a judgment.

    Raises:
        ValueError: if overlap is not 1 to the number of annotators.
    """
    if not 1 <= overlap <= len(annotators):
        raise ValueError(f"overlap is {overlap}, allowed is 1 to {len(annotators)}, the number of annotators")
    for number, item in enumerate(items):
        rng = np.random.default_rng([seed, number])
        for turn, who in enumerate(rng.permutation(len(annotators))[:overlap]):
            yield annotators[who].judge(
                item,
                "a" if rng.random() < 0.5 else "b",
                rng,
                scale=scale,
                criteria=criteria,
                created_at=started_at + (number * overlap + turn) * spacing_s,
            )


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))
