"""Coefficients of named annotators: Cohen's kappa for every pair at once, Conger's kappa for all of them.

Coefficients in which annotators are interchangeable live in `annotate_app.agreement.coefficients`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from annotate_app.agreement.coefficients import corrected, divide
from rewardkit.stats.small_samples import LEAST

Z_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class CohenKappa:
    """Cohen's kappa of each of a stack of tables.

    Attributes:
        value: (...) kappa, NaN where chance agreement is 1.
        standard_error: (...) large-sample error.
        z: (...) kappa over its error under chance.
        num_items: (...) items of each table.
    """

    value: np.ndarray
    standard_error: np.ndarray
    z: np.ndarray
    num_items: np.ndarray

    @property
    def low(self) -> np.ndarray:
        """Lower end of the 95 % interval; NaN where fewer than LEAST items, or none that differs, allow none."""
        return self.value - self._reach

    @property
    def high(self) -> np.ndarray:
        """Upper end of it."""
        return self.value + self._reach

    @property
    def _reach(self) -> np.ndarray:
        is_known = (self.num_items >= LEAST) & (self.standard_error > 1e-9)
        return np.where(is_known, Z_95 * self.standard_error, np.nan)


def cohen_kappa(tables: np.ndarray, weights: np.ndarray | None = None) -> CohenKappa:
    """Cohen's kappa, plain or weighted, with its large-sample standard error.

    kappa = (p_o - p_e) / (1 - p_e), p_o = sum w_kl p_kl, p_e = sum w_kl p_k. p_.l
    var = (sum p_kl (w_kl - (u_k + v_l)(1 - kappa))^2 - (kappa - p_e (1 - kappa))^2) / (n (1 - p_e)^2), with u_k the
    mean weight of row k over column margins and v_l likewise. Cohen 1968; Fleiss, Cohen and Everitt 1969.

    Args:
        tables: (..., C, C) counts, rows the first annotator, columns the second.
        weights: (C, C) weights of agreement (`agreement_weights`), None for the plain form.
    """
    tables = np.asarray(tables, dtype=np.float64)
    weights = np.eye(tables.shape[-1]) if weights is None else weights
    num_items = tables.sum(axis=(-2, -1))
    shares = divide(tables, num_items[..., None, None])
    rows, columns = shares.sum(axis=-1), shares.sum(axis=-2)
    observed = (shares * weights).sum(axis=(-2, -1))
    expected = np.einsum("...k,kl,...l->...", rows, weights, columns)
    kappa = corrected(observed, expected)
    reach = (columns @ weights.T)[..., :, None] + (rows @ weights)[..., None, :]
    loss = (1 - kappa)[..., None, None]
    spread = (shares * (weights - reach * loss) ** 2).sum(axis=(-2, -1)) - (kappa - expected * (1 - kappa)) ** 2
    null = np.einsum("...k,...l,...kl->...", rows, columns, (weights - reach) ** 2) - expected**2
    scale = np.sqrt(num_items) * (1 - expected)
    error = divide(np.sqrt(np.maximum(spread, 0)), scale)
    null_error = divide(np.sqrt(np.maximum(null, 0)), scale)
    return CohenKappa(value=kappa, standard_error=error, z=divide(kappa, null_error), num_items=num_items)


def kappa_values(tables: np.ndarray) -> np.ndarray:
    """(...) Cohen's kappa of tables (..., C, C) without its errors, NaN where it is undefined."""
    num_items = tables.sum(axis=(-2, -1))
    observed = divide(np.trace(tables, axis1=-2, axis2=-1), num_items)
    expected = divide((tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1), num_items**2)
    return corrected(observed, expected)


