"""How each annotator works: side and length bias, speed, ties, skips, consistency, gold, agreement, drift.

Behaviour (sides, length, speed, rates) is measured on all judgments, checks included; agreement with others on
collected votes. Flags say in words what a lead should look at; they accuse nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.agreement.proportions import Share, difference_test, share, sign_test, trend_test
from annotate_app.consensus.rules import NUM_CHOICES, choice_counts
from annotate_app.votes import CHOICE_CODES, KIND_CODES, TOO_FAST_CHARACTERS_PER_S, Votes
from rewardkit.stats.small_samples import share_bounds

WEEK_S = 7 * 86_400.0
SURE = 0.01  # p value under which a flag is raised
LEAST = 10  # judgments below which nothing is flagged


@dataclass(frozen=True, kw_only=True)
class Week:
    """Seven days from `start` (unix seconds): agreement with the others' majority, and gold accuracy."""

    start: float
    agreement: Share
    gold: Share


@dataclass(frozen=True, kw_only=True)
class AnnotatorQuality:
    """One annotator's figures.

    Attributes:
        num_judgments: all judgments, checks and skips included.
        left: choices of the left side among decided judgments whose sides are known; left_p two-sided against a half.
        longer: choices of the longer response among decided judgments of unequal length.
        median_s: median active seconds of the timed judgments, NaN without any.
        fast: timed judgments under one second per TOO_FAST_CHARACTERS_PER_S characters of the two responses.
        ties, both_bad: among judgments that are no skip; skips among all.
        consistency: repeated items answered as the first time.
        gold: items with a known answer that were answered so.
        majority: collected votes equal to the most frequent answer of the others on the item, where there is one.
        weeks: agreement and gold accuracy by week, empty without times.
        drift: change per week of the agreement with the majority, over that of the others in the same weeks; drift_p
            its p value (trend test).
        flags: what stands out, in words.
    """

    name: str
    num_judgments: int
    left: Share
    left_p: float
    longer: Share
    median_s: float
    fast: Share
    ties: Share
    both_bad: Share
    skips: Share
    consistency: Share
    gold: Share
    majority: Share
    weeks: tuple[Week, ...]
    drift: float
    drift_p: float
    flags: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        plain: dict[str, object] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            plain[name] = value.as_dict() if isinstance(value, Share) else value
        plain["flags"] = list(self.flags)
        plain["weeks"] = [
            {"start": week.start, "agreement": week.agreement.as_dict(), "gold": week.gold.as_dict()}
            for week in self.weeks
        ]
        return plain


@dataclass(frozen=True, kw_only=True)
class Marks:
    """For each judgment (N,): a pair of arrays per figure, (is counted, is a hit)."""

    left: tuple[np.ndarray, np.ndarray]
    longer: tuple[np.ndarray, np.ndarray]
    fast: tuple[np.ndarray, np.ndarray]
    ties: tuple[np.ndarray, np.ndarray]
    both_bad: tuple[np.ndarray, np.ndarray]
    skips: tuple[np.ndarray, np.ndarray]
    consistency: tuple[np.ndarray, np.ndarray]
    gold: tuple[np.ndarray, np.ndarray]
    majority: tuple[np.ndarray, np.ndarray]


