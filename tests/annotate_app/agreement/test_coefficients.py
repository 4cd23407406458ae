from __future__ import annotations

from itertools import combinations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from annotate_app.agreement.bootstrap import Estimate, Part, estimate, tally_counts
from annotate_app.agreement.coefficients import (
    Totals,
    agreement_weights,
    brennan_prediger,
    fleiss_kappa,
    fleiss_z,
    gwet_ac,
    krippendorff_alpha,
    percent_agreement,
    pooled_agreement,
)
from annotate_app.agreement.pairs import cohen_kappa, conger_kappa

COUNTS = st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=12).map(np.array)


def read_case(case: dict) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, int]]]:
    """Counts (I, C), category values (C,) and (item, rater, category) triples of a case that is not a table."""
    rows = case["data"]
    if case["layout"] == "units_by_category_counts":
        return np.array(rows), np.arange(1.0, len(rows[0]) + 1), []
    if case["layout"] == "raters_by_units":
        rows = [list(unit) for unit in zip(*rows, strict=True)]
    values = sorted({value for row in rows for value in row if value is not None})
    triples = [(i, r, values.index(v)) for i, row in enumerate(rows) for r, v in enumerate(row) if v is not None]
    return np.array([[row.count(value) for value in values] for row in rows]), np.array(values, dtype=float), triples


def measure(case: dict) -> dict[str, float]:
    """Every figure that the vectors name, by their names."""
    if case["layout"] == "contingency_table":
        table = np.array(case["data"])
        plain = cohen_kappa(table)
        linear = cohen_kappa(table, agreement_weights("linear", np.arange(len(table))))
        pairs = np.array([np.eye(len(table))[r] + np.eye(len(table))[c] for r, c in np.ndindex(table.shape)])
        return {
            "percent_agreement": float(np.trace(table) / table.sum()),
            "cohen_kappa": float(plain.value),
            "cohen_kappa_ase": float(plain.standard_error),
            "cohen_kappa_ci95": [float(plain.low), float(plain.high)],
            "z": float(plain.z),
            "weighted_kappa_linear": float(linear.value),
            "weighted_kappa_linear_ase": float(linear.standard_error),
            "weighted_kappa_linear_ci95": [float(linear.low), float(linear.high)],
            "gwet_ac1": float(gwet_ac(Totals.of(np.repeat(pairs, table.ravel(), axis=0)))),
        }
    counts, values, triples = read_case(case)
    totals = Totals.of(counts)
    found = {
        "percent_agreement": percent_agreement(totals),
        "fleiss_kappa": fleiss_kappa(totals),
        "fleiss_kappa_z": fleiss_z(counts, float(fleiss_kappa(totals))),
        "gwet_ac1": gwet_ac(totals),
        "brennan_prediger": brennan_prediger(totals),
        "randolph_kappa": brennan_prediger(totals),
        "krippendorff_alpha_nominal": krippendorff_alpha(totals),
        "krippendorff_alpha_ordinal": krippendorff_alpha(totals, "ordinal"),
        "krippendorff_alpha_interval": krippendorff_alpha(totals, "interval", values),
        "krippendorff_alpha_ratio": krippendorff_alpha(totals, "ratio", values),
    }
    if triples:
        own = np.zeros((1 + max(rater for _, rater, _ in triples), len(values)))
        for _, rater, code in triples:
            own[rater, code] += 1
        found["conger_kappa"] = conger_kappa(own, np.asarray(found["percent_agreement"]))
    return {name: float(value) for name, value in found.items()}


CASES = (
    *("krippendorff_2011_4x12", "gwet_2014_4raters", "fleiss_1971_diagnoses", "sas_agree_3x3", "gwet_distrib_6raters"),
    *("cohen_50_proposals", "cohen_same_agreement_a", "kappa_paradox_2x2"),
)


@pytest.mark.parametrize("name", CASES)
def test_published_and_oracle_values_are_reproduced(name: str, agreement_vectors: dict) -> None:
    case = next(case for case in agreement_vectors["cases"] if case["id"] == name)
    found = measure(case)
    for key, value in (case["published"] or {}).items():
        decimals = 5 if key == "fleiss_kappa_z" else case["published_decimals"]  # z is printed to seven digits
        assert found[key] == pytest.approx(value, abs=0.51 * 10**-decimals), key
    for key, value in case["oracle"].items():
        assert found[key] == pytest.approx(value, abs=0.51e-5), key


