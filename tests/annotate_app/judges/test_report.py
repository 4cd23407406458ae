"""Judges of known quality must be named for what they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from judge_worlds import OWN, World, table_of

from annotate_app.judges.advice import MARGIN
from annotate_app.judges.report import JudgeReport, judge_report
from annotate_app.judges.report_files import report_text
from annotate_app.store.loop.judge_votes import JUDGE_CHOICE_CODES, VoteTable
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


def test_a_probability_is_held_against_people(make_votes: Make) -> None:
    right, sure = (report_on(make_votes, kind, tells=True) for kind in ("calibrated", "overconfident"))
    assert right.calibration is not None
    assert sure.calibration is not None
    assert not right.calibration.is_off
    assert right.confidence == pytest.approx(right.hit_rate, abs=0.03)
    assert names(sure) == {"calibration"}
    assert sure.confidence > sure.hit_rate + 0.1
    assert report_on(make_votes, "good").calibration is None  # it names a choice only


def test_errors_come_surest_first_and_are_against_most_people(make_votes: Make) -> None:
    report = report_on(make_votes, "overconfident", tells=True)
    assert report.num_errors == len(report.errors) > 20
    assert [error.p for error in report.errors] == sorted((error.p for error in report.errors), reverse=True)
    assert all(error.p > 0.5 > error.people_share for error in report.errors)


def test_parts_of_the_report_add_up(make_votes: Make) -> None:
    report = report_on(make_votes, "median person", num_items=300, num_judged=200)
    assert (report.num_items, report.num_answers, report.overall.num_items) == (300, 600, 200)
    for groups in (report.lengths, report.length_gaps):
        assert sum(group.num_items for group in groups) == 200
        assert np.average([group.percent.value for group in groups], weights=[group.num_items for group in groups]) == (
            pytest.approx(report.overall.percent.value)
        )
    assert [group.name for group in report.sources] == [OWN, "other", "third"]
    assert [group.name for group in report.versions] == ["version 1"]
    assert report.versions[0].percent.value == report.overall.percent.value
    assert (report.spent.cost, report.spent.seconds, report.spent.prompt_tokens) == (1200.0, 2.0, 1200)


def test_agreement_by_version_of_the_rubric_and_without_examples(make_votes: Make) -> None:
    world = World(make_votes, num_items=200)
    good, bad = world.table("good"), world.table("inverted")
    both = table_of(
        world.items,
        np.vstack([answers_of(good), answers_of(bad)]),
        item=np.concatenate([good.item, bad.item]),
        rubric_version=np.repeat([2, 1], 400).astype(np.int32),
    )
    report = judge_report(world.votes, both, "judge", examples=world.items[:50], num_resamples=50)
    one, two = report.versions
    assert (one.name, two.name) == ("version 1", "version 2")
    assert one.kappa.value < 0 < two.kappa.value
    assert report.overall.kappa.value == two.kappa.value  # the newest counts
    assert (report.num_examples, report.overall.num_items) == (50, 150)


def answers_of(table: VoteTable) -> np.ndarray:
    return np.where(table.choice == JUDGE_CHOICE_CODES["b"], 1.0, 0.0).reshape(-1, 2)


def test_by_criterion(make_votes: Make) -> None:
    world = World(make_votes, num_items=120)
    table = world.table("good")
    sides = np.where(world.worth > 0, 1.0, -1.0).astype(np.float32)
    votes = {name: getattr(world.votes, name) for name in Votes.__dataclass_fields__}
    votes["criteria"] = {"helpful": sides[world.votes.item], "safe": -sides[world.votes.item]}
    columns = {name: getattr(table, name) for name in VoteTable.__dataclass_fields__}
    columns["criteria"] = {"helpful": sides[table.item], "safe": np.where(table.item < 60, sides[table.item], np.nan)}
    report = judge_report(Votes(**votes), VoteTable(**columns), "good", num_resamples=50)
    helpful, safe = report.criteria
    assert (helpful.name, helpful.percent.value, helpful.num_items) == ("helpful", 1.0, 120)
    assert (safe.name, safe.percent.value, safe.num_items) == ("safe", 0.0, 60)


def test_refusals_are_counted_and_named(make_votes: Make) -> None:
    world = World(make_votes, num_items=100)
    p_b = world.answers("good")
    p_b[:20] = np.nan
    report = judge_report(world.votes, table_of(world.items, p_b), "judge", num_resamples=50)
    assert (report.num_refused, report.num_items) == (40, 80)
    assert "refusals" in names(report)
    assert report_text(report).startswith(report.advice.sentence())


def test_nothing_judged_by_people_is_not_known(make_votes: Make) -> None:
    world = World(make_votes, num_items=30, num_judged=5)
    report = judge_report(world.votes, world.table("good"), "good")
    assert report.advice.use == "not known"
    assert "People judged 5 of its comparisons" in report.advice.why


def test_more_votes_would_decide_what_is_open(make_votes: Make) -> None:
    few = report_on(make_votes, "median person", num_items=60, seed=5)
    assert few.advice.use == "tie-breaker"
    assert few.advice.more_votes is not None
    assert few.advice.more_votes > 0
    reach = (few.median.difference.high - few.median.difference.low) / 2
    more = few.median.num_votes * ((reach / abs(few.median.difference.value + MARGIN)) ** 2 - 1)
    assert few.advice.more_votes == math.ceil(more)
