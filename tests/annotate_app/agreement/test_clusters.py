"""Pairs of one ranking hang together: intervals are over comparisons, so they are wider than over pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from annotate_app.agreement.reports.groups import group_agreement, group_people
from annotate_app.agreement.reports.report import agreement_report
from annotate_app.ranking.leaderboard import fit_leaderboard
from annotate_app.votes import CHOICE_CODES, Votes


def ranked_votes(num_comparisons: int = 60, seed: int = 0) -> Votes:
    """Two people rank four models in each comparison; in two of five the second turns the whole order round."""
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    item, annotator, score = [], [], []
    for comparison in range(num_comparisons):
        order = np.argsort(np.argsort(np.arange(4) + rng.normal(0, 1.5, 4)))
        turned = rng.random() < 0.4
        for person in range(2):
            ranks = -order if turned and person else order
            for number, (i, j) in enumerate(pairs):
                item.append(comparison * len(pairs) + number)
                annotator.append(person)
                score.append(-1 if ranks[i] < ranks[j] else 1)
    items = num_comparisons * len(pairs)
    values = np.array(score, dtype=np.int8)
    return Votes(
        items=tuple(f"c{number // 6}#{number % 6}" for number in range(items)),
        annotators=("ann", "bob"),
        sources=tuple("wxyz"),
        item=np.array(item, dtype=np.int32),
        annotator=np.array(annotator, dtype=np.int32),
        choice=np.where(values < 0, CHOICE_CODES["a"], CHOICE_CODES["b"]).astype(np.int8),
        score=values,
        kind=np.zeros(len(item), dtype=np.int8),
        shown_left=np.full(len(item), -1, dtype=np.int8),
        seconds=np.zeros(len(item), dtype=np.float32),
        created_at=np.zeros(len(item)),
        criteria={},
        item_source_a=np.tile([i for i, _ in pairs], num_comparisons).astype(np.int32),
        item_source_b=np.tile([j for _, j in pairs], num_comparisons).astype(np.int32),
        item_length_a=np.ones(items, dtype=np.int32),
        item_length_b=np.ones(items, dtype=np.int32),
        item_gold=np.full(items, -1, dtype=np.int8),
        item_cluster=np.repeat(np.arange(num_comparisons), len(pairs)).astype(np.int32),
    )


def test_intervals_of_agreement_are_over_comparisons() -> None:
    votes = ranked_votes()
    alone = replace(votes, item_cluster=np.arange(len(votes.items), dtype=np.int32))
    clustered, single = (agreement_report(one, num_resamples=1000) for one in (votes, alone))
    for name in ("percent", "alpha_nominal", "alpha_interval"):
        wide, narrow = (report.overall.estimates[name] for report in (clustered, single))
        assert wide.value == narrow.value
        # All six pairs of a comparison agree or none does: sqrt(6) = 2.4 times the error.
        assert 2.0 < (wide.high - wide.low) / (narrow.high - narrow.low) < 2.9
        assert 2.2 < wide.standard_error / narrow.standard_error < 2.7
    wide, narrow = clustered.pairs.mean_kappa, single.pairs.mean_kappa
    assert (wide.high - wide.low) > 2.0 * (narrow.high - narrow.low)
    assert clustered.conger_kappa.high - clustered.conger_kappa.low > 2.0 * (
        single.conger_kappa.high - single.conger_kappa.low
    )


def test_intervals_of_groups_are_over_comparisons() -> None:
    votes = ranked_votes()
    alone = replace(votes, item_cluster=np.arange(len(votes.items), dtype=np.int32))
    fields = {"ann": {"country": "KE"}, "bob": {"country": "IN"}}
    (wide,), (narrow,) = (
        [pair for pair in group_agreement(one, grouping) if pair.one != pair.other]
        for one, grouping in ((each, group_people(each, fields, "country", least_people=1)) for each in (votes, alone))
    )
    assert wide.percent.value == narrow.percent.value
    assert 2.0 < (wide.percent.high - wide.percent.low) / (narrow.percent.high - narrow.percent.low) < 2.9


def test_few_comparisons_of_many_pairs_are_few() -> None:
    votes = ranked_votes(8)
    agreed = votes.where(votes.annotator == 0)
    twice = replace(
        votes,
        score=np.tile(agreed.score.reshape(-1, 6), 2).reshape(-1),
        choice=np.tile(agreed.choice.reshape(-1, 6), 2).reshape(-1),
    )
    report = agreement_report(twice, num_resamples=1000)
    percent = report.overall.estimates["percent"]
    # Eight comparisons of which all agree, by Jeffreys' prior: Beta(8.5, 0.5), as eight pairs on their own would have.
    assert percent.value == 1.0
    assert percent.low == pytest.approx(beta.ppf(0.025, 8.5, 0.5), abs=0.02)
    (pair,) = [
        one
        for one in group_agreement(
            twice, group_people(twice, {"ann": {"g": "x"}, "bob": {"g": "y"}}, "g", least_people=1)
        )
        if one.one != one.other
    ]
    assert np.isnan(pair.percent.low)  # eight are too few to resample


def test_intervals_of_the_leaderboard_are_over_comparisons() -> None:
    votes = ranked_votes(30)
    clustered = fit_leaderboard(votes, num_resamples=200).standings
    alone = fit_leaderboard(
        replace(votes, item_cluster=np.arange(len(votes.items), dtype=np.int32)), num_resamples=200
    ).standings
    assert [one.name for one in clustered] == [one.name for one in alone]
    assert [one.log_strength for one in clustered] == [one.log_strength for one in alone]
    widths = [(one.high - one.low, other.high - other.low) for one, other in zip(clustered, alone, strict=True)]
    assert all(one > 0 and other > 0 and one != other for one, other in widths)
