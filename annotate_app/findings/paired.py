"""Reward models held against each other on the same pairs, which none of them learned from.

Accuracy, likelihood and calibration of each, and their differences: paired, with intervals over prompts drawn with
replacement, and two exact tests of who is right where only one is: by pairs (McNemar 1947) and by prompts (sign test),
whose pairs are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from annotate_app.findings.labels import Labels
from annotate_app.findings.pair_scores import PairScores, member_probabilities
from annotate_app.trainings.runs import ModelRun
from rewardkit.stats.calibration import expected_calibration_error
from rewardkit.stats.metrics import (
    Interval,
    average_interval,
    correctness,
    difference_interval,
    mean_interval,
    share_difference_interval,
    weighted_interval,
)

FEW_DRAWS_FROM = 5_000
"""Pairs from which on the interval of a calibration error takes 100 draws in place of 500: each sorts all pairs."""


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """One reward model on the common pairs.

    Attributes:
        run: its number.
        accuracy: on pairs that people decided.
        nll: nats a pair, of calibrated probabilities, members averaged out.
        ece: expected calibration error.
    """

    run: int
    name: str
    accuracy: Interval
    nll: Interval
    ece: Interval


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """One reward model minus another, on the same pairs.

    Attributes:
        accuracy, nll, ece: differences; of accuracy above 0 is better, of the others below 0.
        num_only_one, num_only_other: decided pairs that only one of the two orders as people do.
        p_pairs: of McNemar's exact test on these; 1 where there are none.
        p_prompts: of the sign test on prompts, by which of the two is right more often on a prompt's pairs.
        verdict: in words.
    """

    one: int
    other: int
    accuracy: Interval
    nll: Interval
    ece: Interval
    num_only_one: int
    num_only_other: int
    p_pairs: float
    p_prompts: float
    verdict: str


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Reward models on their common pairs.

    Attributes:
        num_pairs, num_prompts: common, released, and learned from by none; `num_decided` of them have no tie.
        num_learned: released pairs that all scored and at least one learned from, which are left out.
        by: criterion by which people's choice is meant; empty for the overall one.
        differences: of each but the first to the first.
    """

    num_pairs: int
    num_prompts: int
    num_decided: int
    num_learned: int
    by: str
    figures: tuple[ModelFigures, ...] = ()
    differences: tuple[PairedDifference, ...] = ()

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def compare_models(
    runs: Sequence[ModelRun], scored: Sequence[PairScores], labels: Labels, *, seed: int = 0
) -> PairedComparison:
    """Holds reward models against the first of them on the pairs that none learned from.

    Args:
        scored: the scores of each run, of the same project.
        seed: of the bootstrap.

    Raises:
        ValueError: if there are fewer than two.
    """
    if len(runs) < 2:
        raise ValueError("comparison of 1 run, allowed are 2 or more")
    common = set(scored[0].keys).intersection(*(scores.keys for scores in scored[1:]))
    keys = [key for key in scored[0].keys if key in common]
    common_scores = [scores.take(_places(scores.keys, keys)) for scores in scored]
    places = labels.places(keys)
    weight = np.where(places >= 0, labels.weight[places], 0.0)
    learned = np.any([scores.learned for scores in common_scores], axis=0) if keys else np.zeros(0, dtype=bool)
    held_out = np.flatnonzero((weight > 0) & ~learned)
    common_scores = [scores.take(held_out) for scores in common_scores]
    share, weight_of = labels.share[places[held_out]], weight[held_out]
    prompt = common_scores[0].prompt
    decided = share != 0.5
    counted = PairedComparison(
        num_pairs=len(held_out),
        num_prompts=len(np.unique(prompt)),
        num_decided=int(decided.sum()),
        num_learned=int(((weight > 0) & learned).sum()),
        by=labels.by,
    )
    if not decided.any():
        return counted
    told = [_Told.of(run, scores, share) for run, scores in zip(runs, common_scores, strict=True)]
    return replace(
        counted,
        figures=tuple(one.figures(share, prompt, weight_of, decided, seed) for one in told),
        differences=tuple(_difference(other, told[0], share, prompt, weight_of, decided, seed) for other in told[1:]),
    )


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What a model says of N pairs: who is better (right as people say, 0, 0.5 or 1), and how sure it is."""

    run: ModelRun
    right: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray

    @classmethod
    def of(cls, run: ModelRun, scores: PairScores, share: np.ndarray) -> _Told:
        q = np.clip(member_probabilities(run, scores).mean(0), 1e-12, 1 - 1e-12)
        return cls(
            run=run,
            right=correctness(scores.margins.mean(0) * np.sign(share - 0.5)),
            probabilities=q,
            losses=-(share * np.log(q) + (1 - share) * np.log(1 - q)),
        )

    def figures(
        self, share: np.ndarray, prompt: np.ndarray, weight: np.ndarray, decided: np.ndarray, seed: int
    ) -> ModelFigures:
        return ModelFigures(
            run=self.run.number,
            name=self.run.title,
            accuracy=mean_interval(self.right[decided], prompt[decided], weight[decided], seed=seed),
            nll=average_interval(self.losses, prompt, weight, seed=seed),
            ece=_ece_interval([self.probabilities], share, prompt, weight, seed),
        )


def _difference(
    one: _Told,
    other: _Told,
    share: np.ndarray,
    prompt: np.ndarray,
    weight: np.ndarray,
    decided: np.ndarray,
    seed: int,
) -> PairedDifference:
    right, others = one.right[decided], other.right[decided]
    accuracy = share_difference_interval(right, others, prompt[decided], weight[decided], seed=seed)
    nll = difference_interval(one.losses, other.losses, prompt, weight, seed=seed)
    _, group = np.unique(prompt[decided], return_inverse=True)
    by_prompt = np.bincount(group, right - others)
    only_one, only_other = int((right > others).sum()), int((right < others).sum())
    names = (f"run {one.run.number}", f"run {other.run.number}")
    return PairedDifference(
        one=one.run.number,
        other=other.run.number,
        accuracy=accuracy,
        nll=nll,
        ece=_ece_interval([one.probabilities, other.probabilities], share, prompt, weight, seed),
        num_only_one=only_one,
        num_only_other=only_other,
        p_pairs=sign_test(only_one, only_other),
        p_prompts=sign_test(int((by_prompt > 0).sum()), int((by_prompt < 0).sum())),
        verdict=verdict(accuracy, nll, names),
    )


def sign_test(num_up: int, num_down: int) -> float:
    """Two-sided exact p-value of as many ups and downs, were both as likely: McNemar's exact test for pairs.

    p = 2 P(X <= min(up, down)), X binomial of up + down tosses of a coin, at most 1; 1 where there are none.
    """
    from scipy.stats import binomtest

    total = num_up + num_down
    return float(binomtest(num_up, total, 0.5).pvalue) if total else 1.0


def verdict(accuracy: Interval, nll: Interval, names: tuple[str, str]) -> str:
    """What the differences of one minus the other come to, in words."""
    one, other = names
    right, sure = accuracy.against(0.0), -nll.against(0.0)
    parts = []
    if right:
        better, worse = (one, other) if right > 0 else (other, one)
        parts.append(f"{better} orders more pairs as people do than {worse}")
    else:
        parts.append(f"Not shown that {one} or {other} orders more pairs as people do")
    if sure:
        better, worse = (one, other) if sure > 0 else (other, one)
        parts.append(f"{better} gives people's choices higher probabilities")
    else:
        parts.append("not shown that either gives people's choices higher probabilities")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _ece_interval(
    probabilities: Sequence[np.ndarray], share: np.ndarray, prompt: np.ndarray, weight: np.ndarray, seed: int
) -> Interval:
    """Of one model, or of the first minus the second."""

    def statistic(weights: np.ndarray) -> float:
        errors = [expected_calibration_error(q, share, weights) for q in probabilities]
        return errors[0] - sum(errors[1:])

    num_resamples = 100 if len(share) >= FEW_DRAWS_FROM else 500
    return weighted_interval(
        statistic, prompt, weight, num_units=len(np.unique(prompt)), num_resamples=num_resamples, seed=seed
    )


def _places(keys: Sequence[str], chosen_keys: Sequence[str]) -> np.ndarray:
    place = {key: number for number, key in enumerate(keys)}
    return np.fromiter((place[key] for key in chosen_keys), dtype=np.int64, count=len(chosen_keys))
