"""Agreement of each annotator with the rest and of every pair of annotators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.agreement.annotator_bootstrap import Blocks, mean_kappa_estimate
from annotate_app.agreement.bootstrap import Estimate, draw_posterior, resample_sums
from annotate_app.agreement.coefficients import agreement_weights, corrected, divide
from annotate_app.agreement.pairs import CohenKappa, cohen_kappa, pair_tables
from annotate_app.agreement.vote_categories import Ballots
from rewardkit.stats.small_samples import is_enough


@dataclass(frozen=True, kw_only=True)
class AnnotatorAgreement:
    """One annotator against the others on the items they share.

    Attributes:
        num_items: items that the annotator and somebody else judged.
        percent: mean over these of the share of the others' votes that equal the annotator's.
        kappa: the same corrected for chance, from the annotator's and the others' distributions.
    """

    name: str
    num_items: int
    percent: Estimate
    kappa: Estimate

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "num_items": self.num_items,
            "percent": self.percent.as_dict(),
            "kappa": self.kappa.as_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class PairAgreement:
    """Columns over the pairs of annotators who share an item.

    Attributes:
        annotators: (R,) names; first and second (P,) index them.
        num_items: (P,) shared items.
        percent: (P,) share of them with the same answer.
        mean_kappa: Cohen's kappa, mean over pairs weighted by their shared items (`mean_kappa_estimate`).
        kappa: Cohen's kappa on the answers; kappa_linear and kappa_quadratic weighted, on the degrees.
    """

    annotators: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray
    num_items: np.ndarray
    percent: np.ndarray
    mean_kappa: Estimate
    kappa: CohenKappa
    kappa_linear: CohenKappa
    kappa_quadratic: CohenKappa

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """A column (P,) as a symmetric (R, R) matrix, NaN where a pair shares nothing and on the diagonal."""
        dense = np.full((len(self.annotators), len(self.annotators)), np.nan)
        dense[self.first, self.second] = values
        dense[self.second, self.first] = values
        return dense

    def as_dict(self) -> dict[str, object]:
        rows = [
            {
                "first": self.annotators[first],
                "second": self.annotators[second],
                "num_items": int(self.num_items[k]),
                "percent": float(self.percent[k]),
                "kappa": float(self.kappa.value[k]),
                "kappa_low": float(self.kappa.low[k]),
                "kappa_high": float(self.kappa.high[k]),
                "kappa_linear": float(self.kappa_linear.value[k]),
                "kappa_quadratic": float(self.kappa_quadratic.value[k]),
            }
            for k, (first, second) in enumerate(zip(self.first.tolist(), self.second.tolist(), strict=True))
        ]
        return {"mean_kappa": self.mean_kappa.as_dict(), "pairs": rows}


def pair_agreement(ballots: Ballots, names: tuple[str, ...], blocks: Blocks) -> PairAgreement:
    """Percent and Cohen's kappas of all pairs of annotators; a pair without shared degrees has NaN weighted kappas."""
    sizes = {"num_items": ballots.num_items, "num_annotators": ballots.num_annotators}
    answers = pair_tables(ballots.item, ballots.annotator, ballots.answer, num_codes=len(ballots.categories), **sizes)
    has_degree = ballots.degree >= 0
    num_levels = max(len(ballots.levels), 1)
    degrees = pair_tables(
        ballots.item[has_degree],
        ballots.annotator[has_degree],
        ballots.degree[has_degree],
        num_codes=num_levels,
        **sizes,
    )
    keys = answers.first * ballots.num_annotators + answers.second
    rows = np.searchsorted(keys, degrees.first * ballots.num_annotators + degrees.second)
    tables = np.zeros((len(keys), num_levels, num_levels))
    tables[rows] = degrees.tables
    levels = ballots.levels if len(ballots.levels) else np.zeros(1)
    return PairAgreement(
        annotators=names,
        first=answers.first,
        second=answers.second,
        num_items=answers.num_items,
        percent=divide(np.trace(answers.tables, axis1=1, axis2=2), answers.num_items),
        mean_kappa=mean_kappa_estimate(ballots, answers, blocks),
        kappa=cohen_kappa(answers.tables),
        kappa_linear=cohen_kappa(tables, agreement_weights("linear", levels)),
        kappa_quadratic=cohen_kappa(tables, agreement_weights("quadratic", levels)),
    )


def annotator_agreements(
    ballots: Ballots, names: tuple[str, ...], num_resamples: int, rng: np.random.Generator
) -> tuple[AnnotatorAgreement, ...]:
    """Each annotator who shares an item with somebody, against the mean of the others' votes.

    With s_ik the share of category k among the others on item i and x_i the own answer: p_o = mean s_i,x_i, p_e = sum_k
    mean[x_i = k] mean s_ik. Votes are grouped by (annotator, answer, pattern of the item), so resampling is cheap.
    """
    width = len(ballots.categories)
    answers = ballots.nominal_tally
    num_patterns = len(answers.patterns)
    cell = ballots.answer * num_patterns + answers.pattern[ballots.item]
    cells = np.bincount(ballots.annotator.astype(np.int64) * (width * num_patterns) + cell)
    keys = np.flatnonzero(cells)
    counts = cells[keys]
    owner, code, pattern = keys // (width * num_patterns), keys // num_patterns % width, keys % num_patterns
    own = np.eye(width)[code]
    others = answers.patterns[pattern] - own
    size = others.sum(axis=1)
    shares = others / np.maximum(size, 1)[:, None]
    statistics = np.hstack([np.ones((len(keys), 1)), (shares * own).sum(axis=1, keepdims=True), own, shares])
    agreements: list[AnnotatorAgreement] = []
    for index, name in enumerate(names):
        mine = (owner == index) & (size > 0)
        if mine.any():
            figures = _against_rest(statistics[mine], counts[mine], width, num_resamples, rng)
            num_items = int(counts[mine].sum())
            agreements.append(AnnotatorAgreement(name=name, num_items=num_items, percent=figures[0], kappa=figures[1]))
    return tuple(agreements)


def _against_rest(
    statistics: np.ndarray, counts: np.ndarray, width: int, num_resamples: int, rng: np.random.Generator
) -> tuple[Estimate, Estimate]:
    """Percent and kappa with intervals over items: of resamples, or where these are too few, of `draw_posterior`."""
    sums = counts @ statistics
    percent, kappa = (float(value) for value in _percent_and_kappa(sums, width))
    if num_resamples == 0:
        return Estimate(value=percent), Estimate(value=kappa)
    if is_enough(percent, float(counts.sum())):
        samples = _percent_and_kappa(resample_sums([statistics], counts, num_resamples, rng)[0], width)
        return Estimate.of_samples(percent, samples[0]), Estimate.of_samples(kappa, samples[1])
    habits = sums[2:].reshape(2, width).sum(axis=0) + 1 / width
    habits = np.tile(habits / habits.sum(), 2)
    imagined = np.array([[1.0, agrees, *habits] for agrees in (1.0, 0.0)])
    weights = draw_posterior(counts, num_resamples, rng.spawn(1)[0])
    samples = _percent_and_kappa(weights @ np.vstack([statistics, imagined]), width)
    if np.isnan(kappa):
        return Estimate.of_posterior(percent, samples[0]), Estimate(value=kappa)
    return Estimate.of_posterior(percent, samples[0]), Estimate.of_posterior(kappa, samples[1])


def _percent_and_kappa(sums: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    means = sums / sums[..., :1]
    expected = (means[..., 2 : 2 + width] * means[..., 2 + width :]).sum(axis=-1)
    return means[..., 1], corrected(means[..., 1], expected)
