"""Evaluation of a reward model on preferences: how often it is right, how sure it is, whether it knows when it errs.

`evaluate` takes preferences with their rewards (`rewardkit.evaluation.scored_preferences`) and returns an `Evaluation`
of plain dataclasses, which `rewardkit.evaluation.report` shows. Where rows keep single votes, the model is held beside
people too: how it agrees with a vote, how people agree with each other, and how near it could get. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.data.records import Preference
from rewardkit.evaluation.scored_preferences import Scored
from rewardkit.evaluation.vote_agreement import (
    entropy_floor,
    human_ceiling,
    majority_agreement,
    share_correlation_interval,
    vote_agreement,
)
from rewardkit.stats.calibration import CalibrationBin, CalibrationFigures, apply, calibration_bins, calibration_figures
from rewardkit.stats.metrics import (
    Interval,
    auroc_interval,
    bootstrap_interval,
    correctness,
    mean_interval,
    quantile_groups,
    rarer_kind,
    risk_coverage,
    weighted_interval,
)
from rewardkit.stats.small_samples import effective_number, is_enough
from rewardkit.stats.uncertainty import (
    binary_entropy,
    epistemic_std,
    mutual_information,
    relative_std,
    sigmoid,
    vote_entropy,
)

MAX_GROUPS = 50  # of one column
NUM_QUANTILES = 5
CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class Group:
    """Accuracy on some pairs; ties of people are no part of it, equal rewards count half."""

    name: str
    num_pairs: int
    num_prompts: int
    accuracy: Interval


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Accuracy by the values of one column."""

    column: str
    groups: list[Group]


@dataclass(frozen=True, kw_only=True)
class HumanAgreement:
    """The model's agreement with people's votes, beside people's own.

    Attributes:
        counted: whether single votes are known; otherwise only their shares, and `ceiling` is the expected agreement of
            a vote with the majority, taking the shares for the true rates, which is too high for few votes.
        num_pairs: pairs with two votes or more; with shares alone, all pairs.
        model: agreement of the model's choice with a vote.
        ceiling: agreement of the majority of the others with a vote.
        correlation: of predicted probabilities with vote shares.
        nll, entropy_floor: nats per pair, and what a model that predicts each share exactly would have.
    """

    counted: bool
    num_pairs: int
    model: Interval
    ceiling: Interval
    correlation: Interval
    nll: float
    entropy_floor: float


@dataclass(frozen=True, kw_only=True)
class LengthBias:
    """Whether the model follows length, in characters.

    Attributes:
        groups: accuracy where the chosen completion was the shorter one, and where it was the longer one.
        controlled: the mean of both, length-controlled accuracy: what follows length alone has 0.5. None where one of
            them is absent.
        people_choose_longer, model_chooses_longer: shares, among pairs whose lengths differ.
        correlation: of the margin with the difference of log lengths.
    """

    groups: list[Group]
    controlled: Interval | None
    people_choose_longer: float
    model_chooses_longer: float
    correlation: float


