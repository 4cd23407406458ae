"""Labeling power: pairs, votes of each, people and minutes that a win rate or a reward model's gain takes to be shown.

A vote is 1, 1/2 or 0 for a win, a tie (both bad is one) or a loss. With win rate p and tie share t its variance is
V = p (1 - p) - t / 4. Votes on one comparison are correlated by rho, so that m of them on each of n comparisons give

    variance of the rate = V (1 + (m - 1) rho) / (m n)

whose second factor is the design effect (Kish 1965, section 5.4). rho is measured on the project's own comparisons with
several votes, around one half, so that it does not depend on which response is called a:

    rho = mean over pairs of votes on a comparison of (w - 1/2)(w' - 1/2)  /  mean of (w - 1/2)^2 over their votes
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from alignment.advisor.needs import GAIN_PER_DOUBLING, LearningCurve
from annotate_app.votes import CHOICE_CODES, Votes
from rewardkit.stats.small_samples import LEAST

OVERLAPS = (1, 2, 3, 5)
"""Votes on a comparison that are held side by side."""
UNKNOWN_CORRELATION = 0.5
UNKNOWN_SECONDS = 30.0
"""Taken where the project has not measured them yet."""
Z_95 = NormalDist().inv_cdf(0.975)
Z_80 = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True, kw_only=True)
class VotingHabits:
    """How people vote in a project.

    Attributes:
        tie_share: of counted votes, both-bad ones among them.
        correlation: rho, 0 to 1.
        seconds: median active seconds of a judgment.
        num_votes: counted votes.
        num_paired: comparisons with two votes or more; 0 where `correlation` is assumed.
        num_timed: votes with a time; 0 where `seconds` is assumed.
    """

    tie_share: float
    correlation: float
    seconds: float
    num_votes: int = 0
    num_paired: int = 0
    num_timed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.tie_share < 1:
            raise ValueError(f"the share of ties is {self.tie_share}, allowed is 0 up to 1")
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"the correlation of votes is {self.correlation}, allowed is 0 to 1")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds of a judgment are {self.seconds}, allowed is more than 0")

    def words(self) -> str:
        """What is measured, and what is assumed."""
        ties = f"{self.tie_share:.0%} ties " + (f"of {self.num_votes:,} votes" if self.num_votes else "assumed")
        source = f"measured on {self.num_paired:,} comparisons with several" if self.num_paired else "assumed"
        time = f"median of {self.num_timed:,}" if self.num_timed else "assumed"
        return (
            f"{ties}; votes on one comparison correlate by {self.correlation:.2f} ({source}); "
            f"{self.seconds:.0f} seconds a judgment ({time})"
        )


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A number of comparisons with as many votes on each.

    Attributes:
        pairs, overlap: n and m.
        minutes: of work.
        annotators: so many at least: one a vote on a comparison, and enough for the minutes.
        possible: whether there are that many pairs.
    """

    pairs: int
    overlap: int
    minutes: float
    annotators: int
    possible: bool

    @property
    def votes(self) -> int:
        return self.pairs * self.overlap


@dataclass(frozen=True, kw_only=True)
class WinRatePower:
    """What a win rate within +-`within` at 95 % takes, by votes on a comparison.

    Attributes:
        advised: the least work that the pairs allow; None where they allow none.
    """

    within: float
    win_rate: float
    habits: VotingHabits
    options: tuple[Workload, ...]
    advised: Workload | None

    def sentence(self) -> str:
        """The advice in words."""
        aim = f"a win rate within ±{100 * self.within:g} points at 95 %"
        if self.advised is None:
            most = self.options[0]
            return f"There are too few pairs for {aim}: {most.pairs:,} with one vote each, or more of each, are needed."
        one = self.advised
        each = "one vote" if one.overlap == 1 else f"{one.overlap} votes"
        people = "1 person" if one.annotators == 1 else f"{one.annotators:,} people"
        return f"For {aim} label {one.pairs:,} pairs with {each} each: {one.minutes:,.0f} minutes of work, {people}."

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {**asdict(self), "sentence": self.sentence()}


@dataclass(frozen=True, kw_only=True)
class GainPower:
    """What it takes to make a reward model better by a gain in accuracy, and to show it.

    Attributes:
        gain: of accuracy against what people mean.
        seen: what is left of it against labels of one vote.
        train_pairs: more pairs to train on; infinite where doubling does not help.
        held_out: pairs that show the gain with a chance of 80 %.
        minutes: of work on both, one vote each.
    """

    gain: float
    seen: float
    train_pairs: float
    held_out: int
    minutes: float

    def sentence(self) -> str:
        """The advice in words."""
        train = f"about {self.train_pairs:,.0f} more pairs" if self.train_pairs < math.inf else "no number of pairs"
        return (
            f"{100 * self.gain:g} points of accuracy take {train} to learn from, and {self.held_out:,} held-out pairs "
            f"to be shown: against single votes {100 * self.seen:.1f} points of them are seen."
        )

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {**asdict(self), "sentence": self.sentence()}


