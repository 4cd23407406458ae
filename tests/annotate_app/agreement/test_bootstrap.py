from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate_app.agreement.bootstrap import (
    Part,
    estimate,
    resample_sums,
    tally,
    tally_counts,
)
from annotate_app.agreement.coefficients import Totals, fleiss_kappa, krippendorff_alpha, percent_agreement


def test_tally_counts_votes_by_item_and_category() -> None:
    found = tally(np.array([0, 0, 2, 2, 2]), np.array([1, 1, 0, 1, 1]), 4, 2)
    assert found.counts.tolist() == [[0, 2], [0, 0], [1, 2], [0, 0]]
    assert found.multiplicity().sum() == 4
    assert found.multiplicity(np.array([0, 2])).sum() == 2


@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=30).map(np.array))
def test_tally_groups_equal_rows_and_loses_none(counts: np.ndarray) -> None:
    found = tally_counts(counts)
    assert (found.counts == counts).all()
    assert len(np.unique(found.patterns, axis=0)) == len(found.patterns)


def test_tally_of_very_many_categories() -> None:
    counts = np.random.default_rng(0).integers(0, 3, (20, 60))  # 3 ** 60 does not fit an integer key
    assert (tally_counts(counts).counts == counts).all()


def random_counts(num_items: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([0.6, 0.4, 0.5], num_items)
    return np.array([rng.multinomial(3, share) for share in shares])


@pytest.mark.parametrize("num_items", [60, 1500])  # multinomial below, Poisson above
def test_intervals_equal_those_of_resampling_items_one_by_one(num_items: int) -> None:
    counts, rng = random_counts(num_items), np.random.default_rng(1)
    tallied = tally_counts(counts)
    formulas = {"percent": percent_agreement, "alpha": krippendorff_alpha, "kappa": fleiss_kappa}
    part = Part(patterns=tallied.patterns, coefficients=formulas)
    found = estimate([part], tallied.multiplicity(), num_resamples=4000, rng=rng)
    for name, formula in formulas.items():
        slow = [float(formula(Totals.of(counts[rng.integers(0, num_items, num_items)]))) for _ in range(1500)]
        spread = np.std(slow)
        assert found[name].value == pytest.approx(float(formula(Totals.of(counts))))
        assert found[name].low == pytest.approx(np.percentile(slow, 2.5), abs=0.2 * spread), name
        assert found[name].high == pytest.approx(np.percentile(slow, 97.5), abs=0.2 * spread), name
        assert found[name].standard_error == pytest.approx(spread, rel=0.12), name


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth = float(percent_agreement(Totals.of(random_counts(100_000, seed=9))))
    covered = 0
    for seed in range(100):
        tallied = tally_counts(random_counts(80, seed=seed + 100))
        part = Part(patterns=tallied.patterns, coefficients={"percent": percent_agreement})
        rng = np.random.default_rng(seed)
        found = estimate([part], tallied.multiplicity(), num_resamples=400, rng=rng)["percent"]
        covered += found.low <= truth <= found.high
    assert covered >= 86  # 95 expected; 86 has a chance below 1 in 1000


def test_same_seed_gives_the_same_intervals_and_no_resamples_give_none() -> None:
    tallied = tally_counts(random_counts(50))
    part = Part(patterns=tallied.patterns, coefficients={"alpha": krippendorff_alpha})
    runs = [
        estimate([part], tallied.multiplicity(), num_resamples=100, rng=np.random.default_rng(5))["alpha"]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    none = estimate([part], tallied.multiplicity(), num_resamples=0, rng=np.random.default_rng(5))["alpha"]
    assert none.value == runs[0].value
    assert np.isnan([none.low, none.high, none.standard_error]).all()


def test_items_without_votes_do_not_widen_anything() -> None:
    counts = random_counts(40)
    few, padded = tally_counts(counts), tally_counts(np.vstack([counts, np.zeros((400, 3), dtype=int)]))
    found = [
        estimate(
            [Part(patterns=t.patterns, coefficients={"percent": percent_agreement})],
            t.multiplicity(),
            num_resamples=300,
            rng=np.random.default_rng(0),
        )["percent"]
        for t in (few, padded)
    ]
    assert found[1].standard_error == pytest.approx(found[0].standard_error)
    assert found[1].high - found[1].low == pytest.approx(found[0].high - found[0].low, rel=0.2)


def test_resamples_in_chunks_have_the_right_mean() -> None:
    statistics, multiplicity = np.array([[1.0, 2.0], [1.0, 5.0]]), np.array([30, 10])
    sums = resample_sums([statistics], multiplicity, 5000, np.random.default_rng(0))[0]
    assert sums.shape == (5000, 2)
    assert (sums[:, 0] == 40).all()  # every resample holds 40 items
    assert sums[:, 1].mean() == pytest.approx(30 * 2 + 10 * 5, rel=0.01)
