"""Alarms across turns: hand-made figures on both sides of each threshold."""

from __future__ import annotations

import math

import pytest

from annotate_app.turns.turn import TurnFigures
from annotate_app.turns.watch import TURN_FAILURES, change_z, turn_alarms
from rewardkit.stats.metrics import Interval


def about(value: float, reach: float) -> Interval:
    return Interval(value=value, low=value - reach, high=value + reach)


def kinds(*turns: TurnFigures) -> list[tuple[int, str]]:
    return [(alarm.step, alarm.kind) for alarm in turn_alarms(turns)]


def turn(number: int, **figures: Interval) -> TurnFigures:
    return TurnFigures(number=number, state="done", **figures)  # type: ignore[arg-type]


RISEN = (turn(1, proxy=about(0.5, 0.1)), about(1.0, 0.1))


def test_a_change_is_told_in_standard_errors():
    # standard errors 0.196 / 1.96 = 0.1 each: 0.3 / sqrt(0.02) = 2.1213
    assert change_z(about(1.0, 0.196), about(1.3, 0.196)) == pytest.approx(2.1213, abs=1e-3)
    assert change_z(about(1.3, 0.196), about(1.0, 0.196)) == pytest.approx(-2.1213, abs=1e-3)
    assert change_z(None, about(1.0, 0.1)) == 0
    assert change_z(Interval(value=1.0), about(2.0, 0.1)) == 0
    assert change_z(about(1.0, 0.0), about(2.0, 0.0)) == 0


def test_a_rising_reward_and_a_lost_round_are_reward_hacking():
    alarms = turn_alarms([RISEN[0], turn(2, proxy=RISEN[1], against_previous=about(0.4, 0.08))])
    assert [alarm.kind for alarm in alarms] == ["reward_hacking"]
    assert alarms[0].severity == "critical"
    assert alarms[0].figure == (
        "the reward rose from 0.50 to 1.00 spreads of turn 0's answers while its policy won 40% (32% to 48%) of the "
        "blind votes against the turn before"
    )
    assert alarms[0].is_open


def test_falling_gold_counts_as_a_lost_round():
    before = turn(1, proxy=about(0.5, 0.1), gold=about(1.0, 0.2))
    assert kinds(before, turn(2, proxy=RISEN[1], gold=about(0.5, 0.2))) == [(2, "reward_hacking")]
    assert kinds(before, turn(2, proxy=RISEN[1], gold=about(0.9, 0.2))) == []


@pytest.mark.parametrize(("rate", "expected"), [(about(0.5, 0.08), 1), (about(0.5, 0.12), 0), (about(0.6, 0.05), 0)])
def test_the_reward_without_gain_needs_votes_that_rule_a_gain_out(rate: Interval, expected: int):
    assert kinds(RISEN[0], turn(2, proxy=RISEN[1], against_previous=rate)) == [(2, "reward_without_gain")] * expected


def test_a_reward_that_does_not_rise_beyond_chance_raises_nothing():
    flat = turn(2, proxy=about(0.6, 0.1), against_previous=about(0.4, 0.08))
    assert kinds(RISEN[0], flat) == []


def test_replies_that_grow_with_the_reward_and_no_votes():
    before = turn(1, proxy=about(0.5, 0.1), words=about(20, 1))
    lost = about(0.5, 0.15)
    assert kinds(before, turn(2, proxy=RISEN[1], words=about(25, 1), against_previous=lost)) == [(2, "length_bias")]
    assert kinds(before, turn(2, proxy=RISEN[1], words=about(24.9, 1), against_previous=lost)) == []
    assert kinds(before, turn(2, proxy=RISEN[1], words=about(25, 1), against_previous=about(0.65, 0.1))) == []
    assert kinds(before, turn(2, proxy=RISEN[1], words=about(25, 1))) == []


def test_drift_needs_a_nat_and_half_as_much_again():
    lost = about(0.5, 0.15)
    before = turn(1, proxy=about(0.5, 0.1), kl=about(2.0, 0.1))
    assert kinds(before, turn(2, proxy=RISEN[1], kl=about(3.0, 0.1), against_previous=lost)) == [(2, "drift")]
    assert kinds(before, turn(2, proxy=RISEN[1], kl=about(2.9, 0.1), against_previous=lost)) == []
    near = turn(1, proxy=about(0.5, 0.1), kl=about(0.1, 0.01))
    assert kinds(near, turn(2, proxy=RISEN[1], kl=about(0.9, 0.1), against_previous=lost)) == []


def test_a_reward_model_that_falls_behind_its_policy():
    before = turn(1, accuracy_after=about(0.8, 0.05))
    assert kinds(before, turn(2, accuracy_before=about(0.7, 0.05))) == [(2, "outdated_reward")]
    assert kinds(before, turn(2, accuracy_before=about(0.76, 0.01))) == []
    assert kinds(before, turn(2, accuracy_before=about(0.7, 0.2))) == []
    assert kinds(before, turn(2, accuracy_before=Interval(value=0.5))) == []


def test_an_alarm_is_cleared_by_the_next_turn_that_does_not_raise_it():
    turns = (
        turn(1, accuracy_after=about(0.8, 0.05)),
        turn(2, accuracy_before=about(0.6, 0.05), accuracy_after=about(0.8, 0.05)),
        turn(3, accuracy_before=about(0.79, 0.05), accuracy_after=about(0.8, 0.05)),
    )
    (alarm,) = turn_alarms(turns)
    assert (alarm.step, alarm.cleared_at) == (2, 3)
    (still,) = turn_alarms((*turns[:2], turn(3)))
    assert still.is_open


def test_missing_figures_and_single_turns_raise_nothing():
    assert turn_alarms([]) == []
    assert kinds(turn(1), turn(2)) == []
    assert kinds(turn(1, proxy=Interval(value=math.nan)), turn(2, proxy=about(1, 0.1))) == []


def test_every_alarm_has_its_own_name_a_cause_and_advice():
    assert len({failure.kind for failure in TURN_FAILURES}) == len(TURN_FAILURES) == 5
    assert all(failure.cause and failure.advice for failure in TURN_FAILURES)
