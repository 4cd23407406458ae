"""Judges of known quality must be named for what they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from judge_worlds import OWN, World

from annotate_app.judges.report import JudgeReport, judge_report
from annotate_app.votes import Votes

Make = Callable[..., Votes]


def report_on(make_votes: Make, kind: str, *, seed: int = 0, tells: bool = False, **world: object) -> JudgeReport:
    simulated = World(make_votes, seed=seed, **world)  # type: ignore[arg-type]
    return judge_report(simulated.votes, simulated.table(kind, tells=tells), kind, own=(OWN,), num_resamples=200)


def names(report: JudgeReport) -> set[str]:
    return {finding.name for finding in report.findings}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("kind", "found", "uses"),
    [
        ("good", set(), {"annotator"}),
        ("median person", set(), {"annotator"}),
        ("position", {"position"}, {"tie-breaker", "pre-screen"}),
        ("length", {"length"}, {"tie-breaker"}),
        ("self", {"self"}, {"tie-breaker"}),
        ("random", {"chance"}, {"not at all"}),
        ("inverted", {"inverted"}, {"not at all"}),
    ],
)
def test_each_judge_is_named(make_votes: Make, kind: str, found: set[str], uses: set[str], seed: int) -> None:
    report = report_on(make_votes, kind, seed=seed)
    assert (names(report), report.advice.use in uses) == (found, True), (report.advice, report.findings)


def test_a_judge_like_the_median_person_is_not_called_worse(make_votes: Make) -> None:
    worse = 0
    for seed in range(20):
        median = report_on(make_votes, "median person", seed=seed, num_items=200).median
        assert len(median.people) == 6
        worse += median.difference.high < 0
    assert worse <= 2  # 2.5 % each


def test_length_that_people_like_too_is_no_bias(make_votes: Make) -> None:
    report = report_on(make_votes, "good", length_worth=0.7, num_items=1500)
    assert report.leanings.people_length.low > 0.05
    assert report.leanings.judge_length.low > 0.05
    assert "length" not in names(report)