def measure_habits(votes: Votes) -> VotingHabits:
    """Ties, correlation and seconds of a project's counted votes."""
    counted = votes.counted()
    score = np.full(len(CHOICE_CODES), 0.0)
    score[CHOICE_CODES["a"]], score[CHOICE_CODES["b"]] = 0.5, -0.5
    values = score[counted.choice]
    timed = counted.seconds[np.isfinite(counted.seconds) & (counted.seconds > 0)]
    sums = np.bincount(counted.item, values, minlength=len(votes.items))
    squares = np.bincount(counted.item, values**2, minlength=len(votes.items))
    number = np.bincount(counted.item, minlength=len(votes.items))
    paired = number >= 2
    correlation, num_paired = UNKNOWN_CORRELATION, 0
    if paired.sum() >= LEAST and squares[paired].sum() > 0:
        together = (sums**2 - squares)[paired].sum() / (number * (number - 1))[paired].sum()
        correlation = float(np.clip(together / (squares[paired].sum() / number[paired].sum()), 0.0, 1.0))
        num_paired = int(paired.sum())
    return VotingHabits(
        tie_share=min(float((values == 0).mean()), 0.99) if len(values) else 0.0,
        correlation=correlation,
        seconds=float(np.median(timed)) if len(timed) else UNKNOWN_SECONDS,
        num_votes=len(values),
        num_paired=num_paired,
        num_timed=len(timed),
    )


def vote_variance(win_rate: float, tie_share: float) -> float:
    """p (1 - p) - t / 4.

    Raises:
        ValueError: if there are more ties than such a rate allows.
    """
    if not tie_share / 2 <= win_rate <= 1 - tie_share / 2:
        raise ValueError(f"a win rate of {win_rate:g} cannot have a share of ties of {tie_share:g}")
    return win_rate * (1 - win_rate) - tie_share / 4


def pairs_needed(within: float, *, win_rate: float, habits: VotingHabits, overlap: int) -> int:
    """n = z^2 V (1 + (m - 1) rho) / (m x^2), z = 1.96; LEAST at least.

    Raises:
        ValueError: if `within` is not between 0 and 1/2.
    """
    if not 0 < within < 0.5:
        raise ValueError(f"within is {within:g}, allowed is between 0 and 0.5")
    effect = (1 + (overlap - 1) * habits.correlation) / overlap
    return max(LEAST, math.ceil(Z_95**2 * vote_variance(win_rate, habits.tie_share) * effect / within**2))


def win_rate_power(
    within: float,
    habits: VotingHabits,
    *,
    win_rate: float = 0.5,
    available: int = 0,
    hours_each: float = 10.0,
    overlaps: Sequence[int] = OVERLAPS,
) -> WinRatePower:
    """What a win rate within +-`within` takes.

    Args:
        win_rate: expected; one half needs most.
        available: pairs that there are; 0 sets no limit.
        hours_each: of work that a person gives.
    """
    if not hours_each > 0:
        raise ValueError(f"hours of a person are {hours_each:g}, allowed is more than 0")
    options = []
    for overlap in overlaps:
        pairs = pairs_needed(within, win_rate=win_rate, habits=habits, overlap=overlap)
        minutes = pairs * overlap * habits.seconds / 60
        people = max(overlap, math.ceil(minutes / (60 * hours_each)))
        possible = not available or pairs <= available
        options.append(Workload(pairs=pairs, overlap=overlap, minutes=minutes, annotators=people, possible=possible))
    advised = min((one for one in options if one.possible), key=lambda one: one.votes, default=None)
    return WinRatePower(within=within, win_rate=win_rate, habits=habits, options=tuple(options), advised=advised)


def seen_gain(gain: float, correlation: float) -> float:
    """What a gain of accuracy against what people mean is against single votes: gain sqrt(rho).

    Votes that are right with probability a, independently, agree with a^2 + (1 - a)^2, so that rho = (2 a - 1)^2; a
    model right with probability q agrees with a vote with q a + (1 - q)(1 - a), whose slope in q is 2 a - 1.
    """
    return gain * math.sqrt(correlation)


def held_out_pairs(seen: float, *, differ: float) -> int:
    """Pairs that show a difference of two accuracies at 5 % with a chance of 80 %.

    n = (z sqrt(d) + z' sqrt(d - x^2))^2 / x^2,  x the difference, d the share of pairs on which the models differ.
    Connor 1987, Biometrics 43, eq. 3 (McNemar's test).
    """
    if not 0 < seen <= differ <= 1:
        raise ValueError(f"the models differ on {differ:g} of pairs, allowed is from the gain seen, {seen:.3g}, to 1")
    return math.ceil((Z_95 * math.sqrt(differ) + Z_80 * math.sqrt(differ - seen**2)) ** 2 / seen**2)


def gain_power(
    gain: float,
    habits: VotingHabits,
    *,
    pairs: int,
    differ: float = 0.2,
    per_doubling: float = GAIN_PER_DOUBLING,
) -> GainPower:
    """What it takes to make a reward model that learned from `pairs` better by `gain`.

    Args:
        differ: share of held-out pairs on which the two models are expected to differ.
        per_doubling: gain of accuracy from twice the pairs (`alignment.advisor.needs`).
    """
    if not 0 < gain < 0.5:
        raise ValueError(f"the gain is {gain:g}, allowed is between 0 and 0.5")
    curve = LearningCurve(at_one=0.5, per_doubling=per_doubling, error=math.nan, largest=max(1, pairs))
    seen = seen_gain(gain, habits.correlation)
    more = curve.pairs_for(gain, max(1, pairs)) - max(1, pairs)
    held_out = held_out_pairs(seen, differ=differ)
    return GainPower(
        gain=gain,
        seen=seen,
        train_pairs=more,
        held_out=held_out,
        minutes=(more + held_out) * habits.seconds / 60,
    )
