"""Baselines of a reward model: choosing the longer answer, and TF-IDF with a Bradley-Terry head. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.records import Preference
from rewardkit.evaluation.evaluate import lengths
from rewardkit.evaluation.scored_preferences import Scored
from rewardkit.heads.fit import choose_prior_precision, fit_head, make_pairs
from rewardkit.reward.tfidf import TfidfFeatures
from rewardkit.stats.metrics import Interval, correctness, mean_interval, share_difference_interval


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A simple rule on the same pairs.

    Attributes:
        num_train: pairs it was fitted on; 0 for a rule that is not fitted.
        difference: accuracy of the model minus the baseline's, on the same pairs, with its interval; above 0 the model
            is better.
    """

    name: str
    num_train: int
    accuracy: Interval
    difference: Interval


def longer_answer_margins(rows: Sequence[Preference]) -> np.ndarray:
    """(N,) characters of chosen minus those of rejected."""
    chosen, rejected = lengths(rows)
    return (chosen - rejected).astype(float)


def tfidf_margins(train: Sequence[Preference], rows: Sequence[Preference], *, seed: int) -> np.ndarray:
    """(N,) margins of a head on TF-IDF features of the answers, its prior chosen by cross-validation over prompts.

    Raises:
        ValueError: if the training rows are too few to fit it.
        ImportError: if scikit-learn is missing.
    """
    features = TfidfFeatures.fit("words", [text for row in train for text in (row.chosen, row.rejected)])

    def differences(preferences: Sequence[Preference]) -> np.ndarray:
        return features.transform([row.chosen for row in preferences]) - features.transform(
            [row.rejected for row in preferences]
        )

    prompts: dict[str, int] = {}
    pairs = make_pairs(
        differences(train),
        np.array([row.p_chosen for row in train]),
        weight=np.array([row.weight for row in train]),
        prompt=np.array([prompts.setdefault(normal_prompt(row.prompt), len(prompts)) for row in train]),
    )
    prior_precision = choose_prior_precision(pairs, seed=seed).prior_precision
    return differences(rows) @ fit_head(pairs, prior_precision=prior_precision).weights


def compare(scored: Scored, train: Sequence[Preference], *, seed: int = 0) -> list[Baseline]:
    """The baselines on the decided pairs of an evaluation.

    Args:
        train: rows to fit TF-IDF on, none of a prompt that is evaluated; without any it is left out.
    """
    decided = scored.decided()
    margins = {"longer answer": (0, longer_answer_margins(decided.rows))}
    if train:
        margins["TF-IDF"] = (len(train), tfidf_margins(train, decided.rows, seed=seed))
    model = correctness(decided.margins)
    baselines = []
    for name, (num_train, of_baseline) in margins.items():
        right = correctness(of_baseline)
        baselines.append(
            Baseline(
                name=name,
                num_train=num_train,
                accuracy=mean_interval(right, decided.prompt, decided.weight, seed=seed),
                difference=share_difference_interval(model, right, decided.prompt, decided.weight, seed=seed),
            )
        )
    return baselines