def test_printed_standard_errors_are_reproduced_on_complete_data(agreement_vectors: dict) -> None:
    case = next(case for case in agreement_vectors["cases"] if case["id"] == "gwet_distrib_6raters")
    formulas = {"gwet_ac1": gwet_ac, "fleiss_kappa": fleiss_kappa, "brennan_prediger": brennan_prediger}
    tallied = tally_counts(np.array(case["data"]))
    found: dict[str, Estimate] = estimate(
        [Part(patterns=tallied.patterns, coefficients=formulas)],
        tallied.multiplicity(),
        num_resamples=10,
        rng=np.random.default_rng(0),
    )
    for key in formulas:
        assert found[key].standard_error == pytest.approx(case["published_standard_errors"][key], abs=1e-7), key


def test_every_vote_the_same_is_undefined_beyond_chance(agreement_vectors: dict) -> None:
    case = next(case for case in agreement_vectors["cases"] if case["id"] == "degenerate_all_one_category")
    found = measure(case)
    assert found["percent_agreement"] == 1
    for key in ("fleiss_kappa", "gwet_ac1", "brennan_prediger", "krippendorff_alpha_nominal", "conger_kappa"):
        assert np.isnan(found[key]), key
    assert np.isnan(cohen_kappa(np.array([[5, 0], [0, 0]])).value)


@pytest.mark.parametrize(("name", "alpha"), [("two_raters_perfect", 1.0), ("two_raters_opposite", -0.75)])
def test_total_agreement_and_opposition(name: str, alpha: float, agreement_vectors: dict) -> None:
    case = next(case for case in agreement_vectors["cases"] if case["id"] == f"degenerate_{name}")
    assert measure(case)["krippendorff_alpha_nominal"] == pytest.approx(alpha)


def test_hand_worked_two_items() -> None:
    # Item 1: a a b (3 pairs, 1 agrees), item 2: b b (1 pair, agrees). Shares pi_a = (2/3 + 0) / 2 = 1/3, pi_b = 2/3.
    totals = Totals.of(np.array([[2, 1], [0, 2]]))
    assert percent_agreement(totals) == pytest.approx((1 / 3 + 1) / 2)
    assert pooled_agreement(totals) == pytest.approx(2 / 4)
    assert fleiss_kappa(totals) == pytest.approx((2 / 3 - 5 / 9) / (1 - 5 / 9))
    # AC1: p_e = 2 / (2 * 1) * (1/3 * 2/3 + 2/3 * 1/3) = 4/9; Brennan-Prediger: p_e = 1/2
    assert gwet_ac(totals) == pytest.approx((2 / 3 - 4 / 9) / (5 / 9))
    assert brennan_prediger(totals) == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    # alpha: o_ab = o_ba = 2 / 2 = 1, n_a = 2, n_b = 3, n = 5: 1 - 4 * 2 / (2 * 2 * 3) = 1/3
    assert krippendorff_alpha(totals) == pytest.approx(1 / 3)


def test_ordinal_weights_by_hand() -> None:
    # Four ranks: M = 0, 1, 3, 6 by distance, over the largest 6.
    assert agreement_weights("ordinal", np.array([-3, -1, 1, 3]))[0] == pytest.approx([1, 5 / 6, 1 / 2, 0])
    assert agreement_weights("linear", np.array([-3, -1, 1, 3]))[0] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert agreement_weights("quadratic", np.array([-3, -1, 1, 3]))[0] == pytest.approx([1, 8 / 9, 5 / 9, 0])


def test_gwet_weighted_by_hand() -> None:
    # One item rated 1 and 2 of three levels, one rated 3 and 3; linear weights 1, 1/2, 0, their sum T = 3 + 4/2 = 5.
    # p_a = (1/2 + 1) / 2; pi = (1/4, 1/4, 1/2); p_e = 5 / 6 * (3/16 + 3/16 + 1/4) = 5/6 * 5/8
    totals = Totals.of(np.array([[1, 1, 0], [0, 0, 2]]))
    weights = agreement_weights("linear", np.arange(3))
    assert gwet_ac(totals, weights) == pytest.approx((3 / 4 - 25 / 48) / (1 - 25 / 48))


