"""Intervals of agreement where items are few or all alike: never of width 0, and honest about it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta

from annotate_app.agreement.bootstrap import Part, draw_posterior, estimate, imagined_items, tally_counts
from annotate_app.agreement.coefficients import (
    Totals,
    fleiss_kappa,
    gwet_ac,
    item_statistics,
    krippendorff_alpha,
    percent_agreement,
    pooled_agreement,
)
from annotate_app.agreement.pairs import cohen_kappa
from annotate_app.agreement.reports.report import agreement_report, reading
from annotate_app.votes import Votes

FORMULAS = {
    "percent": percent_agreement,
    "pooled": pooled_agreement,
    "kappa": fleiss_kappa,
    "alpha": krippendorff_alpha,
    "ac1": gwet_ac,
}


def of_counts(counts: list[list[int]], num_resamples: int = 4000) -> dict:
    tallied = tally_counts(np.array(counts))
    part = Part(patterns=tallied.patterns, coefficients=FORMULAS)
    rng = np.random.default_rng(0)
    return estimate([part], tallied.multiplicity(), num_resamples=num_resamples, rng=rng)


@pytest.mark.parametrize("num_items", [1, 3, 60])
def test_total_agreement_has_jeffreys_lower_end(num_items: int) -> None:
    figures = of_counts([[2, 0]] * num_items)
    percent = figures["percent"]
    assert percent.low == pytest.approx(beta.ppf(0.025, num_items + 0.5, 0.5), abs=0.03)
    assert percent.high == 1.0
    assert figures["pooled"].low == pytest.approx(percent.low, abs=0.01)
    assert percent.standard_error > 0
    assert np.isnan([figures["kappa"].value, figures["kappa"].low]).all()  # one answer alone: nothing beyond chance


@pytest.mark.parametrize("num_items", [2, 5, 30])
def test_total_agreement_beyond_chance_is_not_certainty(num_items: int) -> None:
    figures = of_counts([[3, 0], [0, 3]] * num_items)
    for name in FORMULAS:
        figure = figures[name]
        assert (figure.value, figure.high) == (pytest.approx(1.0), pytest.approx(1.0)), name
        assert figure.low < 1 - 1 / (4 * num_items), name
        assert figure.standard_error > 0, name


def test_items_that_are_all_alike_have_width() -> None:
    # two of three agree on each of 40 items: no resample differs
    for figure in of_counts([[2, 1], [1, 2]] * 20).values():
        assert figure.low < figure.value < figure.high
        assert figure.high - figure.low > 0.02


def test_imagined_items_agree_wholly_and_not_at_all() -> None:
    counts = np.array([[3, 0, 0], [1, 1, 1], [0, 2, 1], [1, 0, 0]])
    sums = Totals.of(counts)
    agreeing, apart = (Totals.unpack(row, 3) for row in imagined_items(sums))
    for totals, share in ((agreeing, 1.0), (apart, 0.0)):
        assert float(percent_agreement(totals)) == pytest.approx(share)
        assert float(pooled_agreement(totals)) == pytest.approx(share)
        assert totals.shares.sum() == pytest.approx(1)
        assert totals.coincidences.sum() == pytest.approx(3)  # votes of an item, over those with two or more
    assert len(imagined_items(sums)[0]) == item_statistics(counts).shape[1]


def test_posterior_weights_have_the_mean_of_the_items() -> None:
    weights = draw_posterior(np.array([30, 10]), 20_000, np.random.default_rng(0))
    assert weights.sum(axis=1) == pytest.approx(41)
    assert weights.mean(axis=0) == pytest.approx([30, 10, 0.5, 0.5], rel=0.05)


def test_pairs_of_people_with_few_shared_items_have_no_interval() -> None:
    tables = np.array([[[2, 0], [0, 2]], [[20, 0], [0, 20]], [[20, 3], [4, 20]]])
    found = cohen_kappa(tables)
    assert np.isnan(found.low).tolist() == [True, True, False]
    assert np.isnan(found.high).tolist() == [True, True, False]


def test_a_report_of_three_comparisons_has_no_interval_of_width_nothing(make_votes: Callable[..., Votes]) -> None:
    items = ["x", "x", "y", "y", "z", "z"]
    report = agreement_report(make_votes(items, ["p", "q"] * 3, list("aabbaa")), num_resamples=300)
    figures = [*report.overall.estimates.values(), report.conger_kappa, report.pairs.mean_kappa]
    figures += [figure for person in report.annotators for figure in (person.percent, person.kappa)]
    for figure in figures:
        if figure.is_known:
            assert figure.high - figure.low > 0.1
        assert not figure.standard_error < 1e-6
    assert reading(report.overall) == "alpha 1.000 of 3 comparisons with two votes: too few to say how reliable"
    percent = report.overall.estimates["percent"]
    assert (percent.value, percent.high) == (1.0, 1.0)
    assert 0.3 < percent.low < 0.6
    assert report.annotators[0].percent.low < 0.6
