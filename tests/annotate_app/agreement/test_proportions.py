from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

from annotate_app.agreement.proportions import difference_test, share, sign_test, trend_test, wilson_interval

COUNTS = st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(COUNTS)
def test_wilson_equals_statsmodels(counts: tuple[int, int]) -> None:
    assert wilson_interval(*counts) == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-9)


@given(COUNTS)
def test_sign_test_equals_scipy(counts: tuple[int, int]) -> None:
    assert sign_test(*counts) == pytest.approx(stats.binomtest(*counts, 0.5).pvalue)


def test_difference_equals_statsmodels() -> None:
    expected = proportions_ztest([30, 55], [80, 90])[1]
    assert difference_test(30, 80, 55, 90) == pytest.approx(expected)
    assert np.isnan(difference_test(0, 0, 5, 9))
    assert np.isnan(difference_test(5, 5, 9, 9))


def test_trend_by_hand() -> None:
    # Shares 8/10, 6/10, 4/10 at 0, 1, 2: S = 20, slope = (-1 * (8 - 6) + 1 * (4 - 6)) / 20 = -0.2.
    ten = np.array([10, 10, 10])
    slope, p = trend_test(np.arange(3), np.array([8, 6, 4]), ten, 0.6 * ten)
    assert slope == pytest.approx(-0.2)
    assert p == pytest.approx(2 * stats.norm.sf(0.2 * np.sqrt(20 / 0.24)))  # p (1 - p) = 0.6 * 0.4
    # Half of that fall was expected: -0.2 + 0.1.
    assert trend_test(np.arange(3), np.array([8, 6, 4]), ten, np.array([7, 6, 5]))[0] == pytest.approx(-0.1)


def test_trend_without_spread_is_undefined() -> None:
    for at, hits, totals in (([0], [3], [5]), ([0, 1], [0, 0], [0, 0])):
        assert np.isnan(trend_test(np.array(at), np.array(hits), np.array(totals), np.array(totals) / 2)).all()
    assert np.isnan(trend_test(np.arange(2), np.array([4, 4]), np.array([4, 4]), np.array([4, 4]))[1])


def test_empty_share_is_undefined() -> None:
    nothing = share(0, 0)
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    assert (str(nothing), str(share(1, 4))) == ("none", "25% (1 of 4)")
