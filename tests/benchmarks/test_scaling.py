"""Curves of throughput and memory: what stands on the page, and points that really run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scaling import FIGURES, TOGETHER, Doublings, Point, page, run, studies


def test_the_page_has_a_chart_of_every_figure_and_a_row_of_every_point() -> None:
    quick = studies(quick=True)
    points = {point for study in quick for curve in study.curves for point in curve.points} | set(TOGETHER.values())
    missing = Point(work="pairs", length=512, rows=4)
    assert missing in points
    figures = {point: {"tokens_per_s": 1234.0, "tokens_per_cpu_s": 600.0, "peak_mb": 700.0} for point in points}
    assert len(studies(quick=False)[0].curves[0].points) > len(quick[0].curves[0].points)
    whole, without = page(quick, figures), page(quick, {p: f for p, f in figures.items() if p != missing})
    assert whole.count('role="img"') == len(FIGURES) * len(quick)
    assert whole.count("1,234") - without.count("1,234") == 1
    assert all(name in whole for name in TOGETHER)


def test_marks_of_doublings_are_written_as_what_they_stand_for() -> None:
    axis = Doublings(name="tokens", low=-1.0, high=12.0, step=1.0)
    assert [axis.write(mark) for mark in (-1.0, 0.0, 3.0, 12.0)] == ["0.5", "1", "8", "4,096"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "point",
    [
        Point(width=128, layers=2, length=64, rows=4, group=2, threads=1, processes=2),
        Point(work="draw", width=128, layers=2, length=64, rows=2, group=2, threads=1),
        Point(work="pairs", width=128, layers=2, length=64, rows=4, members=2, adapters=True, threads=1),
    ],
    ids=lambda point: point.work,
)
def test_a_point_runs_in_processes_of_its_own(point: Point) -> None:
    pytest.importorskip("torch")
    figures = run(point)
    assert figures is not None
    assert set(figures) == set(FIGURES)
    assert all(figure > 0 for figure in figures.values())
