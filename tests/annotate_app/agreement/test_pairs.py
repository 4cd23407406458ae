from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

from annotate_app.agreement.coefficients import agreement_weights
from annotate_app.agreement.pairs import cohen_kappa, conger_kappa, pair_tables


def random_ratings(seed: int, num_raters: int = 6, num_items: int = 80, num_codes: int = 4) -> np.ndarray:
    """(raters, items) codes, -1 missing."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_codes, num_items)
    ratings = np.where(
        rng.random((num_raters, num_items)) < 0.6, truth, rng.integers(0, num_codes, (num_raters, num_items))
    )
    ratings[rng.random(ratings.shape) < 0.3] = -1
    return ratings


def as_triples(ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rater, item = np.nonzero(ratings >= 0)
    return item, rater, ratings[rater, item]


def test_kappa_by_hand() -> None:
    # 50 proposals: agreement 35/50; rows 25, 25; columns 30, 20: chance (25 * 30 + 25 * 20) / 2500 = 1/2.
    assert float(cohen_kappa(np.array([[20, 5], [10, 15]])).value) == pytest.approx(0.4)


@pytest.mark.parametrize("weighting", ["identity", "linear", "quadratic"])
def test_all_pairs_equal_scikit_learn(weighting: str) -> None:
    ratings = random_ratings(0)
    item, rater, code = as_triples(ratings)
    pairs = pair_tables(item, rater, code, num_items=80, num_annotators=6, num_codes=4)
    assert len(pairs.first) == 15
    found = cohen_kappa(pairs.tables, agreement_weights(weighting, np.arange(4)))
    for k, (first, second) in enumerate(zip(pairs.first, pairs.second, strict=True)):
        both = (ratings[first] >= 0) & (ratings[second] >= 0)
        expected = cohen_kappa_score(
            ratings[first][both],
            ratings[second][both],
            labels=range(4),
            weights=None if weighting == "identity" else weighting,
        )
        assert found.value[k] == pytest.approx(expected)
        assert pairs.num_items[k] == both.sum()


def test_standard_errors_equal_statsmodels() -> None:
    table = np.array([[12, 3, 1], [4, 9, 2], [0, 5, 14]])
    for weighting, theirs in (("identity", None), ("linear", "linear"), ("quadratic", "quadratic")):
        found = cohen_kappa(table, agreement_weights(weighting, np.arange(3)))
        expected = inter_rater.cohens_kappa(table, wt=theirs)
        assert float(found.standard_error) == pytest.approx(expected["std_kappa"])
        assert float(found.z) == pytest.approx(expected["z_value"])


def test_exchanging_the_two_people_changes_nothing() -> None:
    table = np.array([[12, 3, 1], [4, 9, 2], [0, 5, 14]])
    weights = agreement_weights("quadratic", np.arange(3))
    assert cohen_kappa(table, weights).value == pytest.approx(cohen_kappa(table.T, weights).value)


def test_people_without_a_shared_item_are_no_pair() -> None:
    pairs = pair_tables(
        np.array([0, 1]), np.array([0, 1]), np.array([1, 1]), num_items=2, num_annotators=2, num_codes=2
    )
    assert len(pairs.first) == 0
    assert cohen_kappa(pairs.tables).value.shape == (0,)


def test_conger_of_two_complete_raters_is_cohen() -> None:
    ratings = random_ratings(1, num_raters=2)
    ratings = ratings[:, (ratings >= 0).all(axis=0)]
    own = np.stack([np.bincount(row, minlength=4) for row in ratings])
    found = conger_kappa(own, (ratings[0] == ratings[1]).mean())
    assert found == pytest.approx(cohen_kappa_score(ratings[0], ratings[1], labels=range(4)))


def test_conger_of_one_rater_is_undefined() -> None:
    assert np.isnan(conger_kappa(np.array([[3, 1]]), np.asarray(1.0)))
