"""The stop rule: hand-made turns, the borders between stop, go on and cannot say."""

from __future__ import annotations

import math

import pytest

from annotate_app.turns.stop_rule import stop_advice
from annotate_app.turns.turn import TurnFigures, TurnState
from rewardkit.stats.metrics import Interval


def turn(number: int, gain: tuple[float, float, float] | None, state: TurnState = "done") -> TurnFigures:
    """A turn by its gain in points and the bounds of it."""
    rate = (
        None if gain is None else Interval(value=gain[0] / 100 + 0.5, low=gain[1] / 100 + 0.5, high=gain[2] / 100 + 0.5)
    )
    return TurnFigures(number=number, state=state, against_previous=rate)


def turns(*gains: tuple[float, float, float] | None) -> list[TurnFigures]:
    return [turn(number, gain) for number, gain in enumerate(gains, 1)]


def test_two_turns_that_gained_less_than_their_interval_stop_with_their_numbers():
    advice = stop_advice(turns((20, 12, 28), (1.2, -3, 5), (0.4, -4, 5)))
    assert advice.verdict == "stop"
    assert advice.turns == (2, 3)
    assert advice.sentence.startswith(
        "Stop: the last two turns gained less than their interval: +1.2 points (-3 to 5), +0.4 (-4 to 5)."
    )


def test_an_interval_that_also_holds_a_gain_worth_a_turn_cannot_say():
    advice = stop_advice(turns((1, -9, 11), (0, -10, 10)))
    assert advice.verdict == "cannot say"
    # The first bound lies 10 points above 1, widened 10 * 2.2414 / 1.96 = 11.44; room is 9: (11.44 / 9)^2 = 1.6.
    assert "about 2 times as many votes" in advice.sentence


@pytest.mark.parametrize(("high", "verdict"), [(8.7, "stop"), (8.8, "cannot say")])
def test_the_border_is_the_interval_widened_for_two_at_once(high: float, verdict: str):
    # 10 / (2.241403 / 1.959964) = 8.744
    assert stop_advice(turns((0, -high, high), (0, -high, high))).verdict == verdict


def test_the_last_turn_s_gain_goes_on_whatever_the_one_before_did():
    advice = stop_advice(turns((0, -4, 4), (6, 1, 11)))
    assert advice.verdict == "go on"
    assert "+6.0 points (1 to 11)" in advice.sentence


def test_a_gain_among_many_looks_says_what_luck_alone_would_do():
    flat = (0, -5, 5)
    assert "luck" not in stop_advice(turns((6, 1, 11))).sentence
    # 1 - 0.975^4 = 0.0963; z = 6 / (5 / 1.96) = 2.35 has a tail of 0.0094, above 0.025 / 4
    assert "with 10 %" in stop_advice(turns(flat, flat, flat, (6, 1, 11))).sentence
    # z = 8 / (5 / 1.96) = 3.1 has a tail of 0.001
    assert "luck" not in stop_advice(turns(flat, flat, flat, (8, 3, 13))).sentence


def test_one_turn_without_gain_after_one_with_gain_goes_on_and_watches():
    advice = stop_advice(turns((9, 3, 15), (1, -4, 6)))
    assert advice.verdict == "go on"
    assert "watch" in advice.sentence


def test_a_turn_that_lost_stops_at_once():
    advice = stop_advice(turns((9, 3, 15), (-8, -14, -2)))
    assert advice.verdict == "stop"
    assert "turn 2 lost to the turn before it, -8.0 points (-14 to -2)" in advice.sentence


def test_one_turn_or_none_cannot_say():
    assert stop_advice([]).verdict == "cannot say"
    assert stop_advice(turns((1, -3, 5))).verdict == "cannot say"
    assert stop_advice(turns(None, (1, -3, 5))).verdict == "cannot say"


def test_a_last_turn_without_votes_or_without_bounds_cannot_say():
    assert "turn 2 ended without enough" in stop_advice(turns((1, -3, 5), None)).sentence
    assert stop_advice(turns((1, -3, 5), (3, math.nan, math.nan))).verdict == "cannot say"


def test_an_open_turn_counts_once_its_round_has_an_interval():
    flat = turns((1.2, -3, 5), (0.4, -4, 5))
    assert stop_advice([*flat, turn(3, None, "open")]).verdict == "stop"
    assert stop_advice([*flat, turn(3, (9, 2, 16), "open")]).verdict == "go on"


def test_no_votes_can_rule_out_what_was_seen():
    advice = stop_advice(turns((0, -8, 8), (11, -2, 24)))
    assert advice.verdict == "cannot say"
    assert "It takes more votes" in advice.sentence
