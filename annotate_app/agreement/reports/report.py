"""The agreement report: overall, by criterion, annotator, source model, time, and by pair of annotators.

Votes in, frozen results out. Coefficients live in `annotate_app.agreement.coefficients` and
`annotate_app.agreement.pairs`, which votes count and what a category is in `annotate_app.agreement.vote_categories`,
the intervals over items in `annotate_app.agreement.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np

from annotate_app.agreement.annotator_bootstrap import conger_estimate, draw_blocks
from annotate_app.agreement.annotators import AnnotatorAgreement, PairAgreement, annotator_agreements, pair_agreement
from annotate_app.agreement.bootstrap import Clusters, Coefficient, Estimate, Part, estimate
from annotate_app.agreement.coefficients import (
    IntraclassCorrelations,
    agreement_weights,
    brennan_prediger,
    fleiss_kappa,
    fleiss_z,
    gwet_ac,
    intraclass_correlations,
    krippendorff_alpha,
    percent_agreement,
    pooled_agreement,
)
from annotate_app.agreement.spans import SpanAgreement
from annotate_app.agreement.vote_categories import NOMINAL, NOMINAL_CODES, Ballots, criterion_ballots, overall_ballots
from annotate_app.votes import Votes
from rewardkit.stats.small_samples import LEAST

VIEWS = ("criterion", "annotator", "source", "time")
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Figures of one group of items.

    Attributes:
        name: what the group is: overall, a criterion, a source, a day or a week.
        num_items: items with two counted votes or more; only these say anything about agreement.
        num_votes: counted votes on all items of the group.
        estimates: by name (`FIGURES` explains them).
    """

    name: str
    num_items: int
    num_votes: int
    estimates: Mapping[str, Estimate]

    def as_dict(self) -> dict[str, object]:
        figures = {name: figure.as_dict() for name, figure in self.estimates.items()}
        return {"name": self.name, "num_items": self.num_items, "num_votes": self.num_votes, "estimates": figures}


FIGURES = {
    "percent": "share of vote pairs that agree, mean over items; ties are an answer of their own",
    "percent_ties_out": "the same over decided votes only (ties and both bad left out)",
    "percent_ties_half": "the same with a tie against a preference counted as half",
    "pooled": "share of all vote pairs that agree, every pair counts the same",
    "pooled_ties_out": "pooled, over decided votes only",
    "pooled_ties_half": "pooled, a tie against a preference counted as half",
    "fleiss_kappa": "Fleiss' kappa, missing votes allowed",
    "alpha_nominal": "Krippendorff's alpha, answers as names",
    "ac1": "Gwet's AC1",
    "brennan_prediger": "Brennan-Prediger (Randolph's) kappa",
    "alpha_ordinal": "Krippendorff's alpha, degrees in order",
    "alpha_interval": "Krippendorff's alpha, degrees at equal distances",
    "ac2_linear": "Gwet's AC2, linear weights over the degrees",
    "ac2_quadratic": "Gwet's AC2, quadratic weights over the degrees",
    "ac2_ordinal": "Gwet's AC2, ordinal weights over the degrees",
}


