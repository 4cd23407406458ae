"""The results of an evaluation as plain dataclasses; `evaluate` computes them, `report` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rewardkit.stats.calibration import CalibrationFigures
from rewardkit.stats.metrics import CalibrationBin, Interval


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
    """The model beside people.

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
    correlation: float
    nll: float
    entropy_floor: float


@dataclass(frozen=True, kw_only=True)
class LengthBias:
    """Whether the model follows length, in characters.

    Attributes:
        groups: accuracy where the chosen completion was the shorter one, and where it was the longer one.
        people_choose_longer, model_chooses_longer: shares, among pairs whose lengths differ.
        correlation: of the margin with the difference of log lengths.
    """

    groups: list[Group]
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
        uncertainty: `probability` (nearness of the integrated probability to a half), and with several members `std` of
            the margin and `mutual_information`.
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
