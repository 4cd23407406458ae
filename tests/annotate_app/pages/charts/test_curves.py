"""Charts of trainings: what is drawn, from which rows, and that no rows are refused."""

from __future__ import annotations

import pytest

from annotate_app.pages.charts import curves
from annotate_app.pages.charts.charts import Drawing

ROWS = [
    {"at": step, "value": value, "series": name}
    for name, values in {"training": (0.7, 0.6, 0.5), "validation": (0.69, 0.66)}.items()
    for step, value in enumerate(values, 1)
]


def layers(chart: Drawing) -> tuple[list[dict], list[list[dict]]]:
    """The layers and the rows each draws."""
    drawn = chart.to_dict()
    sets = drawn.get("datasets", {})
    found = [layer.get("data") or drawn.get("data") for layer in drawn["layer"]]
    return drawn["layer"], [data.get("values") or sets[data["name"]] for data in found]


def test_every_point_of_every_series_is_drawn_in_the_order_given():
    (_, line), rows = layers(curves.curves(ROWS, axis="loss", reference=0.5, reference_label="a coin"))
    assert rows == [[{"at": 0.5, "words": "a coin"}], ROWS]
    assert line["encoding"]["color"]["sort"] == ["training", "validation"]


def test_ticks_of_percents_have_the_digits_that_tell_them_apart():
    [line], _ = layers(curves.curves(ROWS[:3], axis="tokens put first", percent=True))
    assert line["encoding"]["y"]["axis"]["format"] == ".3~%"  # of 0.05, 0.055 and 0.06: 5%, 5.5%, 6%


def test_one_series_needs_no_legend_and_a_logarithmic_axis_is_one():
    [line], _ = layers(curves.curves(ROWS[:3], axis="NLL", log=True))
    assert line["encoding"]["color"]["legend"] is None
    assert line["encoding"]["x"]["scale"]["type"] == "log"


def test_places_where_something_happened_are_marked_across():
    marks = [{"at": 2, "words": "KL jumps, step 2"}]
    (rule, line), rows = layers(curves.curves(ROWS, axis="loss", marks=marks))
    assert rows == [marks, ROWS]
    assert rule["encoding"]["x"]["field"] == line["encoding"]["x"]["field"] == "at"
    assert "y" not in rule["encoding"]


def test_before_and_after_are_joined_by_figure():
    rows = [{"figure": "NLL", "when": "before", "value": 0.7}, {"figure": "NLL", "when": "after", "value": 0.6}]
    (joined, dots), drawn = layers(curves.before_and_after(rows))
    assert drawn == [rows, rows]
    assert joined["encoding"]["detail"]["field"] == "figure"
    assert dots["encoding"]["color"]["sort"] == ["before", "after"]


def test_reliability_is_drawn_beside_the_diagonal():
    rows = [{"predicted": 0.2, "observed": 0.3, "num": 8}]
    _, drawn = layers(curves.reliability(rows))
    assert drawn == [[{"x": 0, "y": 0}, {"x": 1, "y": 1}], rows]


def test_each_member_has_a_tick():
    _, (_, ticks, dot) = layers(curves.members((0.2, 0.4, 0.9), 0.5))
    assert [row["p"] for row in ticks] == [0.2, 0.4, 0.9]
    assert dot == [{"p": 0.5}]


@pytest.mark.parametrize("draw", [lambda: curves.curves([], axis="x"), lambda: curves.before_and_after([])])
def test_no_rows_are_refused(draw):
    with pytest.raises(ValueError, match="no rows"):
        draw()
