from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate_app.agreement.reports.report import FIGURES, agreement_report, krippendorff_rule, landis_koch, reading
from annotate_app.votes import CHOICE_CODES, Votes

CHOICES = ("a", "b", "tie", "both_bad", "skip")
VOTES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from(CHOICES), st.integers(1, 3), st.integers(-2, 2)),
    min_size=1,
    max_size=30,
    unique_by=lambda vote: vote[:2],
)


def build(make_votes: Callable[..., Votes], rows: list[tuple[int, int, str, int, int]]) -> Votes:
    item, annotator, choice, strength, tone = zip(*rows, strict=True)
    sign = np.array([{"a": -1, "b": 1}.get(name, 0) for name in choice])
    return make_votes(
        item,
        annotator,
        choice,
        score=(sign * np.array(strength)).astype(np.int8),
        criteria={"tone": np.array(tone, dtype=np.float32)},
        created_at=np.array(item) * 86_400.0 + 1e9,
        sources=("", "m1", "m2"),
        item_source_a=np.array(sorted(set(item)), dtype=np.int32) % 3,
        item_source_b=(np.array(sorted(set(item)), dtype=np.int32) + 1) % 3,
    )


def mirrored(votes: Votes) -> Votes:
    """The same votes with a and b of every item exchanged."""
    exchange = np.arange(len(CHOICE_CODES))
    exchange[[CHOICE_CODES["a"], CHOICE_CODES["b"]]] = CHOICE_CODES["b"], CHOICE_CODES["a"]
    return replace(
        votes,
        choice=exchange[votes.choice].astype(np.int8),
        score=-votes.score,
        criteria={name: -values for name, values in votes.criteria.items()},
        item_source_a=votes.item_source_b,
        item_source_b=votes.item_source_a,
        item_length_a=votes.item_length_b,
        item_length_b=votes.item_length_a,
    )


def flat(value: object, path: str = "") -> dict[str, float]:
    """All numbers of a report by their path."""
    match value:
        case dict():
            return {key: number for name, item in value.items() for key, number in flat(item, f"{path}/{name}").items()}
        case list() | tuple():
            return {key: number for k, item in enumerate(value) for key, number in flat(item, f"{path}/{k}").items()}
        case float() | int():
            return {path: float(value)}
        case _:
            return {}


@pytest.mark.slow
@given(rows=VOTES)
def test_exchanging_a_and_b_changes_no_figure(rows: list, make_votes: Callable[..., Votes]) -> None:
    votes = build(make_votes, rows)
    here, there = (flat(agreement_report(v, num_resamples=0).as_dict()) for v in (votes, mirrored(votes)))
    assert here == pytest.approx(there, abs=1e-9, nan_ok=True)


@pytest.mark.slow
@given(rows=VOTES, seed=st.integers(0, 1000))
def test_the_side_something_was_shown_on_changes_no_figure(
    rows: list, seed: int, make_votes: Callable[..., Votes]
) -> None:
    votes = build(make_votes, rows)
    sides = np.random.default_rng(seed).integers(-1, 2, len(votes)).astype(np.int8)
    here, there = (agreement_report(v, num_resamples=20).as_dict() for v in (votes, replace(votes, shown_left=sides)))
    assert flat(here) == pytest.approx(flat(there), abs=0, nan_ok=True)


@pytest.mark.slow
@given(rows=VOTES, seed=st.integers(0, 1000))
def test_the_order_of_votes_changes_no_figure(rows: list, seed: int, make_votes: Callable[..., Votes]) -> None:
    votes = build(make_votes, rows)
    order = np.random.default_rng(seed).permutation(len(votes))
    here, there = (flat(agreement_report(v, num_resamples=0).as_dict()) for v in (votes, votes.where(order)))
    assert here == pytest.approx(there, abs=1e-9, nan_ok=True)


def test_shuffled_sides_leave_total_agreement_total(make_votes: Callable[..., Votes]) -> None:
    # Two people who agree on the content of every item, each with sides shuffled on their own.
    rng = np.random.default_rng(0)
    answers = np.where(rng.random(60) < 0.5, "a", "b")
    votes = make_votes([*range(60)] * 2, ["p"] * 60 + ["q"] * 60, [*answers, *answers])
    votes = replace(votes, shown_left=rng.integers(0, 2, 120).astype(np.int8))
    report = agreement_report(votes, num_resamples=0)
    for name in ("percent", "alpha_nominal", "fleiss_kappa", "ac1"):
        assert report.overall.estimates[name].value == 1
    assert report.pairs.mean_kappa.value == 1


