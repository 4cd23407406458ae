from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from toy_games import played

from annotate_app.ranking.win_rates import fit_win_rates
from annotate_app.votes import Votes

GAMES = [("m", "n", "a")] * 3 + [("n", "m", "a"), ("n", "m", "tie"), ("m", "n", "both_bad"), ("m", "n", "skip")]


def test_counts_and_rates_by_hand(make_votes: Callable[..., Votes]) -> None:
    found = fit_win_rates(played(make_votes, GAMES, ("m", "n")))
    (pair,) = found.pairs
    assert (pair.one, pair.other) == ("m", "n")
    assert (pair.wins, pair.losses, pair.ties, pair.both_bad) == (3, 1, 1, 1)
    assert (pair.num_votes, pair.num_items) == (6, 6)
    # three wins and half of two ties, of six votes
    assert pair.rate.value == pytest.approx(4 / 6)
    assert pair.tie_share.value == pytest.approx(2 / 6)
    assert pair.rate.low < 4 / 6 < pair.rate.high
    assert not pair.is_decided
    assert pair.sentence() == "Not shown that people prefer m or n."


def test_the_other_side_sees_the_opposite(make_votes: Callable[..., Votes]) -> None:
    swapped = {"a": "b", "b": "a"}
    games = [(b, a, swapped.get(choice, choice)) for a, b, choice in GAMES]
    assert fit_win_rates(played(make_votes, games, ("m", "n"))) == fit_win_rates(played(make_votes, GAMES, ("m", "n")))
    other = fit_win_rates(played(make_votes, GAMES, ("n", "m"))).pairs[0]
    assert (other.one, other.wins, other.losses) == ("n", 1, 3)
    assert other.rate.value == pytest.approx(2 / 6)


def test_a_clear_winner_is_named(make_votes: Callable[..., Votes]) -> None:
    games = [("m", "n", "b")] * 40 + [("m", "n", "a")] * 10
    (pair,) = fit_win_rates(played(make_votes, games, ("m", "n"))).pairs
    assert pair.rate.value == pytest.approx(0.2)
    # the binomial standard error is sqrt(0.2 0.8 / 50) = 0.0566
    assert pair.rate.low == pytest.approx(0.2 - 1.96 * 0.0566, abs=0.025)
    assert pair.rate.high == pytest.approx(0.2 + 1.96 * 0.0566, abs=0.025)
    assert pair.sentence() == "People prefer n to m."


def test_winning_every_vote_is_not_certainty(make_votes: Callable[..., Votes]) -> None:
    (pair,) = fit_win_rates(played(make_votes, [("m", "n", "a")] * 5, ("m", "n"))).pairs
    assert pair.rate.high == 1.0
    assert pair.rate.low == pytest.approx(0.025 ** (1 / 5))  # 0.478, Clopper and Pearson
    assert not pair.is_decided
    (pair,) = fit_win_rates(played(make_votes, [("m", "n", "a")] * 6, ("m", "n"))).pairs
    assert pair.is_decided  # 0.541


def test_votes_on_one_item_hang_together(make_votes: Callable[..., Votes]) -> None:
    # 20 items judged by 5 people who all say the same: 20 independent results, not 100
    answers = ["a"] * 12 + ["b"] * 8
    together = make_votes(
        [item for item in range(20) for _ in range(5)],
        list(range(5)) * 20,
        [answer for answer in answers for _ in range(5)],
        sources=("m", "n"),
        item_source_a=np.zeros(20, dtype=np.int32),
        item_source_b=np.ones(20, dtype=np.int32),
    )
    apart = played(make_votes, [("m", "n", answer) for answer in answers], ("m", "n"))
    widths = [(pair.rate.high - pair.rate.low) for votes in (together, apart) for pair in fit_win_rates(votes).pairs]
    assert widths[0] == pytest.approx(widths[1], rel=0.1)


def test_votes_without_two_named_models_are_counted_as_left_out(make_votes: Callable[..., Votes]) -> None:
    found = fit_win_rates(played(make_votes, [("m", "m", "a"), ("m", "", "a"), ("m", "n", "a")], ("m", "n", "")))
    assert (found.num_votes, found.num_left_out) == (1, 2)
    assert found.pairs[0].num_votes == 1
    assert found.pairs[0].rate.low == pytest.approx(0.025)  # one item excludes next to nothing


def test_three_models_are_three_pairs(make_votes: Callable[..., Votes]) -> None:
    games = [("m", "n", "a"), ("n", "o", "tie"), ("o", "m", "a"), ("m", "o", "a")]
    found = fit_win_rates(played(make_votes, games, ("m", "n", "o")), num_resamples=0)
    assert [(pair.one, pair.other) for pair in found.pairs] == [("m", "o"), ("m", "n"), ("n", "o")]
    assert [pair.rate.value for pair in found.pairs] == [0.5, 1.0, 0.5]


def test_nothing_voted_is_no_pair(make_votes: Callable[..., Votes]) -> None:
    assert fit_win_rates(played(make_votes, [("m", "n", "skip")], ("m", "n"))).pairs == ()
