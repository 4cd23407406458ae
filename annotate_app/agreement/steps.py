"""How far people agree on the steps of an answer: on each step, and on where the first error is.

Krippendorff's alpha over steps is in the report of votes, whose items steps are. Intervals are over answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.rankings import mean_estimates
from rewardkit.data.records import Judgment, StepLabels, step_choice
from rewardkit.data.stepwise.stepped_answer import first_error

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class AnswerAgreement:
    """How far the judgments of one answer's steps agree, over every two people.

    Attributes:
        steps: share of steps that both judged on which they say the same; NaN where they judged none in common.
        first_error: share of pairs of people who name the same first wrong step, or both none; NaN where nobody can be
            compared, a step before the first wrong one not being judged.
    """

    comparison_id: str
    num_judgments: int
    num_steps: int
    steps: float
    first_error: float


@dataclass(frozen=True, kw_only=True)
class StepAgreement:
    """Agreement on steps: means over the answers with two judgments or more, each counted alike."""

    steps: Estimate
    first_error: Estimate
    answers: tuple[AnswerAgreement, ...]
    num_judgments: int

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        names = AnswerAgreement.__dataclass_fields__
        return {
            "steps": self.steps.as_dict(),
            "first_error": self.first_error.as_dict(),
            "num_judgments": self.num_judgments,
            "answers": [{name: getattr(one, name) for name in names} for one in self.answers],
        }


def step_agreement(judgments: Iterable[Judgment], *, num_resamples: int = 1000, seed: int = 0) -> StepAgreement:
    """Agreement of people's labels of steps; skips are none, and of each person the first of an answer counts.

    Args:
        num_resamples: bootstrap resamples of answers; 0, or too few answers, gives no intervals.
    """
    given: defaultdict[str, dict[str, StepLabels]] = defaultdict(dict)
    for judgment in judgments:
        if judgment.step_labels:
            given[judgment.comparison_id].setdefault(judgment.annotator, judgment.step_labels)
    answers = tuple(_agreement(key, list(said.values())) for key, said in given.items() if len(said) > 1)
    values = np.array([[one.steps, one.first_error] for one in answers]).reshape(-1, 2)
    steps, error = mean_estimates(values, num_resamples, np.random.default_rng(seed))
    num_judgments = sum(len(said) for said in given.values())
    return StepAgreement(steps=steps, first_error=error, answers=answers, num_judgments=num_judgments)


def _agreement(key: str, said: Sequence[StepLabels]) -> AnswerAgreement:
    met = same = compared = together = 0
    for one, other in combinations(said, 2):
        both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
        met += len(both)
        same += sum(step_choice(a) == step_choice(b) for a, b in both)
        errors = first_error(one), first_error(other)
        if None not in errors:
            compared += 1
            together += errors[0] == errors[1]
    return AnswerAgreement(
        comparison_id=key,
        num_judgments=len(said),
        num_steps=len(said[0]),
        steps=same / met if met else NAN,
        first_error=together / compared if compared else NAN,
    )
