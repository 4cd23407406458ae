"""Consensus by annotator error models: Dawid-Skene and a MACE-like model, fitted by EM.

Both see votes as (item, annotator, category) triples and return a posterior over categories by item. Choosing a rule,
ties and what is released live in `annotate_app.consensus.release`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import logsumexp, xlogy


@dataclass(frozen=True, kw_only=True)
class LatentTruth:
    """A fitted model.

    Attributes:
        p: (I, C) posterior of the true category; for items without votes the prevalence.
        prevalence: (C,) prior of the true category.
        confusion: (R, C, C) probability that annotator r says the last axis when the middle axis is true.
        reliability: (R,) probability that the annotator says the truth (Dawid-Skene) or looks at it (MACE).
        log_likelihood: of the votes, natural log, summed over items.
        objective: log posterior by iteration (log-likelihood plus the smoothing's log prior); never decreases.
    """

    p: np.ndarray
    prevalence: np.ndarray
    confusion: np.ndarray
    reliability: np.ndarray
    log_likelihood: float
    objective: tuple[float, ...]
    converged: bool
    num_iterations: int


@dataclass(frozen=True, kw_only=True)
class Triples:
    """N votes prepared for EM: a sparse (I, R * C) matrix of which annotator gave which answer to which item."""

    matrix: sparse.csr_array
    num_annotators: int
    num_codes: int

    @classmethod
    def of(
        cls,
        item: np.ndarray,
        annotator: np.ndarray,
        code: np.ndarray,
        *,
        num_items: int,
        num_annotators: int,
        num_codes: int,
    ) -> Triples:
        """From votes (N,) with codes in [0, num_codes)."""
        columns = annotator.astype(np.int64) * num_codes + code
        matrix = sparse.csr_array((np.ones(len(item)), (item, columns)), shape=(num_items, num_annotators * num_codes))
        return cls(matrix=matrix, num_annotators=num_annotators, num_codes=num_codes)

    def vote_shares(self) -> np.ndarray:
        """(I, C) shares of the categories among an item's votes; uniform for items without votes."""
        code_of_column = np.tile(np.eye(self.num_codes), (self.num_annotators, 1))
        counts = np.asarray(self.matrix @ code_of_column)
        totals = counts.sum(axis=1, keepdims=True)
        return np.where(totals > 0, counts / np.maximum(totals, 1), 1 / self.num_codes)


def dawid_skene(
    votes: Triples, *, smoothing: float = 1.0, max_iterations: int = 500, tolerance: float = 1e-7
) -> LatentTruth:
    """Dawid-Skene: every annotator has a full confusion matrix, the truth a prevalence; EM from vote shares.

    E: p_ik proportional to pi_k prod_r confusion[r, k, vote_ri].  M: confusion[r, k, c] proportional to the sum of p_ik
    over r's votes c, plus smoothing s (1 + [k = c]) / (C + 1); pi the mean of p.  Dawid and Skene 1979, eq. 2.3 to 2.5;
    s = 0 is their maximum likelihood, s > 0 a Dirichlet prior worth s votes a row, twice as likely right as any error.

    Args:
        smoothing: s, votes per row of each confusion matrix, 0 or more.
        tolerance: stop when the log posterior rises by less than this share of itself.
    """
    num_codes = votes.num_codes
    prior = smoothing * (1 + np.eye(num_codes)) / (num_codes + 1)
    p = votes.vote_shares()
    voted = np.diff(votes.matrix.indptr) > 0
    transposed = votes.matrix.T.tocsr()
    objective: list[float] = []
    while True:
        votes_by_truth = (
            (transposed @ p).reshape(votes.num_annotators, num_codes, num_codes).swapaxes(1, 2)
        )  # (R, truth, said)
        weights = votes_by_truth + prior
        rows = weights.sum(axis=2, keepdims=True)
        confusion = np.where(rows > 0, weights / np.where(rows > 0, rows, 1.0), 1 / num_codes)
        prevalence = p[voted].mean(axis=0) if voted.any() else np.full(num_codes, 1 / num_codes)
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(confusion), -1e4)
            log_prior = np.maximum(np.log(prevalence), -1e4)
        scores = votes.matrix @ logs.swapaxes(1, 2).reshape(-1, num_codes) + log_prior
        evidence = np.asarray(logsumexp(scores, axis=1, keepdims=True))
        p = np.exp(scores - evidence)
        log_likelihood = float(evidence[voted].sum())
        objective.append(log_likelihood + float(xlogy(prior, confusion).sum()))
        converged = _settled(objective, tolerance)
        if converged or len(objective) >= max_iterations:
            break
    return LatentTruth(
        p=p,
        prevalence=prevalence,
        confusion=confusion,
        reliability=np.einsum("k,rkk->r", prevalence, confusion),
        log_likelihood=log_likelihood,
        objective=tuple(objective),
        converged=converged,
        num_iterations=len(objective),
    )