@dataclass(frozen=True, kw_only=True)
class AgreementReport:
    """Everything the agreement page and command show.

    Attributes:
        conger_kappa: Conger's kappa of all people, overall.
        fleiss_z: Fleiss' kappa over its error under chance; NaN unless every item has the same number of votes.
        intraclass: of the degrees, where every annotator gave one on every item; else None.
        categories, levels: the answers and the signed degrees that the figures know.
        days_a_period: how many days each of `periods` has, which are named by their first.
        spans: on marked words, by flag; filled in where the project's marks are at hand.
    """

    overall: Agreement
    conger_kappa: Estimate
    fleiss_z: float
    intraclass: IntraclassCorrelations | None
    criteria: tuple[Agreement, ...]
    annotators: tuple[AnnotatorAgreement, ...]
    sources: tuple[Agreement, ...]
    periods: tuple[Agreement, ...]
    pairs: PairAgreement
    categories: tuple[str, ...]
    levels: tuple[float, ...]
    num_resamples: int
    days_a_period: int = 1
    spans: tuple[SpanAgreement, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {
            "overall": self.overall.as_dict(),
            "reading": reading(self.overall),
            "conger_kappa": self.conger_kappa.as_dict(),
            "fleiss_z": self.fleiss_z,
            "intraclass": self.intraclass.as_dict() if self.intraclass else None,
            "criteria": [part.as_dict() for part in self.criteria],
            "annotators": [part.as_dict() for part in self.annotators],
            "sources": [part.as_dict() for part in self.sources],
            "periods": [part.as_dict() for part in self.periods],
            "pairs": self.pairs.as_dict(),
            "categories": list(self.categories),
            "levels": list(self.levels),
            "num_resamples": self.num_resamples,
            "spans": [part.as_dict() for part in self.spans],
        }


def agreement_report(
    votes: Votes, *, num_resamples: int = 1000, seed: int = 0, by: tuple[str, ...] = VIEWS
) -> AgreementReport:
    """The whole report of a project's votes.

    Args:
        num_resamples: bootstrap resamples of items behind every interval; 0 leaves intervals out.
        seed: of the resamples.
        by: which of `VIEWS` to compute beside the overall figures and the pairs.

    Raises:
        ValueError: on an unknown view.
    """
    for view in by:
        if view not in VIEWS:
            raise ValueError(f"by is {view!r}, allowed are {', '.join(VIEWS)}")
    rng = np.random.default_rng(seed)
    counted = votes.counted()
    ballots = overall_ballots(counted)
    cluster = votes.clusters
    measure = QuestionFigures(ballots, num_resamples, rng, cluster)
    criteria: list[Agreement] = []
    for name in sorted(votes.criteria) if "criterion" in by else ():
        criterion = QuestionFigures(criterion_ballots(counted, name), num_resamples, rng, cluster)
        criteria.append(criterion.of(name, None))
    groups = source_items(votes) if "source" in by else {}
    days_a_period, periods = period_items(counted) if "time" in by else (1, {})
    annotators = annotator_agreements(ballots, votes.annotators, num_resamples, rng) if "annotator" in by else ()
    overall = measure.of("overall", None)
    blocks = draw_blocks(ballots, num_resamples, rng, cluster)
    return AgreementReport(
        overall=overall,
        conger_kappa=conger_estimate(ballots, overall.estimates["percent"].value, blocks),
        fleiss_z=fleiss_z(measure.nominal.counts, overall.estimates["fleiss_kappa"].value),
        intraclass=_intraclass(ballots),
        criteria=tuple(criteria),
        annotators=annotators,
        sources=tuple(measure.of(name, members) for name, members in groups.items()),
        periods=tuple(measure.of(name, members) for name, members in periods.items()),
        days_a_period=days_a_period,
        pairs=pair_agreement(ballots, votes.annotators, blocks),
        categories=tuple(NOMINAL[code] for code in ballots.categories),
        levels=tuple(float(level) for level in ballots.levels),
        num_resamples=num_resamples,
    )


class QuestionFigures:
    """The tallies of one question, ready to give the figures of any group of items."""

    def __init__(
        self, ballots: Ballots, num_resamples: int, rng: np.random.Generator, cluster: np.ndarray | None = None
    ) -> None:
        self.cluster = cluster  # (I,) of each item, where several hang together
        self.nominal = ballots.nominal_tally
        self.degrees = ballots.degree_tally()
        self.num_resamples = num_resamples
        self.rng = rng
        patterns, categories = self.nominal.patterns, ballots.categories
        by_name = {NOMINAL[code]: patterns[:, column] for column, code in enumerate(categories)}
        none = np.zeros(len(patterns), dtype=patterns.dtype)
        ties = by_name.get("tie", none) + by_name.get("both_bad", none)
        self.nominal_parts = (
            Part(patterns=patterns, coefficients=_nominal_figures()),
            Part(patterns=np.stack([by_name["a"], by_name["b"]], axis=1), coefficients=_decided_figures()),
            Part(patterns=np.stack([by_name["a"], ties, by_name["b"]], axis=1), coefficients=_half_figures()),
        )
        self.degree_part = Part(patterns=self.degrees.patterns, coefficients=_degree_figures(ballots.levels))

    def of(self, name: str, members: np.ndarray | None) -> Agreement:
        """The figures of all items, or of the items at indices `members`."""
        multiplicity = self.nominal.multiplicity(members)
        draws = {"num_resamples": self.num_resamples, "rng": self.rng}
        clusters = [self._clusters(tally.pattern, members) for tally in (self.nominal, self.degrees)]
        estimates = estimate(self.nominal_parts, multiplicity, clusters=clusters[0], **draws)
        degrees = self.degrees.multiplicity(members)
        estimates |= estimate([self.degree_part], degrees, clusters=clusters[1], **draws)
        votes = self.nominal.patterns.sum(axis=1)
        return Agreement(
            name=name,
            num_items=int(multiplicity[votes >= 2].sum()),
            num_votes=int(multiplicity @ votes),
            estimates={figure: estimates[figure] for figure in FIGURES},
        )

    def _clusters(self, pattern: np.ndarray, members: np.ndarray | None) -> Clusters | None:
        if self.cluster is None:
            return None
        chosen = slice(None) if members is None else members
        return Clusters(pattern=pattern[chosen], cluster=self.cluster[chosen])


def _nominal_figures() -> dict[str, Coefficient]:
    return {
        "percent": percent_agreement,
        "pooled": pooled_agreement,
        "fleiss_kappa": fleiss_kappa,
        "alpha_nominal": krippendorff_alpha,
        "ac1": gwet_ac,
        "brennan_prediger": brennan_prediger,
    }


def _decided_figures() -> dict[str, Coefficient]:
    return {"percent_ties_out": percent_agreement, "pooled_ties_out": pooled_agreement}


def _half_figures() -> dict[str, Coefficient]:
    weights = agreement_weights("linear", np.arange(len(NOMINAL_CODES) - 1))  # a, tie, b: a tie is half way
    return {
        "percent_ties_half": partial(percent_agreement, weights=weights),
        "pooled_ties_half": partial(pooled_agreement, weights=weights),
    }


def _degree_figures(levels: np.ndarray) -> dict[str, Coefficient]:
    return {
        "alpha_ordinal": partial(krippendorff_alpha, metric="ordinal"),
        "alpha_interval": partial(krippendorff_alpha, metric="interval", values=levels),
        "ac2_linear": partial(gwet_ac, weights=agreement_weights("linear", levels)),
        "ac2_quadratic": partial(gwet_ac, weights=agreement_weights("quadratic", levels)),
        "ac2_ordinal": partial(gwet_ac, weights=agreement_weights("ordinal", levels)),
    }


def _intraclass(ballots: Ballots) -> IntraclassCorrelations | None:
    """Computes the intraclass correlations of items and annotators with a degree; None if the table has a gap."""
    has_degree = ballots.degree >= 0
    item, annotator = ballots.item[has_degree], ballots.annotator[has_degree]
    items = np.bincount(item, minlength=ballots.num_items) > 0
    people = np.bincount(annotator, minlength=ballots.num_annotators) > 0
    shape = int(items.sum()), int(people.sum())
    if min(shape) < 2 or len(item) != shape[0] * shape[1]:
        return None
    ratings = np.empty(shape)
    ratings[np.cumsum(items)[item] - 1, np.cumsum(people)[annotator] - 1] = ballots.levels[ballots.degree[has_degree]]
    return intraclass_correlations(ratings)


def source_items(votes: Votes) -> dict[str, np.ndarray]:
    """By source, in its order, the indices of the items in which it takes part; the unnamed source is left out."""
    return {
        name: np.flatnonzero((votes.item_source_a == code) | (votes.item_source_b == code))
        for code, name in enumerate(votes.sources)
        if name
    }


def period_items(votes: Votes) -> tuple[int, dict[str, np.ndarray]]:
    """By day (spans of up to three weeks) or by week's Monday, the items whose last vote fell into it (UTC).

    The number of days of each comes first. Votes without a time (0, imported) are left out.
    """
    last = np.zeros(len(votes.items))
    np.maximum.at(last, votes.item, votes.created_at)
    timed = np.flatnonzero(last > 0)
    if not len(timed):
        return 1, {}
    day = np.floor(last[timed] / DAY_S).astype(np.int64)
    by_week = bool(day.max() - day.min() > 21)
    if by_week:
        day -= (day + 3) % 7  # 1 January 1970 was a Thursday
    return 7 if by_week else 1, {
        datetime.fromtimestamp(start * DAY_S, tz=UTC).date().isoformat(): timed[day == start]
        for start in np.unique(day).tolist()
    }


def landis_koch(value: float) -> str:
    """The word of Landis and Koch (1977) for a chance-corrected coefficient; empty for NaN."""
    if value != value:
        return ""
    bands = ((0.0, "poor"), (0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"))
    if value < 0:
        return "poor"
    return next((word for bound, word in bands[1:] if value <= bound), "almost perfect")


def krippendorff_rule(alpha: float) -> str:
    """Krippendorff's rule of use (2004, Content Analysis, section 11.4); empty for NaN."""
    if alpha != alpha:
        return ""
    if alpha >= 0.8:
        return "reliable"
    return "tentative conclusions only" if alpha >= 0.667 else "not reliable"


def reading(agreement: Agreement) -> str:
    """One sentence on the chance-corrected agreement, or why there is none."""
    if agreement.num_items == 0:
        return "No item has two votes yet, so there is no agreement to measure."
    alpha = agreement.estimates["alpha_nominal"].value
    if alpha != alpha:
        return "Every vote is the same answer: agreement is total, agreement beyond chance is undefined."
    if agreement.num_items < LEAST:
        count = "1 comparison" if agreement.num_items == 1 else f"{agreement.num_items} comparisons"
        return f"alpha {alpha:.3f} of {count} with two votes: too few to say how reliable"
    return f"alpha {alpha:.3f}: {landis_koch(alpha)} (Landis-Koch), {krippendorff_rule(alpha)} (Krippendorff)"