@dataclass(frozen=True, kw_only=True)
class UncertaintyMeasure:
    """Whether an uncertainty tells errors from hits.

    Attributes:
        auroc: probability that an error is more uncertain than a hit; 0.5 is chance.
        coverage, risk: points of the risk-coverage curve.
        area: under it; `random` and `oracle` are the worst and best to expect.
        gain: random minus area, with its interval: above 0 it is better than chance.
        quantiles: accuracy by equal groups of pairs, the surest first.
    """

    name: str
    auroc: Interval
    coverage: list[float]
    risk: list[float]
    area: float
    random: float
    oracle: float
    gain: Interval
    quantiles: list[Group]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All figures of a model on one file.

    Attributes:
        num_undecided: pairs on which people are even, or of weight 0, no part of any accuracy.
        overall: accuracy on all others.
        calibration: figures by how probabilities are made: `sigmoid` of the mean reward's margin, `calibrated` by the
            model's own calibration, `integrated` over members after it.
        bins: of the integrated probabilities.
        human: None where every pair has one vote, or says none.
        uncertainty: `probability` (nearness of the integrated probability to a half), and with several members
            `relative_std` of the margin, `vote_entropy`, and `std` and `mutual_information`, which measure how far the
            members differ, not whether they differ about the answer.
    """

    num_members: int
    num_pairs: int
    num_prompts: int
    num_undecided: int
    overall: Group
    mean_margin: float
    calibration: Mapping[str, CalibrationFigures]
    bins: list[CalibrationBin]
    human: HumanAgreement | None
    length: LengthBias
    uncertainty: list[UncertaintyMeasure]
    subsets: list[Subset]


def evaluate(scored: Scored, *, columns: Sequence[str] = (), seed: int = 0) -> Evaluation:
    """Computes the figures; see `Evaluation`.

    Args:
        columns: metadata columns to group by, besides sources and criteria, which are grouped by where they are known.
        seed: of the bootstrap.

    Raises:
        ValueError: if no pair is decided, a column is unknown or has more than 50 values.
    """
    decided = scored.decided()
    if not decided.rows:
        raise ValueError(f"none of {len(scored.rows)} pairs is decided (p_chosen above 0.5, weight above 0)")
    return Evaluation(
        num_members=scored.num_members,
        num_pairs=len(scored.rows),
        num_prompts=len(np.unique(scored.prompt)),
        num_undecided=len(scored.rows) - len(decided.rows),
        overall=group_of("all", decided, seed=seed),
        mean_margin=float(np.average(decided.margins, weights=decided.weight)),
        calibration=_calibration(scored),
        bins=calibration_bins(scored.probabilities, scored.p_chosen, scored.weight),
        human=_human(scored, seed),
        length=_length(decided, seed),
        uncertainty=[_measure(name, values, decided, seed) for name, values in uncertainties(decided).items()],
        subsets=subsets_of(scored, columns, seed=seed),
    )


def group_of(name: str, scored: Scored, *, seed: int = 0) -> Group:
    """Computes the accuracy on decided pairs."""
    return Group(
        name=name,
        num_pairs=len(scored.rows),
        num_prompts=len(np.unique(scored.prompt)),
        accuracy=mean_interval(correctness(scored.margins), scored.prompt, scored.weight, seed=seed),
    )


def uncertainties(scored: Scored) -> dict[str, np.ndarray]:
    """(N,) each: what the model can say of how uncertain it is of a pair, higher is less sure."""
    by_name = {"probability": binary_entropy(scored.probabilities)}
    if scored.num_members > 1:
        by_name["relative_std"] = relative_std(scored.member_margins)
        by_name["vote_entropy"] = vote_entropy(scored.member_margins)
        by_name["std"] = epistemic_std(scored.member_margins)
        by_name["mutual_information"] = mutual_information(scored.member_probabilities)
    return by_name


def _calibration(scored: Scored) -> dict[str, CalibrationFigures]:
    by_rule = {"sigmoid": sigmoid(scored.margins)}
    if scored.calibration:
        by_rule["calibrated"] = apply(scored.calibration, scored.margins)
    if scored.num_members > 1:
        by_rule["integrated"] = scored.probabilities
    votes = num_votes(scored)
    return {
        name: calibration_figures(q, scored.p_chosen, scored.weight, num_votes=votes) for name, q in by_rule.items()
    }


def num_votes(scored: Scored) -> np.ndarray | None:
    """(N,) votes behind each p_chosen, one where a row without votes is sure; None where any is no share of votes."""
    counts = []
    for row in scored.rows:
        ties = row.votes.get("tie", 0) + row.votes.get("both_bad", 0)
        chosen, total = row.votes.get("chosen", 0) + ties / 2, sum(row.votes.values())
        if total == 0 and row.p_chosen == 1.0:
            chosen, total = 1.0, 1
        if row.weight > 0 and (total == 0 or abs(chosen / total - row.p_chosen) > 1e-6):
            return None
        counts.append(max(total, 1))
    return np.array(counts, dtype=np.int64)


def _human(scored: Scored, seed: int) -> HumanAgreement | None:
    votes = np.array([[row.votes.get(name, 0) for name in ("chosen", "tie", "rejected")] for row in scored.rows])
    counted = votes.sum(1) >= 2
    if counted.any():
        voted, votes = scored.take(counted), votes[counted]
        model, ceiling = vote_agreement(voted.margins, votes), human_ceiling(votes)
    elif (scored.p_chosen < 1.0).any():
        voted, right = scored, correctness(scored.margins)
        model, ceiling = right * voted.p_chosen + (1 - right) * (1 - voted.p_chosen), majority_agreement(voted.p_chosen)
    else:
        return None
    figures = calibration_figures(voted.probabilities, voted.p_chosen, voted.weight)
    return HumanAgreement(
        counted=bool(counted.any()),
        num_pairs=len(voted.rows),
        model=mean_interval(model, voted.prompt, voted.weight, seed=seed),
        ceiling=mean_interval(ceiling, voted.prompt, voted.weight, seed=seed),
        correlation=share_correlation_interval(
            voted.probabilities, voted.p_chosen, voted.prompt, voted.weight, seed=seed
        ),
        nll=figures.nll,
        entropy_floor=entropy_floor(voted.p_chosen, voted.weight),
    )


def lengths(rows: Sequence[Preference]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N,) characters of chosen and of rejected."""
    return np.array([len(row.chosen) for row in rows]), np.array([len(row.rejected) for row in rows])


