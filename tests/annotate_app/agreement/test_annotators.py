from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from annotate_app.agreement.annotator_bootstrap import draw_blocks
from annotate_app.agreement.annotators import PairAgreement, annotator_agreements, pair_agreement
from annotate_app.agreement.vote_categories import overall_ballots
from annotate_app.votes import Votes


def random_votes(make_votes: Callable[..., Votes], num_items: int = 120, seed: int = 0) -> Votes:
    rng = np.random.default_rng(seed)
    rows = [
        (item, annotator, rng.choice(["a", "b", "tie", "both_bad"], p=[0.5, 0.2, 0.2, 0.1]))
        for item in range(num_items)
        for annotator in rng.permutation(5)[: rng.integers(1, 5)]
    ]
    return make_votes(*zip(*rows, strict=True))


def test_against_the_rest_equals_a_loop(make_votes: Callable[..., Votes]) -> None:
    votes = random_votes(make_votes)
    found = annotator_agreements(overall_ballots(votes), votes.annotators, 0, np.random.default_rng(0))
    assert len(found) == 5
    for index, person in enumerate(found):
        own, rest, agreed = [], [], []
        for item, choice in zip(
            votes.item[votes.annotator == index], votes.choice[votes.annotator == index], strict=True
        ):
            others = votes.choice[(votes.item == item) & (votes.annotator != index)]
            if len(others):
                own.append(np.eye(4)[choice])
                rest.append(np.bincount(others, minlength=4) / len(others))
                agreed.append((others == choice).mean())
        chance = float(np.mean(own, axis=0) @ np.mean(rest, axis=0))
        assert person.num_items == len(own)
        assert person.percent.value == pytest.approx(np.mean(agreed))
        assert person.kappa.value == pytest.approx((np.mean(agreed) - chance) / (1 - chance))


def test_intervals_against_the_rest_are_as_wide_as_resampling_says(make_votes: Callable[..., Votes]) -> None:
    votes = random_votes(make_votes)
    person = annotator_agreements(overall_ballots(votes), votes.annotators, 2000, np.random.default_rng(0))[0]
    agreed = []
    for item, choice in zip(votes.item[votes.annotator == 0], votes.choice[votes.annotator == 0], strict=True):
        others = votes.choice[(votes.item == item) & (votes.annotator != 0)]
        if len(others):
            agreed.append((others == choice).mean())
    error = np.std(agreed) / np.sqrt(len(agreed))
    assert person.percent.high - person.percent.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def pairs_of(votes: Votes) -> PairAgreement:
    ballots = overall_ballots(votes)
    return pair_agreement(ballots, votes.annotators, draw_blocks(ballots, 0, np.random.default_rng(0)))


def test_pair_columns_and_matrix(make_votes: Callable[..., Votes]) -> None:
    # x and y share p, q, r: same on p and q. z judged s alone.
    votes = make_votes("pqrpqrs", "xxxyyyz", ("a", "b", "a", "a", "b", "tie", "a"))
    pairs = pairs_of(votes)
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.num_items.tolist()) == ([0], [1], [3])
    # p_o = 2/3; x: a 2/3, b 1/3; y: a, tie, b 1/3 each: p_e = 2/9 + 1/9
    assert pairs.kappa.value[0] == pytest.approx((2 / 3 - 1 / 3) / (2 / 3))
    matrix = pairs.matrix(pairs.percent)
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx(2 / 3)
    assert np.isnan(matrix[2]).all()
    assert pairs.as_dict()["pairs"][0]["first"] == "x"


def test_pair_that_shares_only_both_bad_has_no_weighted_kappa(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes("pqpqr", "xxyyx", ("both_bad", "a", "a", "both_bad", "b"))
    pairs = pairs_of(votes)
    assert pairs.num_items.tolist() == [2]
    assert pairs.kappa.value[0] == pytest.approx(-1)  # never the same, and chance would give half
    assert np.isnan(pairs.kappa_quadratic.value[0])