def cohen_influence(tables: np.ndarray) -> np.ndarray:
    """(..., C, C) what one more item in a cell adds to Cohen's kappa, to first order.

    n dkappa_kl = ([k = l] - p_o) / (1 - p_e) - (1 - p_o) (p_.k + p_l. - 2 p_e) / (1 - p_e)^2, the derivative whose
    square Fleiss, Cohen and Everitt (1969) average to the variance.
    """
    tables = np.asarray(tables, dtype=np.float64)
    num_items = tables.sum(axis=(-2, -1))
    shares = divide(tables, num_items[..., None, None])
    rows, columns = shares.sum(axis=-1), shares.sum(axis=-2)
    observed = np.trace(shares, axis1=-2, axis2=-1)[..., None, None]
    expected = (rows * columns).sum(axis=-1)[..., None, None]
    reach = columns[..., :, None] + rows[..., None, :] - 2 * expected
    change = divide(np.eye(tables.shape[-1]) - observed, 1 - expected) - divide(
        (1 - observed) * reach, (1 - expected) ** 2
    )
    return change / num_items[..., None, None]


@dataclass(frozen=True, kw_only=True)
class PairTables:
    """Contingency tables of every pair of annotators who share an item.

    Attributes:
        first, second: (P,) int, annotator indices, first < second.
        tables: (P, C, C) int, rows the first annotator's category.
    """

    first: np.ndarray
    second: np.ndarray
    tables: np.ndarray

    @property
    def num_items(self) -> np.ndarray:
        """(P,) shared items."""
        return self.tables.sum(axis=(1, 2))


def pair_tables(
    item: np.ndarray, annotator: np.ndarray, code: np.ndarray, *, num_items: int, num_annotators: int, num_codes: int
) -> PairTables:
    """Contingency tables of all pairs at once, from votes (N,) with at most one per item and annotator.

    One sparse product of the (annotator and category) by item indicator matrix with its transpose.
    """
    rows = annotator.astype(np.int64) * num_codes + code
    indicator = sparse.csr_array(
        (np.ones(len(item), dtype=np.int32), (rows, item)), shape=(num_annotators * num_codes, num_items)
    )
    shared = (indicator @ indicator.T).tocoo()
    one, two = shared.coords[0] // num_codes, shared.coords[1] // num_codes
    upper = one < two
    one, two = one[upper].astype(np.int64), two[upper].astype(np.int64)
    keys, pair = np.unique(one * num_annotators + two, return_inverse=True)
    cell = (pair * num_codes + shared.coords[0][upper] % num_codes) * num_codes + shared.coords[1][upper] % num_codes
    tables = np.zeros(len(keys) * num_codes**2, dtype=np.int64)
    tables[cell] = shared.data[upper]
    return PairTables(
        first=keys // num_annotators, second=keys % num_annotators, tables=tables.reshape(-1, num_codes, num_codes)
    )


def conger_kappa(annotator_counts: np.ndarray, percent: np.ndarray) -> np.ndarray:
    """Conger's kappa: chance agreement from each annotator's own distribution, averaged over pairs of annotators.

    p_e = sum_k (r pbar_k^2 - s_k^2) / r with pbar_k the mean and s_k^2 the variance (ddof 1) over the r annotators of
    their shares of category k. Conger 1980; with missing votes Gwet 2014, section 2.5.

    Args:
        annotator_counts: (..., R, C) votes by annotator and category; who has none does not count.
        percent: (...) the observed agreement (`coefficients.percent_agreement`).

    Returns:
        (...) NaN with fewer than two annotators.
    """
    votes = annotator_counts.sum(axis=-1, keepdims=True)
    num = (votes > 0).sum(axis=(-2, -1))
    shares = annotator_counts / np.maximum(votes, 1)
    means = shares.sum(axis=-2) / np.maximum(num, 1)[..., None]
    squares = ((shares - means[..., None, :]) ** 2 * (votes > 0)).sum(axis=-2)
    variances = divide(squares, np.broadcast_to((num - 1)[..., None], squares.shape))
    expected = (means**2 - variances / np.maximum(num, 1)[..., None]).sum(axis=-1)
    return np.where(num < 2, np.nan, corrected(percent, expected))
