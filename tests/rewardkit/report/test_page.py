"""Reports are one file, and what they tell of stays text."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from rewardkit.report.charts import interval_chart
from rewardkit.report.page import experiment_page, render_page
from rewardkit.stats.metrics import Interval

HOSTILE = '<script>alert("1")</script>'


def test_hostile_texts_stay_texts_and_charts_are_drawn() -> None:
    chart = interval_chart(HOSTILE, [("<b>", Interval(value=0.5, low=0.4, high=0.6))])
    page = experiment_page(HOSTILE, summary=HOSTILE, header=[HOSTILE], rows=[[HOSTILE]], charts=[(HOSTILE, chart)])
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count("&lt;script&gt;") == 7  # title, heading, summary, two cells, a section, the chart's label
    assert "<figure><svg" in page


def test_a_string_that_is_no_chart_is_escaped() -> None:
    page = experiment_page("t", header=[], rows=[], charts=[("c", "<svg onload=alert(1)>")])
    assert "<svg" not in page


def test_a_value_that_is_missing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text('{% extends "base.html" %}{% block main %}{{ nobody }}{% endblock %}')
    with pytest.raises(UndefinedError, match="nobody"):
        render_page("own.html", folder=tmp_path, title="t")
