"""Agreement on rankings by hand numbers, and against Friedman's statistic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, spearmanr

from annotate_app.agreement.rankings import kendall_w, mid_ranks, ranking_agreement
from rewardkit.data.records import Judgment, Ranks, first_choice


def judged(key: str, who: str, ranks: Ranks) -> Judgment:
    choice, strength = first_choice(ranks)
    return Judgment(comparison_id=key, annotator=who, choice=choice, strength=strength, ranks=ranks)


def test_w_by_hand() -> None:
    # Three rankings of three: sums 4, 6, 8 of a mean of 6, so S = 8; W = 12 * 8 / (9 * 24) = 4/9.
    assert kendall_w([(1, 2, 3), (1, 2, 3)]) == 1.0
    assert kendall_w([(1, 2, 3), (1, 3, 2), (2, 1, 3)]) == pytest.approx(4 / 9)
    assert kendall_w([(1, 2, 3), (3, 2, 1)]) == 0.0
    assert np.isnan(kendall_w([(1, 1, 1), (1, 1, 1)]))


def test_what_was_not_ranked_is_tied_at_the_end() -> None:
    assert mid_ranks((2, 1, None, None)).tolist() == [2.0, 1.0, 3.5, 3.5]
    assert mid_ranks((1, 1, 2, None)).tolist() == [1.5, 1.5, 3.0, 4.0]
    assert kendall_w([(1, None, None), (1, None, None)]) == pytest.approx(1.0)


def test_w_is_friedman_s_statistic_and_the_mean_spearman_is_its_excess() -> None:
    rng = np.random.default_rng(3)
    for size, people in ((3, 4), (5, 3), (7, 6)):
        table = [tuple(int(rank) for rank in rng.integers(1, size + 1, size)) for _ in range(people)]
        mids = np.array([mid_ranks(row) for row in table])
        statistic = friedmanchisquare(*mids.T).statistic
        assert kendall_w(table) == pytest.approx(statistic / (people * (size - 1)))
    whole = [tuple(int(rank) for rank in rng.permutation(5) + 1) for _ in range(4)]
    pairs = [spearmanr(one, other).statistic for at, one in enumerate(whole) for other in whole[at + 1 :]]
    [found] = ranking_agreement([judged("c", str(at), row) for at, row in enumerate(whole)]).comparisons
    assert found.spearman == pytest.approx(np.mean(pairs))


def test_all_comparisons_with_intervals_over_them() -> None:
    judgments = [judged(f"c{number}", who, (1, 2, 3)) for number in range(30) for who in "ab"]
    judgments += [judged(f"c{number}", "c", (1, 2, 3) if number % 2 else (3, 2, None)) for number in range(30)]
    judgments.append(Judgment(comparison_id="c0", annotator="d", choice="skip"))
    judgments.append(judged("c0", "a", (3, 2, 1)))  # again: the first counts
    found = ranking_agreement(judgments, num_resamples=500)
    assert (found.num_rankings, found.num_partial, len(found.comparisons)) == (90, 15, 30)
    odd, even = 1.0, kendall_w([(1, 2, 3), (1, 2, 3), (3, 2, None)])
    assert found.w.value == pytest.approx((odd + even) / 2)
    assert found.w.low < found.w.value < found.w.high
    # Two people agree on all three pairs; the third, who turned the first two round, with each of them on two.
    assert found.comparisons[1].pairs == 1.0
    assert found.comparisons[0].pairs == pytest.approx((3 + 2 + 2) / 9)
    assert found.as_dict()["kendall_w"]["value"] == found.w.value  # type: ignore[index]


def test_few_comparisons_have_no_interval_and_none_has_no_figure() -> None:
    assert np.isnan(ranking_agreement([]).w.value)
    found = ranking_agreement([judged("c", who, (1, 2, 3)) for who in "ab"])
    assert found.w.value == 1.0
    assert np.isnan(found.w.low)