def _length(decided: Scored, seed: int) -> LengthBias:
    chosen, rejected = lengths(decided.rows)
    difference = np.log1p(chosen) - np.log1p(rejected)
    margins, weight = decided.margins, decided.weight
    longer = correctness(margins * np.sign(difference))
    apart = chosen != rejected
    spread = margins.std() * difference.std()
    groups = {"chosen is shorter": chosen < rejected, "chosen is longer": chosen > rejected}
    return LengthBias(
        groups=[group_of(name, decided.take(mask), seed=seed) for name, mask in groups.items() if mask.any()],
        controlled=balanced_interval(decided, *groups.values(), seed=seed),
        people_choose_longer=_share(chosen > rejected, weight, apart),
        model_chooses_longer=_share(longer, weight, apart),
        correlation=float(np.corrcoef(margins, difference)[0, 1]) if spread > 0 else float("nan"),
    )


def balanced_interval(decided: Scored, one: np.ndarray, other: np.ndarray, *, seed: int = 0) -> Interval | None:
    """Mean of the accuracies on two parts of the pairs, with its bootstrap interval by prompt; None without one part.

    Where the interval of either part is an exact one, its bounds are the means of both parts' bounds.

    Args:
        one, other: (N,) bool.
    """
    if not one.any() or not other.any():
        return None
    right, weight = correctness(decided.margins), decided.weight
    _, prompt = np.unique(decided.prompt, return_inverse=True)
    sums, totals = (
        np.array([np.bincount(prompt, weight * part * values) for part in (one, other)])
        for values in (right, np.ones(len(right)))
    )

    def mean(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return ((counts @ sums.T) / (counts @ totals.T)).mean(-1)

    parts = [mean_interval(right[part], decided.prompt[part], weight[part], seed=seed) for part in (one, other)]
    value = sum(part.value for part in parts) / 2
    if all(is_enough(part.value, effective_number(units)) for part, units in zip(parts, totals, strict=True)):
        return bootstrap_interval(mean, prompt, seed=seed)
    return Interval(value=value, low=sum(part.low for part in parts) / 2, high=sum(part.high for part in parts) / 2)


def _share(values: np.ndarray, weight: np.ndarray, mask: np.ndarray) -> float:
    return float(np.average(values[mask], weights=weight[mask])) if mask.any() else float("nan")


def _measure(name: str, uncertainty: np.ndarray, decided: Scored, seed: int) -> UncertaintyMeasure:
    errors, weight = 1.0 - correctness(decided.margins), decided.weight

    def gain(weights: np.ndarray) -> float:
        curve = risk_coverage(uncertainty, errors, weights)
        return curve.random - curve.area

    curve = risk_coverage(uncertainty, errors, weight)
    curve_points = np.unique(np.linspace(0, len(errors) - 1, min(CURVE_POINTS, len(errors))).round().astype(int))
    parts = quantile_groups(uncertainty, NUM_QUANTILES)
    return UncertaintyMeasure(
        name=name,
        auroc=auroc_interval(uncertainty, errors, decided.prompt, weight, seed=seed),
        coverage=curve.coverage[curve_points].tolist(),
        risk=curve.risk[curve_points].tolist(),
        area=curve.area,
        random=curve.random,
        oracle=curve.oracle,
        gain=weighted_interval(
            gain, decided.prompt, weight, num_units=rarer_kind(errors, decided.prompt, weight), seed=seed
        ),
        quantiles=[
            group_of(f"{rank} of {len(parts)}", decided.take(part), seed=seed) for rank, part in enumerate(parts, 1)
        ],
    )


def subsets_of(scored: Scored, columns: Sequence[str], *, seed: int = 0) -> list[Subset]:
    """Accuracy by sources and by criteria, where they are known, and by the given columns.

    By criterion, the reward is compared with what people said of that criterion.
    """
    subsets = []
    decided = scored.decided()
    sources = [" / ".join(sorted({row.source_chosen, row.source_rejected})) for row in decided.rows]
    if 1 < len(set(sources)) <= MAX_GROUPS:
        subsets.append(_grouped("sources", sources, decided, seed))
    if names := sorted({name for row in scored.rows for name in row.criteria}):
        groups = [group for name in names if (group := _criterion(name, scored, seed))]
        subsets.append(Subset(column="criterion", groups=groups))
    for column in columns:
        if not any(column in row.meta for row in scored.rows):
            columns_there = sorted({name for row in scored.rows for name in row.meta}) or ["(none)"]
            raise ValueError(f"subset column {column!r} is not in the data, the columns are {', '.join(columns_there)}")
        values = [str(row.meta.get(column, "(none)")) for row in decided.rows]
        if (count := len(set(values))) > MAX_GROUPS:
            raise ValueError(f"subset column {column!r} has {count} values, at most {MAX_GROUPS} are allowed")
        subsets.append(_grouped(column, values, decided, seed))
    return subsets


def _grouped(column: str, values: Sequence[str], decided: Scored, seed: int) -> Subset:
    value_of_row = np.array(values)
    names = sorted(set(values), key=_number_first)
    return Subset(
        column=column, groups=[group_of(name, decided.take(value_of_row == name), seed=seed) for name in names]
    )


def _number_first(name: str) -> tuple[float, str]:
    """Sorts numbers by size, before texts by letter."""
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name


def _criterion(name: str, scored: Scored, seed: int) -> Group | None:
    """Accuracy against the criterion's own preference, which may go to the completion rejected overall."""
    degrees = np.array([row.criteria.get(name, 0.0) for row in scored.rows])
    judged = scored.take((degrees != 0) & (scored.weight > 0))
    if not judged.rows:
        return None
    right = correctness(judged.margins * np.sign(degrees[(degrees != 0) & (scored.weight > 0)]))
    return Group(
        name=name,
        num_pairs=len(judged.rows),
        num_prompts=len(np.unique(judged.prompt)),
        accuracy=mean_interval(right, judged.prompt, judged.weight, seed=seed),
    )
