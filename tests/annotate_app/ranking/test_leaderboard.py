from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from toy_games import played

from annotate_app.ranking.leaderboard import fit_leaderboard
from annotate_app.votes import Votes


def test_counts_rates_and_order_by_hand(make_votes: Callable[..., Votes]) -> None:
    games = [("m", "n", "a")] * 3 + [("n", "m", "a")] + [("n", "m", "tie"), ("m", "n", "both_bad"), ("m", "n", "skip")]
    board = fit_leaderboard(played(make_votes, games, ("m", "n")), num_resamples=0)
    assert board.sources == ("m", "n")
    assert board.wins.tolist() == [[0, 3], [1, 0]]
    assert board.tied.tolist() == [[0, 2], [2, 0]]
    first, second = board.standings
    assert (first.name, first.num_votes, first.num_items, first.win_rate) == ("m", 6, 6, pytest.approx(4 / 6))
    assert first.log_strength - second.log_strength == pytest.approx(np.log(2))
    assert board.win_rates[0, 1] == pytest.approx(4 / 6)
    assert (board.num_votes, board.num_left_out, board.connected) == (6, 0, True)
    assert board.notes == (
        "fewer than 10 comparisons of m, n: ranked with the rest; intervals are from the Fisher information, each "
        "comparison counted as one vote",
    )
    assert first.rank == second.rank == 1  # six votes cannot tell them apart


def test_clear_differences_get_ranks(make_votes: Callable[..., Votes]) -> None:
    rng = np.random.default_rng(0)
    games = []
    for a, b, p in (("s", "m", 0.9), ("m", "w", 0.9), ("s", "w", 0.97)):
        games += [(a, b, "a" if rng.random() < p else "b") for _ in range(150)]
    board = fit_leaderboard(played(make_votes, games, ("w", "s", "m")))
    assert [(standing.name, standing.rank) for standing in board.standings] == [("s", 1), ("m", 2), ("w", 3)]
    for standing in board.standings:
        assert standing.low < standing.log_strength < standing.high
        width = standing.high - standing.low
        assert width == pytest.approx(2 * 1.96 * standing.standard_error, rel=0.35)


def test_votes_on_one_item_widen_the_interval(make_votes: Callable[..., Votes]) -> None:
    # 30 items judged by 10 people who all say the same: 30 independent results, not 300.
    rng = np.random.default_rng(1)
    answers = ["a" if rng.random() < 0.6 else "b" for _ in range(30)]
    votes = make_votes(
        [item for item in range(30) for _ in range(10)],
        list(range(10)) * 30,
        [answer for answer in answers for _ in range(10)],
        sources=("m", "n"),
        item_source_a=np.zeros(30, dtype=np.int32),
        item_source_b=np.ones(30, dtype=np.int32),
    )
    items, single = fit_leaderboard(votes).standings[0], fit_leaderboard(votes, num_resamples=0).standings[0]
    assert (items.high - items.low) / (single.high - single.low) == pytest.approx(np.sqrt(10), rel=0.3)


def test_groups_that_never_met_are_said_and_kept_apart(make_votes: Callable[..., Votes]) -> None:
    games = [("m", "n", "a"), ("n", "m", "a"), ("o", "p", "a"), ("p", "o", "a"), ("p", "o", "a"), ("o", "q", "tie")]
    board = fit_leaderboard(played(make_votes, games, ("m", "n", "o", "p", "q")), num_resamples=0)
    assert not board.connected
    assert "2 groups" in board.notes[0]
    assert [(standing.name, standing.group) for standing in board.standings][:3] == [("p", 0), ("o", 0), ("q", 0)]
    assert sum(s.log_strength for s in board.standings if s.group == 1) == pytest.approx(0)


@pytest.mark.parametrize("ties", ["half", "davidson"])
def test_a_model_that_only_wins_gets_a_finite_strength_and_a_note(ties: str, make_votes: Callable[..., Votes]) -> None:
    games = [("m", "n", "a")] * 5 + [("n", "o", "a"), ("o", "n", "a"), ("n", "o", "tie")]
    board = fit_leaderboard(played(make_votes, games, ("m", "n", "o")), ties=ties, num_resamples=50)
    assert "only ever better or only ever worse than the rest: m;" in board.notes[0]
    assert board.standings[0].name == "m"
    assert all(np.isfinite([s.log_strength, s.low, s.high]).all() for s in board.standings)


def test_unnamed_sources_and_a_model_against_itself_are_left_out(make_votes: Callable[..., Votes]) -> None:
    games = [("m", "n", "a"), ("n", "m", "a"), ("", "m", "a"), ("m", "m", "b")]
    board = fit_leaderboard(played(make_votes, games, ("", "m", "n")), num_resamples=0)
    assert (board.num_votes, board.num_left_out, board.sources) == (2, 2, ("m", "n"))
    nothing = fit_leaderboard(make_votes("p", "x", ("a",)))
    assert (nothing.standings, nothing.num_left_out) == ((), 1)
    assert fit_leaderboard(make_votes([], [], [])).standings == ()


def test_unknown_treatment_of_ties_is_named(make_votes: Callable[..., Votes]) -> None:
    with pytest.raises(ValueError, match="'rao', allowed are half, davidson"):
        fit_leaderboard(make_votes([], [], []), ties="rao")


def test_llmfao_leaderboard(llmfao_votes: Votes) -> None:
    board = fit_leaderboard(llmfao_votes, num_resamples=60)
    assert (len(board.standings), board.num_votes, board.connected, board.converged) == (59, 8931, True, True)
    first, last = board.standings[0], board.standings[-1]
    assert (first.name, first.num_votes, round(first.log_strength, 5)) == ("GPT 4", 158, 0.99087)
    assert (last.name, round(last.log_strength, 5)) == ("Dolly v2 (3B)", -0.88846)
    davidson = fit_leaderboard(llmfao_votes, ties="davidson", num_resamples=0)
    assert davidson.standings[0].name == "GPT 4"
    assert davidson.log_tie[0] == pytest.approx(0.3918, abs=1e-3)
