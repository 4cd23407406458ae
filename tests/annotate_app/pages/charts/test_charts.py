from __future__ import annotations

import json

import pytest

from annotate_app.pages.charts import charts


def drawn(chart: charts.Drawing) -> dict:
    """The chart's Vega-Lite document; building it validates it against the schema."""
    return json.loads(chart.to_json())


def values_of(document: dict) -> list[dict]:
    """The rows of the layer with the most of them."""
    return max(document["datasets"].values(), key=len)


INTERVALS = [
    {"label": "own", "value": 0.7, "low": 0.6, "high": 0.8, "num": 40},
    {"label": "paper", "value": 0.73, "low": None, "high": None, "kind": "published"},
]


def test_intervals_keep_the_order_of_rows_and_draw_whiskers_from_low_to_high() -> None:
    document = drawn(
        charts.intervals(INTERVALS, axis="agreement", percent=True, reference=0.5, reference_label="chance")
    )
    rule = document["layer"][1]["encoding"]
    assert rule["y"]["sort"] == ["own", "paper"]
    assert (rule["x"]["field"], rule["x2"]["field"]) == ("low", "high")
    assert [{"at": 0.5, "words": "chance"}] in document["datasets"].values()
    assert [row["kind"] for row in values_of(document)] == ["own", "published"]


def test_each_kind_of_row_is_drawn_by_exactly_one_layer() -> None:
    rows = [{**INTERVALS[0], "label": kind, "kind": kind} for kind in ("own", "published", "warning")]
    filters = [
        layer["transform"][0]["filter"]
        for layer in drawn(charts.intervals(rows, axis="x"))["layer"]
        if "transform" in layer
    ]
    assert [[kind in words for words in filters].count(True) for kind in ("own", "published", "warning")] == [1, 1, 1]


def test_heatmap_of_pairs_has_the_same_order_on_both_axes() -> None:
    rows = [{"row": one, "column": other, "value": 0.5, "num": 3} for one in "abc" for other in "abc" if one != other]
    encoding = drawn(charts.heatmap(rows, value="kappa"))["layer"][0]["encoding"]
    assert encoding["x"]["sort"] == encoding["y"]["sort"] == ["a", "b", "c"]


def test_heatmap_colours_run_over_its_domain() -> None:
    rows = [{"row": "a", "column": "b", "value": None, "num": 0}]
    layers = drawn(charts.heatmap(rows, value="kappa", domain=(-1, 1)))["layer"]
    assert layers[0]["encoding"]["color"]["scale"]["domain"] == [-1, 0, 1]
    assert "isValid" in layers[0]["transform"][0]["filter"]


def test_over_time_draws_a_band_for_one_figure_and_lines_for_series() -> None:
    row = {"at": "2026-11-02", "value": 0.5, "low": 0.4, "high": 0.6, "num": 9}
    band, line = drawn(charts.over_time([row], axis="agreement"))["layer"]
    assert band["mark"]["type"] == "area"
    assert line["encoding"]["x"]["timeUnit"] == "utcyearmonthdate"
    lines = drawn(charts.over_time([{**row, "series": "Ada"}, {**row, "series": "Ben"}], axis="agreement"))["layer"]
    assert [layer["mark"]["type"] for layer in lines] == ["line"]
    assert lines[0]["encoding"]["color"]["sort"] == ["Ada", "Ben"]


def test_a_click_on_a_point_or_a_bar_says_its_day() -> None:
    """As it was written: what is drawn as a time comes back as a number."""
    row = {"at": "2026-11-02", "value": 0.5, "low": 0.4, "high": 0.6, "num": 9}
    one = drawn(charts.over_time([row], axis="agreement", clickable=True))
    lines = drawn(charts.over_time([{**row, "series": "Ada"}], axis="agreement", clickable=True))
    bars = drawn(charts.per_day([{"day": "2026-11-02", "name": "Ada", "count": 3}]))
    fields = [[param["select"]["fields"] for param in document["params"]] for document in (one, lines, bars)]
    assert fields == [[["day"]], [["day", "series"]], [["date", "name"]]]
    assert [values_of(document)[0][name] for document, name in ((one, "day"), (bars, "date"))] == ["2026-11-02"] * 2


def test_equal_positions_stand_on_one_another_at_their_place() -> None:
    rows = [
        {"aspect": "overall", "name": name, "position": position, "words": ""}
        for name, position in (("Ada", -1), ("Ben", -1), ("Cleo", 1))
    ]
    values = values_of(drawn(charts.positions(rows)))
    # Across, the answer alone says where a dot is; two that are equal are half a step below and above the line.
    assert [(row["at"], row["level"]) for row in values] == [(-1, -0.5), (-1, 0.5), (1, 0)]


def test_clicks_select_what_a_mark_stands_for() -> None:
    row = {"label": "Ada", "value": 0.5, "low": 0.4, "high": 0.6, "num": 9}
    (parameter,) = drawn(charts.intervals([row], axis="x", clickable=True))["params"]
    assert (parameter["name"], parameter["select"]["fields"]) == (charts.MARK, ["label"])
    cell = {"row": "Ada", "column": "Ben", "value": 0.5, "num": 3}
    (parameter,) = drawn(charts.heatmap([cell], value="x", clickable=True))["params"]
    assert (parameter["name"], parameter["select"]["fields"]) == (charts.MARK, ["row", "column"])
    assert "params" not in drawn(charts.heatmap([cell], value="x"))


def test_an_axis_of_equal_values_has_room_around_them() -> None:
    flat = [{"value": 0.82, "low": None}, {"value": 0.82}]
    assert charts.around_flat(flat, True) == pytest.approx((0.72, 0.92))
    assert charts.around_flat([{"value": 0.82}, {"value": 0.83}], True) is None


def test_shares_stack_in_the_order_parts_first_appear() -> None:
    rows = [{"label": "Ada", "part": part, "count": 1} for part in ("right", "half", "wrong")]
    document = drawn(charts.shares(rows, axis="share"))
    assert [row["rank"] for row in values_of(document)] == [0, 1, 2]
    assert document["encoding"]["x"]["stack"] == "normalize"


def test_per_day_counts_days_in_utc() -> None:
    rows = [{"day": "2026-11-02", "name": "Ada", "count": 3}, {"day": "2026-11-02", "name": "Ben", "count": 1}]
    document = drawn(charts.per_day(rows))
    assert document["encoding"]["x"]["timeUnit"] == "utcyearmonthdate"
    assert document["encoding"]["color"]["legend"]["orient"] == "bottom"


def test_a_legend_of_one_or_of_very_many_is_left_out() -> None:
    rows = [{"day": "2026-11-02", "name": f"person {index}", "count": 3} for index in range(124)]
    assert drawn(charts.per_day(rows))["encoding"]["color"]["legend"] is None
    assert drawn(charts.per_day(rows[:1]))["encoding"]["color"]["legend"] is None


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.intervals([], axis="x"),
        lambda: charts.heatmap([], value="x"),
        lambda: charts.over_time([], axis="x"),
        lambda: charts.per_day([]),
        lambda: charts.positions([]),
        lambda: charts.shares([], axis="x"),
    ],
)
def test_no_rows_are_refused(draw) -> None:
    with pytest.raises(ValueError, match="no rows"):
        draw()
