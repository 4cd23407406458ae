"""What leaderboard and win rates say where comparisons are few, or all went one way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from toy_games import played

from annotate_app.ranking.bradley_terry import TIES, Ties
from annotate_app.ranking.leaderboard import fit_leaderboard
from annotate_app.ranking.win_rates import fit_win_rates
from annotate_app.votes import Votes

Maker = Callable[..., Votes]


def on_one_item(make_votes: Maker, answers: list[str]) -> Votes:
    """Votes of as many people on a single comparison of m and n."""
    return make_votes(
        [0] * len(answers),
        list(range(len(answers))),
        answers,
        sources=("m", "n"),
        item_source_a=np.zeros(1, dtype=np.int32),
        item_source_b=np.ones(1, dtype=np.int32),
    )


@pytest.mark.parametrize("num_resamples", [0, 500])
@pytest.mark.parametrize("ties", TIES)
def test_one_vote_ranks_nobody(ties: Ties, num_resamples: int, make_votes: Maker) -> None:
    board = fit_leaderboard(played(make_votes, [("m", "n", "a")], ("m", "n")), ties=ties, num_resamples=num_resamples)
    first, second = board.standings
    assert (first.rank, second.rank) == (1, 1)
    # 1.25 wins of 1.5: log odds log 5, its variance 1 / (1.5 5/6 1/6) = 4.8, half of both for a centred strength
    assert first.log_strength == pytest.approx(np.log(5) / 2)
    assert first.high - first.low == pytest.approx(1.96 * np.sqrt(4.8), rel=1e-4)
    assert "fewer than 10 comparisons of m, n" in board.notes[-1]


def test_fifty_votes_on_one_comparison_are_one_comparison(make_votes: Maker) -> None:
    votes = on_one_item(make_votes, ["a"] * 50)
    for num_resamples in (0, 200):
        first, second = fit_leaderboard(votes, num_resamples=num_resamples).standings
        assert (first.rank, second.rank) == (1, 1)
        assert first.low < second.high
    (pair,) = fit_win_rates(votes, num_resamples=200).pairs
    assert (pair.rate.value, pair.rate.low, pair.rate.high) == pytest.approx((1.0, 0.025, 1.0))
    assert not pair.is_decided


@pytest.mark.parametrize("num_items", [5, 50])
def test_a_winner_of_every_comparison_has_no_narrow_interval_from_resamples(num_items: int, make_votes: Maker) -> None:
    games = [("m", "n", "a")] * num_items + [("m", "o", "a")] * num_items
    first, *_ = fit_leaderboard(played(make_votes, games, ("m", "n", "o")), num_resamples=200).standings
    assert first.num_items == 2 * num_items
    # resamples say the same 2 num_items times over; n and o each lost num_items + 0.25 of num_items + 0.5 times
    weight = (num_items + 0.5) * (odds := 0.25 / (num_items + 0.5)) * (1 - odds)
    # the covariance of strengths that sum to 0 on a star of two edges of that weight is 2 / (9 weight) at its centre
    assert first.high - first.low == pytest.approx(2 * 1.96 * np.sqrt(2 / (9 * weight)), rel=1e-3)


def test_models_that_all_beat_one_another_keep_their_bootstrap_beside_one_that_only_lost(make_votes: Maker) -> None:
    games = [("m", "n", "a"), ("m", "n", "b")] * 30 + [("m", "o", "a")] * 20
    board = fit_leaderboard(played(make_votes, games, ("m", "n", "o")), num_resamples=200)
    assert board.notes[-1].startswith("no spread among resamples of o;")


@pytest.mark.parametrize("num_items", [2, 5, 9])
def test_fewer_than_ten_comparisons_rank_nobody(num_items: int, make_votes: Maker) -> None:
    board = fit_leaderboard(played(make_votes, [("m", "n", "a")] * num_items, ("m", "n")), num_resamples=100)
    assert [standing.rank for standing in board.standings] == [1, 1]
    assert all(standing.high - standing.low > 2 for standing in board.standings)


def test_winning_all_of_many_comparisons_ranks_and_has_width(make_votes: Maker) -> None:
    board = fit_leaderboard(played(make_votes, [("m", "n", "a")] * 60, ("m", "n")), num_resamples=100)
    first, second = board.standings
    assert (first.name, first.rank, second.rank) == ("m", 1, 2)
    assert first.high - first.low > 1
    assert "no spread among resamples of m, n" in board.notes[-1]


def test_a_newcomer_with_two_comparisons_neither_leads_nor_trails(make_votes: Maker) -> None:
    games = [("m", "n", "a")] * 45 + [("m", "n", "b")] * 15 + [("x", "m", "a"), ("m", "x", "b")]
    board = fit_leaderboard(played(make_votes, games, ("m", "n", "x")), num_resamples=200)
    first = board.standings[0]
    assert (first.name, first.rank) == ("x", 1)
    assert first.high - first.low > 2
    assert board.standings[1].rank == 1  # it is ahead of m by two votes


def test_one_tie_is_no_proof_of_ties(make_votes: Maker) -> None:
    (pair,) = fit_win_rates(played(make_votes, [("m", "n", "tie")], ("m", "n"))).pairs
    assert (pair.rate.value, pair.tie_share.value) == (0.5, 1.0)
    assert pair.rate.high - pair.rate.low > 0.9
    assert (pair.tie_share.low, pair.tie_share.high) == pytest.approx((0.025, 1.0))
    assert pair.sentence() == "Not shown that people prefer m or n."


def test_two_comparisons_one_won_one_tied_say_little(make_votes: Maker) -> None:
    (pair,) = fit_win_rates(played(make_votes, [("m", "n", "a"), ("m", "n", "tie")], ("m", "n"))).pairs
    assert pair.rate.value == 0.75
    assert not pair.is_decided
