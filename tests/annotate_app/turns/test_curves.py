"""Curves over turns: rows by value, gaps where a figure is missing."""

from __future__ import annotations

import math

from annotate_app.turns.curves import turn_curves
from annotate_app.turns.turn import TurnFigures
from rewardkit.stats.metrics import Interval


def curve(turns: list[TurnFigures], name: str) -> list[tuple]:
    rows = {curve.name: curve.rows for curve in turn_curves(turns)}[name]
    return [(row["at"], row["series"], row["value"], row["low"], row["high"]) for row in rows]


def test_a_curve_has_a_point_for_every_turn_that_has_the_figure():
    turns = [
        TurnFigures(number=1, state="done", kl=Interval(value=1.0, low=0.5, high=1.5)),
        TurnFigures(number=2, state="done"),
        TurnFigures(number=3, state="open", kl=Interval(value=3.0)),
    ]
    assert curve(turns, "kl") == [(1, "KL", 1.0, 0.5, 1.5), (3, "KL", 3.0, None, None)]
    assert [one.name for one in turn_curves(turns)] == ["kl"]


def test_two_series_of_one_figure_follow_each_other():
    first, previous = Interval(value=0.7, low=0.6, high=0.8), Interval(value=0.55, low=0.45, high=0.65)
    turns = [TurnFigures(number=2, state="done", against_first=first, against_previous=previous)]
    assert curve(turns, "win_rate") == [
        (2, "against turn 0", 0.7, 0.6, 0.8),
        (2, "against the turn before", 0.55, 0.45, 0.65),
    ]


def test_a_figure_that_is_no_number_is_left_out():
    assert turn_curves([TurnFigures(number=1, state="done", gold=Interval(value=math.nan))]) == ()


def test_judgments_are_summed_over_turns_and_judges_left_out_where_there_are_none():
    turns = [TurnFigures(number=number, state="done", num_people_votes=40 * number) for number in (1, 2, 3)]
    assert curve(turns, "labels") == [
        (1, "by people", 40.0, None, None),
        (2, "by people", 120.0, None, None),
        (3, "by people", 240.0, None, None),
    ]
    judged = [*turns, TurnFigures(number=4, state="open", num_judge_votes=7)]
    assert curve(judged, "labels")[4:] == [
        (1, "by judges", 0.0, None, None),
        (2, "by judges", 0.0, None, None),
        (3, "by judges", 0.0, None, None),
        (4, "by judges", 7.0, None, None),
    ]


def test_time_is_told_in_minutes_and_none_is_no_time():
    turns = [TurnFigures(number=1, state="done", seconds=90.0)]
    assert curve(turns, "minutes") == [(1, "machines", 1.5, None, None)]


def test_no_turn_has_no_curve():
    assert turn_curves([]) == ()
