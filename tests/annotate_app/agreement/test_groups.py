"""Agreement by group: figures worked by hand, limits, and small groups without figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from annotate_app.agreement.coefficients import Totals, fleiss_kappa, percent_agreement
from annotate_app.agreement.reports.groups import group_agreement, group_people
from annotate_app.agreement.vote_categories import overall_ballots
from annotate_app.ranking.by_group import rank_by_group
from annotate_app.ranking.leaderboard import fit_leaderboard
from annotate_app.votes import Votes

COUNTRY = {"ann": "KE", "ben": "KE", "cid": "IN", "dan": "IN", "eve": "US"}
FIELDS = {name: {"country": country} for name, country in COUNTRY.items()} | {"fay": {}}


@pytest.fixture
def votes(make_votes: Callable[..., Votes]) -> Votes:
    """Two items: KE says a, a and a, b; IN says b, b and b, tie; eve and fay say a."""
    rows = {
        "i1": {"ann": "a", "ben": "a", "cid": "b", "dan": "b", "eve": "a", "fay": "a"},
        "i2": {"ann": "a", "ben": "b", "cid": "b", "dan": "tie"},
    }
    triples = [(item, name, choice) for item, row in rows.items() for name, choice in row.items()]
    return make_votes(*zip(*triples, strict=True))


def test_figures_worked_by_hand(votes: Votes) -> None:
    grouping = group_people(votes, FIELDS, "country", least_people=2)
    assert [(group.name, group.num_people, group.num_votes, group.is_small) for group in grouping.groups] == [
        ("IN", 2, 4, False),
        ("KE", 2, 4, False),
        ("US", 1, 1, True),
    ]
    assert grouping.num_unknown == 1
    pairs = {(pair.one, pair.other): pair for pair in group_agreement(votes, grouping, num_resamples=0)}
    assert set(pairs) == {("IN", "IN"), ("IN", "KE"), ("KE", "KE")}  # US is too small
    # within: i1 agrees, i2 does not: 1/2. between: i1 no pair of 4 agrees; i2 (b, tie) with (a, b): 1 of 4: mean 1/8
    assert pairs["KE", "KE"].percent.value == pytest.approx(0.5)
    assert pairs["IN", "KE"].percent.value == pytest.approx(0.125)
    # mean shares: KE a 3/4, b 1/4; IN b 3/4, tie 1/4. By chance within KE 10/16, between b b 3/16
    assert pairs["KE", "KE"].kappa.value == pytest.approx((0.5 - 0.625) / (1 - 0.625))
    assert pairs["IN", "KE"].kappa.value == pytest.approx((0.125 - 0.1875) / (1 - 0.1875))
    # both prefer an answer on i1 alone: KE is divided on i2
    assert (pairs["IN", "KE"].opposed.hits, pairs["IN", "KE"].opposed.total) == (1, 1)
    assert pairs["IN", "KE"].opposed_items == ("i1",)
    assert pairs["KE", "KE"].opposed.total == 0
    assert np.isnan(pairs["IN", "KE"].percent.low)  # two comparisons are none to resample


def test_one_group_of_all_is_the_usual_report(llmfao_votes: Votes) -> None:
    fields = {name: {"all": "yes"} for name in llmfao_votes.annotators}
    (pair,) = group_agreement(llmfao_votes, group_people(llmfao_votes, fields, "all"), num_resamples=200)
    ballots = overall_ballots(llmfao_votes.counted())
    totals = Totals.of(ballots.nominal_tally.counts)
    assert pair.percent.value == pytest.approx(float(percent_agreement(totals)))
    assert pair.kappa.value == pytest.approx(float(fleiss_kappa(totals)))
    assert pair.percent.low < pair.percent.value < pair.percent.high


def test_groups_by_chance_agree_between_as_within(llmfao_votes: Votes) -> None:
    gaps = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        fields = {name: {"coin": str(rng.integers(2))} for name in llmfao_votes.annotators}
        grouping = group_people(llmfao_votes, fields, "coin")
        pairs = group_agreement(llmfao_votes, grouping, num_resamples=0)
        within = [pair.percent.value for pair in pairs if pair.one == pair.other]
        gaps += [pair.percent.value - float(np.mean(within)) for pair in pairs if pair.one != pair.other]
    assert abs(np.mean(gaps)) < 3 * np.std(gaps, ddof=1) / np.sqrt(len(gaps))


def test_a_ranking_of_a_group_is_that_of_its_votes(llmfao_votes: Votes) -> None:
    half = {name: {"half": "one" if number % 2 else "other"} for number, name in enumerate(llmfao_votes.annotators)}
    grouping = group_people(llmfao_votes, half, "half")
    rankings = {ranking.name: ranking for ranking in rank_by_group(llmfao_votes, grouping, num_resamples=0)}
    keep = np.array([half[name]["half"] == "one" for name in llmfao_votes.annotators])
    alone = fit_leaderboard(llmfao_votes.where(keep[llmfao_votes.annotator]), num_resamples=0)
    assert rankings["one"].leaderboard.standings == alone.standings
    assert rankings["one"].num_people + rankings["other"].num_people == 124


def test_a_field_that_nobody_has_is_refused(votes: Votes) -> None:
    with pytest.raises(ValueError, match="field is 'age', people have country"):
        group_people(votes, FIELDS, "age")
    with pytest.raises(ValueError, match="least_people is 0"):
        group_people(votes, FIELDS, "country", least_people=0)