def mace(votes: Triples, *, smoothing: float = 1.0, max_iterations: int = 500, tolerance: float = 1e-7) -> LatentTruth:
    """MACE-like: an annotator tells the truth with probability theta, else answers from an own habit xi.

    P(vote c | truth k, r) = theta_r [c = k] + (1 - theta_r) xi_rc, truth uniform.  Hovy et al. 2013 (N13-1132), s. 3.
    Differs from theirs: one deterministic start (theta 0.8, xi uniform) in place of 10 random restarts; Dirichlet
    priors worth `smoothing` votes on theta and on xi (maximum a posteriori) in place of variational Bayes.
    """
    num_codes, num_annotators = votes.num_codes, votes.num_annotators
    votes_by_code = np.asarray(votes.matrix.sum(axis=0)).reshape(num_annotators, num_codes)
    voted = np.diff(votes.matrix.indptr) > 0
    transposed = votes.matrix.T.tocsr()
    theta = np.full(num_annotators, 0.8)
    habit = np.full((num_annotators, num_codes), 1 / num_codes)
    objective: list[float] = []
    while True:
        table = theta[:, None, None] * np.eye(num_codes) + (1 - theta)[:, None, None] * habit[:, None, :]
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(table), -1e4)
        scores = votes.matrix @ logs.swapaxes(1, 2).reshape(-1, num_codes) - np.log(num_codes)
        evidence = np.asarray(logsumexp(scores, axis=1, keepdims=True))
        p = np.exp(scores - evidence)
        log_likelihood = float(evidence[voted].sum())
        on_theta = xlogy(smoothing / 2, theta) + xlogy(smoothing / 2, 1 - theta)
        on_habit = xlogy(smoothing / num_codes, habit)
        objective.append(log_likelihood + float(on_theta.sum() + on_habit.sum()))
        converged = _settled(objective, tolerance)
        if converged or len(objective) >= max_iterations:
            break
        agreed = np.einsum("rcc->rc", (transposed @ p).reshape(num_annotators, num_codes, num_codes))
        knowing = theta[:, None] + (1 - theta)[:, None] * habit
        truthful = agreed * theta[:, None] / np.where(knowing > 0, knowing, 1.0)
        guessed = np.maximum(votes_by_code - truthful, 0) + smoothing / num_codes  # rounding may leave -1e-16
        theta = np.minimum(
            _share(truthful.sum(axis=1) + smoothing / 2, votes_by_code.sum(axis=1) + smoothing, 0.5), 1.0
        )
        habit = _share(guessed, guessed.sum(axis=1, keepdims=True), 1 / num_codes)
    return LatentTruth(
        p=p,
        prevalence=np.full(num_codes, 1 / num_codes),
        confusion=table,
        reliability=theta,
        log_likelihood=log_likelihood,
        objective=tuple(objective),
        converged=converged,
        num_iterations=len(objective),
    )


def _settled(objective: list[float], tolerance: float) -> bool:
    return len(objective) > 1 and objective[-1] - objective[-2] <= tolerance * abs(objective[-1])


def _share(part: np.ndarray, whole: np.ndarray, default: float) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), default)
