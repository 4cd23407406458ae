"""Agreement on marked words, by flag: character F1 of pairs of people, and Krippendorff's alpha over characters.

A person who judged a response and marked nothing on it with a flag says that none of its characters deserves it. Spans
of one person and flag are taken as the set of characters they cover.

F1 is 2 |A and B| / (|A| + |B|), summed over every two people on every response before it is divided: the F-measure that
Hripcsak and Rothschild (2005) take for agreement where what nobody marks has no natural count, over characters as in
the span tasks of WMT (Blain et al. 2023) and error span annotation (Kocmi et al. 2024). It does not ask for chance.
Alpha is the nominal one with every character of a response as a unit and two categories, marked or not (Krippendorff
2011); it is not his alpha for unitising, which also weighs lengths of gaps.

Characters of a response, and the two responses of a comparison, are not independent, so intervals resample comparisons.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotate_app.agreement.bootstrap import Estimate, resample_sums
from annotate_app.agreement.coefficients import divide
from annotate_app.votes import Votes
from rewardkit.data.records import Span
from rewardkit.stats.small_samples import LEAST

Marks = Mapping[tuple[str, str], Sequence[Span]]
"""By comparison id and annotator, the words they marked."""


@dataclass(frozen=True, kw_only=True)
class SpanAgreement:
    """How far people agree on the words that deserve a flag.

    Attributes:
        num_spans: that were marked with it.
        num_responses: that two people judged or more; num_marked: of them, those on which anybody marked words.
        f1: of characters, of every two people.
        alpha: Krippendorff's, nominal, over characters.
    """

    flag: str
    num_spans: int
    num_responses: int
    num_marked: int
    f1: Estimate
    alpha: Estimate

    def as_dict(self) -> dict[str, object]:
        return {
            "flag": self.flag,
            "num_spans": self.num_spans,
            "num_responses": self.num_responses,
            "num_marked": self.num_marked,
            "f1": self.f1.as_dict(),
            "alpha": self.alpha.as_dict(),
        }


def span_agreement(
    votes: Votes, marks: Marks, flags: Sequence[str], *, num_resamples: int = 1000, seed: int = 0
) -> tuple[SpanAgreement, ...]:
    """The agreement on each flag, over the votes that count.

    Args:
        votes: of the project: they say who judged what, and how long the responses are.
        marks: of the same project; those of votes that do not count are left out.
        flags: to report, in this order; others that words were marked with come behind them.
        num_resamples: of comparisons behind the intervals; 0 for none.
        seed: of the resamples.
    """
    counted = votes.counted()
    people: defaultdict[int, set[str]] = defaultdict(set)
    for item, annotator in zip(counted.item.tolist(), counted.annotator.tolist(), strict=True):
        people[item].add(votes.annotators[annotator])
    shared = {item: names for item, names in people.items() if len(names) >= 2}
    others = {span.flag for spans in marks.values() for span in spans} - set(flags)
    return tuple(_of_flag(flag, votes, marks, shared, num_resamples, seed) for flag in [*flags, *sorted(others)])


def _of_flag(
    flag: str, votes: Votes, marks: Marks, shared: Mapping[int, set[str]], num_resamples: int, seed: int
) -> SpanAgreement:
    rows, num_spans, num_marked = [], 0, 0
    for item, names in shared.items():
        row = np.zeros(5)
        for side, lengths in (("a", votes.item_length_a), ("b", votes.item_length_b)):
            spans = [
                [span for span in marks.get((votes.items[item], name), ()) if (span.side, span.flag) == (side, flag)]
                for name in sorted(names)
            ]
            num_spans += sum(map(len, spans))
            num_marked += any(spans)
            row += _sums([_union(own) for own in spans], int(lengths[item]))
        rows.append(row)
    sums = np.array(rows).reshape(-1, 5)
    total = sums.sum(axis=0)
    drawn = None
    if num_resamples and num_marked >= LEAST:
        (drawn,) = resample_sums([sums], np.ones(len(sums), dtype=np.int64), num_resamples, np.random.default_rng(seed))
    f1, alpha = (
        Estimate.of_samples(float(formula(total[None])[0]), None if drawn is None else formula(drawn))
        for formula in (_f1, _alpha)
    )
    return SpanAgreement(
        flag=flag, num_spans=num_spans, num_responses=2 * len(shared), num_marked=num_marked, f1=f1, alpha=alpha
    )


def _union(spans: Iterable[Span]) -> list[tuple[int, int]]:
    """The ranges that spans cover, apart from one another."""
    ranges: list[tuple[int, int]] = []
    for start, end in sorted((span.start, span.end) for span in spans):
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], end))
        else:
            ranges.append((start, end))
    return ranges


def _sums(covered: Sequence[Sequence[tuple[int, int]]], length: int) -> np.ndarray:
    """What a response adds: 2 |A and B| and |A| + |B| over pairs, then what alpha needs of its characters.

    The last three are the sum of 2 k (m - k) / (m - 1) over characters that k of m people marked, the sum of k, and the
    number of values m L.
    """
    m = len(covered)
    steps = sorted(
        (place, change) for ranges in covered for start, end in ranges for place, change in ((start, 1), (end, -1))
    )
    both = apart = marked = 0.0
    k = at = 0
    for place, change in steps:
        size = place - at
        both += size * k * (k - 1)
        apart += size * 2 * k * (m - k) / (m - 1)
        marked += size * k
        k, at = k + change, place
    return np.array([both, (m - 1) * marked, apart, marked, float(m * length)])


def _f1(sums: np.ndarray) -> np.ndarray:
    return divide(sums[:, 0], sums[:, 1])


def _alpha(sums: np.ndarray) -> np.ndarray:
    observed, marked, values = sums[:, 2], sums[:, 3], sums[:, 4]
    return 1 - divide(observed, divide(2 * marked * (values - marked), values - 1))
