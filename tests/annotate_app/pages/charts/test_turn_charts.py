"""Charts over turns."""

from __future__ import annotations

import json

import pytest

from annotate_app.pages.charts.turn_charts import over_turns
from annotate_app.turns.curves import TurnCurve, turn_curves
from annotate_app.turns.turn import TurnFigures
from rewardkit.stats.metrics import Interval


def test_whiskers_stand_where_bounds_are_known_and_a_dashed_line_at_even() -> None:
    rates = (Interval(value=0.7, low=0.6, high=0.8), Interval(value=0.6))
    turns = [TurnFigures(number=n, state="done", against_first=rate) for n, rate in enumerate(rates, 1)]
    document = json.loads(over_turns(turn_curves(turns)[0]).to_json())
    rule, whiskers, line, dots = document["layer"]
    assert document["datasets"][rule["data"]["name"]] == [{"at": 0.5, "words": "even"}]
    assert (whiskers["encoding"]["y"]["field"], whiskers["encoding"]["y2"]["field"]) == ("low", "high")
    assert whiskers["transform"] == [{"filter": "isValid(datum.low)"}]
    assert {line["encoding"]["y"]["field"], dots["encoding"]["y"]["field"]} == {"value"}
    assert line["encoding"]["color"]["legend"] is None
    assert line["encoding"]["x"]["sort"] == [1, 2]


def test_a_curve_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        over_turns(TurnCurve(name="kl", title="KL", axis="nats", rows=()))