def test_pandalm_figures(pandalm_votes: Votes, agreement_vectors: dict) -> None:
    oracle = agreement_vectors["datasets"]["pandalm_dev"]["oracle"]
    report = agreement_report(pandalm_votes, num_resamples=200)
    found = {name: estimate.value for name, estimate in report.overall.estimates.items()}
    assert found["percent"] == pytest.approx(oracle["mean_pairwise_agreement"], abs=1e-6)
    assert found["fleiss_kappa"] == pytest.approx(oracle["fleiss_kappa_statsmodels"], abs=1e-6)
    assert found["alpha_nominal"] == pytest.approx(oracle["krippendorff_alpha_nominal"], abs=1e-6)
    assert found["ac1"] == pytest.approx(oracle["irrCAC"]["gwet_ac1"], abs=1e-5)
    assert found["brennan_prediger"] == pytest.approx(oracle["randolph_kappa_statsmodels"], abs=1e-6)
    assert report.conger_kappa.value == pytest.approx(oracle["irrCAC"]["conger_kappa"], abs=1e-5)
    assert report.pairs.mean_kappa.value == pytest.approx(oracle["mean_pairwise_cohen_kappa"], abs=1e-6)
    for k, (first, second) in enumerate(zip(report.pairs.first, report.pairs.second, strict=True)):
        pair = oracle["pairwise"][f"annotator{first + 1}-annotator{second + 1}"]
        assert report.pairs.percent[k] == pytest.approx(pair["agreement"], abs=1e-6)
        assert report.pairs.kappa.value[k] == pytest.approx(pair["cohen_kappa"], abs=1e-6)
    assert report.overall.num_items == 503
    for name, estimate in report.overall.estimates.items():
        assert estimate.low < estimate.value < estimate.high, name
    assert reading(report.overall) == "alpha 0.835: almost perfect (Landis-Koch), reliable (Krippendorff)"


def test_llmfao_figures_with_missing_votes(llmfao_votes: Votes, agreement_vectors: dict) -> None:
    oracle = agreement_vectors["datasets"]["llmfao"]["oracle"]
    report = agreement_report(llmfao_votes, num_resamples=0)
    found = {name: estimate.value for name, estimate in report.overall.estimates.items()}
    assert report.overall.num_items == oracle["items_with_2plus_votes"]
    assert found["percent"] == pytest.approx(oracle["mean_item_pairwise_agreement"], abs=1e-6)
    assert found["pooled"] == pytest.approx(oracle["pooled_pairwise_agreement"], abs=1e-6)
    assert found["pooled_ties_out"] == pytest.approx(
        oracle["decisive_votes_only"]["pooled_pairwise_agreement"], abs=1e-6
    )
    assert found["alpha_nominal"] == pytest.approx(oracle["krippendorff_alpha_nominal"], abs=1e-6)
    assert found["alpha_ordinal"] == pytest.approx(oracle["krippendorff_alpha_ordinal_x_tie_y"], abs=1e-6)
    assert found["alpha_interval"] == pytest.approx(oracle["krippendorff_alpha_interval_x_tie_y"], abs=1e-6)
    assert found["fleiss_kappa"] == pytest.approx(oracle["irrCAC"]["fleiss_kappa_missing_ok"], abs=1e-5)
    assert found["ac1"] == pytest.approx(oracle["irrCAC"]["gwet_ac1"], abs=1e-5)
    assert found["brennan_prediger"] == pytest.approx(oracle["irrCAC"]["brennan_prediger"], abs=1e-5)
    assert report.conger_kappa.value == pytest.approx(oracle["irrCAC"]["conger_kappa"], abs=1e-5)
    decided = llmfao_votes.where(llmfao_votes.choice < 2)
    alpha = agreement_report(decided, num_resamples=0).overall.estimates["alpha_nominal"].value
    assert alpha == pytest.approx(oracle["decisive_votes_only"]["krippendorff_alpha_nominal"], abs=1e-6)