def annotator_quality(votes: Votes) -> tuple[AnnotatorQuality, ...]:
    """Figures of every annotator with a judgment, in the order of `votes.annotators`."""
    size = len(votes.annotators)
    marks = mark(votes)
    calendar = Calendar.of(votes, marks)
    tables = {
        name: (
            np.bincount(votes.annotator[counted & hit], minlength=size),
            np.bincount(votes.annotator[counted], minlength=size),
        )
        for name, (counted, hit) in ((name, getattr(marks, name)) for name in Marks.__dataclass_fields__)
    }
    order = np.argsort(votes.annotator, kind="stable")
    bounds = np.searchsorted(votes.annotator[order], np.arange(size + 1))
    qualities: list[AnnotatorQuality] = []
    for index, name in enumerate(votes.annotators):
        mine = order[bounds[index] : bounds[index + 1]]
        if not len(mine):
            continue
        shares = {figure: share(int(hits[index]), int(totals[index])) for figure, (hits, totals) in tables.items()}
        rest = {
            figure: (int(hits.sum() - hits[index]), int(totals.sum() - totals[index]))
            for figure, (hits, totals) in tables.items()
        }
        drift, drift_p = calendar.drift(index)
        timed = votes.seconds[mine]
        timed = timed[timed > 0]
        left_p = sign_test(shares["left"].hits, shares["left"].total)
        qualities.append(
            AnnotatorQuality(
                name=name,
                num_judgments=len(mine),
                left_p=left_p,
                median_s=float(np.median(timed)) if len(timed) else float("nan"),
                weeks=calendar.weeks(index),
                drift=drift,
                drift_p=drift_p,
                flags=tuple(_flags(shares, rest, left_p, drift, drift_p)),
                **shares,
            )
        )
    return tuple(qualities)


def mark(votes: Votes) -> Marks:
    """Says for each judgment which figures count it and whether it is a hit in each."""
    choice, item = votes.choice, votes.item
    is_a, is_b = choice == CHOICE_CODES["a"], choice == CHOICE_CODES["b"]
    decided, judged = is_a | is_b, choice < NUM_CHOICES
    length_a, length_b = votes.item_length_a[item], votes.item_length_b[item]
    gold = votes.item_gold[item]
    repeat = votes.kind == KIND_CODES["repeat"]
    timed = votes.seconds > 0
    first, again = _repeats(votes)
    agreed, comparable = _others_majority(votes)
    everything = np.ones(len(votes), dtype=bool)
    return Marks(
        left=(decided & (votes.shown_left >= 0), np.where(is_a, 0, 1) == votes.shown_left),
        longer=(decided & (length_a != length_b), is_a == (length_a > length_b)),
        fast=(timed, votes.seconds < (length_a + length_b) / TOO_FAST_CHARACTERS_PER_S),
        ties=(judged, choice == CHOICE_CODES["tie"]),
        both_bad=(judged, choice == CHOICE_CODES["both_bad"]),
        skips=(everything, choice == CHOICE_CODES["skip"]),
        consistency=(again, choice == first),
        gold=(judged & (gold >= 0) & ~repeat, choice == gold),
        majority=(comparable, agreed),
    )


