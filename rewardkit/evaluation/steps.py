"""Evaluation of a process reward model: how often it is right about a step, and where an answer first goes wrong.

Steps labelled above 0.5 are right, below 0.5 wrong; those at 0.5 (neutral, or an even share) decide nothing. The first
error of an answer is its first step that is more likely wrong than right; it is known where every step up to it was
judged. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rewardkit.data.records import Message
from rewardkit.data.stepwise.stepped_answer import SteppedAnswer, first_error
from rewardkit.reward.step_rewards import AGGREGATIONS, StepRewards, aggregate
from rewardkit.stats.calibration import (
    Calibration,
    CalibrationBin,
    CalibrationFigures,
    CalibrationFit,
    apply,
    calibration_bins,
    calibration_figures,
    fit_calibration,
)
from rewardkit.stats.metrics import Interval, auroc_interval, mean_interval


@dataclass(frozen=True, kw_only=True)
class ScoredSteps:
    """N answers and what a model says of their steps."""

    answers: Sequence[SteppedAnswer]
    rewards: Sequence[StepRewards]

    @classmethod
    def of(
        cls, answers: Sequence[SteppedAnswer], logits: Sequence[np.ndarray], calibration: Calibration
    ) -> ScoredSteps:
        """From (K, S) logits of each answer's steps."""
        return cls(answers=answers, rewards=[StepRewards(members=apply(calibration, one)) for one in logits])

    @property
    def prompt(self) -> np.ndarray:
        """(N,) number of each answer's prompt."""
        numbers: dict[tuple[Message, ...], int] = {}
        return np.array([numbers.setdefault(answer.prompt, len(numbers)) for answer in self.answers])


@dataclass(frozen=True, kw_only=True)
class StepEvaluation:
    """All figures of a model on one file of answers in steps.

    Attributes:
        num_steps: that were judged; of them `num_undecided` at 0.5, no part of any accuracy.
        share_right: of the decided steps: the accuracy of a model that finds every step right.
        accuracy: on decided steps.
        auroc: probability that a right step is found likelier right than a wrong one.
        calibration: of the probabilities that the model tells.
        bins: of the same.
        num_first_errors: answers whose first error, or lack of one, is known.
        first_error: share of these where the model's first step below 0.5 is that one (none where there is none).
        with_error, without_error: the same among answers with an error, and without one.
        f1: harmonic mean of both (ProcessBench: Zheng et al. 2024, section 3.1, arXiv 2412.06559); nan where one of
            them is absent.
        aggregated: by rule, the probability that an answer without an error has a higher reward than one with an error.
    """

    num_members: int
    num_answers: int
    num_prompts: int
    num_steps: int
    num_undecided: int
    share_right: float
    accuracy: Interval
    auroc: Interval
    calibration: CalibrationFigures
    bins: list[CalibrationBin]
    num_first_errors: int
    first_error: Interval
    with_error: Interval
    without_error: Interval
    f1: float
    aggregated: Mapping[str, Interval]


def fit_step_calibration(
    answers: Sequence[SteppedAnswer], logits: Sequence[np.ndarray], *, kind: Literal["temperature", "isotonic", "none"]
) -> CalibrationFit:
    """Fits a calibration of the logits, (K, S) by answer, to the judged steps.

    Raises:
        ValueError: if no step was judged, or a logit is not finite.
    """
    prompt = ScoredSteps(answers=answers, rewards=()).prompt
    labels, judged, of_step = _labels(answers, prompt)
    margins = np.concatenate(logits, axis=1)[:, judged]
    return fit_calibration(margins, labels[judged], kind=kind, prompt=of_step[judged], both_ways=False)


def evaluate_steps(scored: ScoredSteps, *, seed: int = 0) -> StepEvaluation:
    """Computes the figures; see `StepEvaluation`.

    Args:
        seed: of the bootstrap.

    Raises:
        ValueError: if no step was judged.
    """
    prompt = scored.prompt
    labels, judged, of_step = _labels(scored.answers, prompt)
    if not judged.any():
        raise ValueError(f"none of the steps of {len(scored.answers)} answers is judged")
    told = np.concatenate([one.mean for one in scored.rewards])[judged]
    labels, of_step = labels[judged], of_step[judged]
    decided = labels != 0.5
    right = labels[decided] > 0.5
    found = 0.5 + 0.5 * np.sign(told[decided] - 0.5) * np.where(right, 1.0, -1.0)
    firsts = [first_error(answer.labels) for answer in scored.answers]
    known = np.array([number for number, first in enumerate(firsts) if first is not None], dtype=int)
    hits = np.array([float(firsts[number] == first_error(scored.rewards[number].mean)) for number in known])
    wrong = np.array([firsts[number] != len(scored.answers[number].steps) for number in known], dtype=bool)
    of_known = prompt[known]
    with_error, without_error = (mean_interval(hits[part], of_known[part], seed=seed) for part in (wrong, ~wrong))
    return StepEvaluation(
        num_members=len(scored.rewards[0].members),
        num_answers=len(scored.answers),
        num_prompts=len(np.unique(prompt)),
        num_steps=len(labels),
        num_undecided=int((~decided).sum()),
        share_right=float(right.mean()) if len(right) else float("nan"),
        accuracy=mean_interval(found, of_step[decided], seed=seed),
        auroc=auroc_interval(told[decided], right, of_step[decided], seed=seed),
        calibration=calibration_figures(told, labels, both_ways=False),
        bins=calibration_bins(told, labels, both_ways=False),
        num_first_errors=len(known),
        first_error=mean_interval(hits, of_known, seed=seed),
        with_error=with_error,
        without_error=without_error,
        f1=_harmonic_mean(with_error.value, without_error.value),
        aggregated={
            rule: auroc_interval(rewards, ~wrong, of_known, seed=seed)
            for rule in AGGREGATIONS
            for rewards in [np.array([aggregate(scored.rewards[number].mean, rule) for number in known])]
        },
    )


def _labels(answers: Sequence[SteppedAnswer], prompt: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all steps in order: labels (nan where not judged), whether they were judged, number of the prompt."""
    labels = np.array([np.nan if label is None else label for answer in answers for label in answer.labels])
    return labels, ~np.isnan(labels), np.repeat(prompt, [len(answer.steps) for answer in answers])


def _harmonic_mean(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second else 0.0 * (first + second)
