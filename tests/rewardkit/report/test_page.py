"""Reports are one file, and what they tell of stays text."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from rewardkit.report.charts import Axis, Line, interval_chart, line_chart
from rewardkit.report.page import Table, experiment_page, render_page
from rewardkit.stats.metrics import Interval

HOSTILE = '<script>alert("1")</script>'


def test_hostile_texts_stay_texts_and_charts_are_drawn() -> None:
    chart = interval_chart(HOSTILE, [("<b>", Interval(value=0.5, low=0.4, high=0.6))])
    page = experiment_page(HOSTILE, summary=HOSTILE, header=[HOSTILE], rows=[[HOSTILE]], charts=[(HOSTILE, chart)])
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count("&lt;script&gt;") == 7  # title, heading, summary, two cells, a section, the chart's label
    assert "<figure><svg" in page


def test_further_tables_stand_under_their_heading_with_their_note_where_they_have_rows() -> None:
    full = Table(heading="More", note=HOSTILE, header=["a"], rows=[["1"]])
    page = experiment_page(
        "t", header=[], rows=[], charts=[], tables=[full, Table(heading="None", header=["a"], rows=[])]
    )
    assert "<h2>More</h2>" in page
    assert "<h2>None</h2>" not in page
    assert page.count("&lt;script&gt;") == 1


def test_a_band_goes_along_the_low_ends_and_back_along_the_high_ones() -> None:
    """Both axes go from 0 to 1 over 392 and 240 pixels; a point whose interval is not known is left out."""
    axis = Axis(name="", low=0.0, high=1.0, step=0.5)
    low, high = (0.0, 0.25, float("nan")), (0.5, 0.75, 1.0)
    line = Line(name="l", x=(0.0, 1.0, 0.5), y=(0.1, 0.5, 0.5), series=2, band=(low, high))
    chart = line_chart("t", axis, axis, [line])
    assert '<polygon class="band s2" points="52.0,254.0 444.0,194.0 444.0,74.0 52.0,134.0"/>' in chart
    assert "polygon" not in line_chart("t", axis, axis, [Line(name="l", x=(0.0,), y=(0.1,), series=2)])


def test_a_string_that_is_no_chart_is_escaped() -> None:
    page = experiment_page("t", header=[], rows=[], charts=[("c", "<svg onload=alert(1)>")])
    assert "<svg" not in page


def test_a_value_that_is_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text('{% extends "base.html" %}{% block main %}{{ nobody }}{% endblock %}')
    with pytest.raises(UndefinedError, match="nobody"):
        render_page("own.html", folder=tmp_path, title="t")


def test_a_number_that_is_none_is_a_dash(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ one | number }} {{ other | number }}")
    assert render_page("page.html", folder=tmp_path, one=0.256, other=float("nan")) == "0.26 –\n"