def naive_alpha(counts: np.ndarray, values: np.ndarray, metric: str) -> float:
    """Krippendorff's alpha by listing every pair of votes."""
    units = [[k for k, count in enumerate(row) for _ in range(count)] for row in counts]
    units = [unit for unit in units if len(unit) > 1]
    everything = [vote for unit in units for vote in unit]
    number = np.bincount(everything, minlength=len(values)) if everything else np.zeros(len(values))

    def distance(c: int, k: int) -> float:
        if metric == "nominal":
            return float(c != k)
        if metric == "interval":
            return float((values[c] - values[k]) ** 2)
        low, high = min(c, k), max(c, k)
        return float((number[low : high + 1].sum() - (number[c] + number[k]) / 2) ** 2)

    observed = sum(2 * distance(c, k) / (len(unit) - 1) for unit in units for c, k in combinations(unit, 2)) / max(
        len(everything), 1
    )
    pairs = list(combinations(everything, 2))
    expected = sum(distance(c, k) for c, k in pairs) / max(len(pairs), 1)
    return 1 - observed / expected if expected > 0 else float("nan")


@given(counts=COUNTS, metric=st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_equals_the_list_of_all_pairs(counts: np.ndarray, metric: str) -> None:
    values = np.array([-2.0, -1.0, 1.0, 4.0])
    found = float(krippendorff_alpha(Totals.of(counts), metric, values))
    assert found == pytest.approx(naive_alpha(counts, values, metric), abs=1e-9, nan_ok=True)


@given(counts=COUNTS)
def test_percent_agreement_equals_the_list_of_all_pairs(counts: np.ndarray) -> None:
    units = [[k for k, count in enumerate(row) for _ in range(count)] for row in counts]
    shares = [[x == y for x, y in combinations(unit, 2)] for unit in units if len(unit) > 1]
    totals = Totals.of(counts)
    mean = np.mean([np.mean(share) for share in shares]) if shares else np.nan
    pooled = np.mean([same for share in shares for same in share]) if shares else np.nan
    assert float(percent_agreement(totals)) == pytest.approx(mean, nan_ok=True)
    assert float(pooled_agreement(totals)) == pytest.approx(pooled, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
def test_alpha_equals_krippendorff_package(seed: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    ratings = np.clip(rng.normal(0, 2, 60)[None, :] + rng.normal(0, 1.5, (7, 60)), -3, 3).round()
    ratings[rng.random(ratings.shape) < 0.4] = np.nan
    levels = np.arange(-3.0, 4)
    counts = np.stack([(ratings == level).sum(axis=0) for level in levels], axis=1)
    expected = krippendorff.alpha(reliability_data=ratings, level_of_measurement=metric, value_domain=levels)
    assert float(krippendorff_alpha(Totals.of(counts), metric, levels)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_fleiss_and_randolph_equal_statsmodels(seed: int) -> None:
    counts = np.random.default_rng(seed).multinomial(5, [0.5, 0.3, 0.1, 0.1], size=40)
    totals = Totals.of(counts)
    assert float(fleiss_kappa(totals)) == pytest.approx(inter_rater.fleiss_kappa(counts))
    assert float(brennan_prediger(totals)) == pytest.approx(inter_rater.fleiss_kappa(counts, method="randolph"))


@given(counts=COUNTS, order=st.permutations(range(4)))
def test_nominal_figures_ignore_the_names_of_categories(counts: np.ndarray, order: list[int]) -> None:
    here, there = Totals.of(counts), Totals.of(counts[:, order])
    for formula in (percent_agreement, fleiss_kappa, gwet_ac, brennan_prediger, krippendorff_alpha):
        assert float(formula(here)) == pytest.approx(float(formula(there)), abs=1e-9, nan_ok=True)


def test_alpha_without_values_names_the_metric() -> None:
    with pytest.raises(ValueError, match="interval"):
        krippendorff_alpha(Totals.of(np.array([[1, 1]])), "interval")