def test_ties_and_both_bad_by_hand(make_votes: Callable[..., Votes]) -> None:
    # p: a, a, tie (pairs: aa 1, a-tie 0, a-tie 0); q: both bad, tie (differ; neither prefers).
    votes = make_votes("pppqq", "xyzxy", ("a", "a", "tie", "both_bad", "tie"))
    found = agreement_report(votes, num_resamples=0).overall.estimates
    assert found["percent"].value == pytest.approx((1 / 3 + 0) / 2)
    assert found["percent_ties_out"].value == 1  # only the two a votes are left
    assert found["percent_ties_half"].value == pytest.approx(((1 + 1 / 2 + 1 / 2) / 3 + 1) / 2)
    assert found["pooled"].value == pytest.approx(1 / 4)
    assert found["pooled_ties_half"].value == pytest.approx(3 / 4)


def test_groups_hold_their_own_items(make_votes: Callable[..., Votes]) -> None:
    # Items p, q of models m1 and m2 agree; r, s of m2 and m3 do not. p, q were voted on in January, r, s in March.
    votes = make_votes(
        "ppqqrrss",
        "xyxyxyxy",
        ("a", "a", "b", "b", "a", "b", "a", "b"),
        sources=("m1", "m2", "m3"),
        item_source_a=np.array([0, 0, 1, 1], dtype=np.int32),
        item_source_b=np.array([1, 1, 2, 2], dtype=np.int32),
        created_at=np.array([1.7356e9] * 4 + [1.7408e9] * 4),
        criteria={"tone": np.array([1, 1, -2, -2, 1, 1, 0, np.nan], dtype=np.float32)},
    )
    report = agreement_report(votes, num_resamples=50)
    percent = {group.name: group.estimates["percent"].value for group in (*report.sources, *report.periods)}
    assert percent == {"m1": 1, "m2": 0.5, "m3": 0, "2024-12-30": 1, "2025-02-24": 0}
    assert [(group.name, group.num_items, group.estimates["percent"].value) for group in report.criteria] == [
        ("tone", 3, 1.0)
    ]
    assert {person.name: person.percent.value for person in report.annotators} == {"x": 0.5, "y": 0.5}


def test_nothing_to_measure_is_said(make_votes: Callable[..., Votes]) -> None:
    for votes in (make_votes([], [], []), make_votes("p", "x", ("a",))):
        report = agreement_report(votes)
        assert "no agreement to measure" in reading(report.overall)
        assert all(np.isnan(report.overall.estimates[name].value) for name in FIGURES)
    same = agreement_report(make_votes("ppqq", "xyxy", "aaaa"), num_resamples=50)
    assert "undefined" in reading(same.overall)
    assert same.overall.estimates["percent"].value == 1


def test_unknown_view_is_named(make_votes: Callable[..., Votes]) -> None:
    with pytest.raises(ValueError, match="'week', allowed are criterion"):
        agreement_report(make_votes("p", "x", ("a",)), by=("week",))


@pytest.mark.parametrize(
    ("value", "word"),
    [
        *((-0.1, "poor"), (0.0, "slight"), (0.2, "slight"), (0.21, "fair"), (0.5, "moderate"), (0.8, "substantial")),
        *((0.81, "almost perfect"), (1.0, "almost perfect"), (float("nan"), "")),
    ],
)
def test_landis_koch_bands(value: float, word: str) -> None:
    assert landis_koch(value) == word


def test_krippendorff_rule() -> None:
    words = [krippendorff_rule(value) for value in (0.8, 0.79, 0.667, 0.66, float("nan"))]
    assert words == ["reliable", "tentative conclusions only", "tentative conclusions only", "not reliable", ""]


@pytest.mark.slow
def test_a_million_judgments_in_seconds() -> None:
    """1.4 to 2.7 s of one thread, by machine; the bound is for work that grew, not for slow machines."""
    script = Path(__file__).parents[2] / "benchmarks" / "agreement_speed.py"
    done = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True, env=os.environ, timeout=120
    )
    processor = next(line for line in done.stdout.splitlines() if line.startswith("processor"))
    assert float(processor.split()[1]) < 6.0, done.stdout  # what other processes do is left out