def _repeats(votes: Votes) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the first answer to what a judgment repeats, and (N,) whether it is a repeat with both answers given."""
    repeat = votes.kind == KIND_CODES["repeat"]
    key = votes.item.astype(np.int64) * max(len(votes.annotators), 1) + votes.annotator
    firsts = np.flatnonzero(~repeat)
    firsts = firsts[np.argsort(key[firsts], kind="stable")]
    answer = np.full(len(votes), -1)
    if len(firsts):
        position = np.minimum(np.searchsorted(key[firsts], key), len(firsts) - 1)
        answer = np.where(key[firsts][position] == key, votes.choice[firsts[position]], -1)
    answered = (answer >= 0) & (answer < NUM_CHOICES)
    return answer, repeat & answered & (votes.choice < NUM_CHOICES)


def _others_majority(votes: Votes) -> tuple[np.ndarray, np.ndarray]:
    """(N,) whether a vote equals the others' single most frequent answer, and (N,) whether there is one."""
    collected = np.flatnonzero(votes.is_collected & (votes.choice < NUM_CHOICES))
    others = choice_counts(votes.where(collected))[votes.item[collected]]
    others[np.arange(len(collected)), votes.choice[collected]] -= 1
    most = others.max(axis=1, initial=0)
    single = (most > 0) & ((others == most[:, None]).sum(axis=1) == 1)
    agreed, comparable = np.zeros(len(votes), dtype=bool), np.zeros(len(votes), dtype=bool)
    comparable[collected] = single
    agreed[collected] = others.argmax(axis=1) == votes.choice[collected]
    return agreed, comparable


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Hits and totals (R, W) by annotator and week, of agreement with the majority and of gold; weeks from `start`."""

    start: float
    agreed: np.ndarray
    compared: np.ndarray
    right: np.ndarray
    on_gold: np.ndarray
    judged: np.ndarray

    @classmethod
    def of(cls, votes: Votes, marks: Marks) -> Calendar:
        """Counts the judgments that have a time."""
        timed = votes.created_at > 0
        start = float(votes.created_at[timed].min()) if timed.any() else 0.0
        week = np.where(timed, (votes.created_at - start) // WEEK_S, 0).astype(np.int64)
        width, size = int(week.max(initial=0)) + 1, len(votes.annotators)

        def table(mask: np.ndarray) -> np.ndarray:
            cells = votes.annotator[mask].astype(np.int64) * width + week[mask]
            return np.bincount(cells, minlength=size * width).reshape(size, width)

        (compared, agreed), (on_gold, right) = marks.majority, marks.gold
        return cls(
            start=start,
            agreed=table(timed & compared & agreed),
            compared=table(timed & compared),
            right=table(timed & on_gold & right),
            on_gold=table(timed & on_gold),
            judged=table(timed),
        )

    def weeks(self, index: int) -> tuple[Week, ...]:
        """The weeks in which an annotator judged."""
        return tuple(
            Week(
                start=self.start + number * WEEK_S,
                agreement=share(int(self.agreed[index, number]), int(self.compared[index, number])),
                gold=share(int(self.right[index, number]), int(self.on_gold[index, number])),
            )
            for number in np.flatnonzero(self.judged[index]).tolist()
        )

    def drift(self, index: int) -> tuple[float, float]:
        """Computes the trend of an annotator's agreement over the others' in the same weeks, and its p value."""
        others = self.compared.sum(axis=0) - self.compared[index]
        shared = np.flatnonzero((others > 0) & (self.compared[index] > 0))
        rate = (self.agreed.sum(axis=0) - self.agreed[index])[shared] / others[shared]
        totals = self.compared[index][shared]
        return trend_test(shared.astype(np.float64), self.agreed[index][shared], totals, totals * rate)


def _is_below(share: Share, least: float) -> bool:
    """Whether a share is shown to be below, exactly: checks are few, and two misses of two are no proof."""
    return share.total > 0 and share_bounds(share.value, share.total)[1] < least


def _flags(
    shares: dict[str, Share], rest: dict[str, tuple[int, int]], left_p: float, drift: float, drift_p: float
) -> list[str]:
    flags: list[str] = []

    def stands_out(name: str, least: float) -> bool:
        own, (hits, total) = shares[name], rest[name]
        if own.total < LEAST or total < LEAST:
            return False
        return abs(own.value - hits / total) >= least and difference_test(own.hits, own.total, hits, total) < SURE

    def others(name: str) -> str:
        hits, total = rest[name]
        return f"others {hits / total:.0%}"

    left = shares["left"]
    if left.total >= LEAST and left_p < SURE and abs(left.value - 0.5) >= 0.1:
        side = "left" if left.value > 0.5 else "right"
        times = left.hits if side == "left" else left.total - left.hits
        flags.append(f"chose the {side} side {times} times of {left.total}")
    if stands_out("longer", 0.15):
        flags.append(f"chose the longer response {shares['longer']}, {others('longer')}")
    if shares["fast"].total >= LEAST and shares["fast"].value >= 0.2:
        flags.append(f"faster than anyone reads: {shares['fast']}")
    for name, words in (("ties", "ties"), ("both_bad", "both bad"), ("skips", "skips")):
        if stands_out(name, 0.2):
            flags.append(f"{words} {shares[name]}, {others(name)}")
    if _is_below(shares["consistency"], 0.75):
        flags.append(f"answered repeated pairs the same way {shares['consistency']}")
    if _is_below(shares["gold"], 0.75):
        flags.append(f"right on gold items {shares['gold']}")
    if stands_out("majority", 0.1) and shares["majority"].value * rest["majority"][1] < rest["majority"][0]:
        flags.append(f"agrees with the others' majority {shares['majority']}, {others('majority')}")
    if drift_p < SURE and drift < 0 and shares["majority"].total >= LEAST:
        flags.append(f"agreement falls by {-drift:.1%} a week against the others")
    return flags
