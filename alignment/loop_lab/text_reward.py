"""A reward model of texts that sees message and reply together, fitted in a second. No torch; scikit-learn as it runs.

Features of a reply y to a message x, all fitted on texts without labels:

    words(y)  40 directions of its TF-IDF (latent semantic analysis)
    words(x) times words(y)  16 directions of the message by those 40: which words fit which message
    copied, foreign  numbers of y that stand in x, and those that do not
    length  log(1 + words)

On them stands a Bradley-Terry head with its Laplace posterior (`rewardkit.heads`), its prior chosen by
cross-validation. Features of the reply alone cannot say whether it fits the message, which is most of its gold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignment.loop_lab.arms import Label
from rewardkit.data.records import Message
from rewardkit.heads.fit import choose_prior_precision, fit_head, make_pairs
from rewardkit.heads.posterior import Posterior, laplace_posterior

NUM_MESSAGE, NUM_REPLY = 16, 40  # directions
NUMBER = re.compile(r"\d+")
PRIORS = (0.1, 0.3, 1.0, 3.0, 10.0)
NUM_MEMBERS = 32
LEAST_LABELS = 10


class JointFeatures:
    """Features of messages and replies; see the module."""

    def __init__(self, messages: Sequence[str], replies: Sequence[str], *, seed: int) -> None:
        self._message, self._reply = _directions(messages, NUM_MESSAGE, seed), _directions(replies, NUM_REPLY, seed)

    def __call__(self, prompts: Sequence[tuple[Message, ...]], replies: Sequence[str]) -> np.ndarray:
        """(N, h) features, float64."""
        messages = [prompt[-1].content for prompt in prompts]
        message, reply = self._message.transform(messages), self._reply.transform(replies)
        crossed = np.einsum("nm,nr->nmr", message, reply).reshape(len(messages), -1)
        numbers = [
            (sum(number in NUMBER.findall(message) for number in named), len(named))
            for message, text in zip(messages, replies, strict=True)
            for named in [set(NUMBER.findall(text))]
        ]
        copied, named = np.array(numbers, dtype=np.float64).reshape(-1, 2).T
        length = np.log1p([len(text.split()) for text in replies])
        return np.column_stack([reply, crossed * np.sqrt(NUM_MESSAGE), copied, named - copied, length])


def _directions(texts: Sequence[str], count: int, seed: int) -> Any:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    words = TfidfVectorizer(token_pattern=r"[^\W\d]+", sublinear_tf=True, min_df=min(3, len(texts)))
    return make_pipeline(words, TruncatedSVD(count, random_state=seed), Normalizer()).fit(list(texts))


@dataclass(frozen=True, kw_only=True)
class TextReward:
    """A fitted reward model.

    Attributes:
        num_labels: that it was fitted to.
    """

    features: JointFeatures
    posterior: Posterior
    num_labels: int

    def __call__(self, prompts: Sequence[tuple[Message, ...]], replies: Sequence[str]) -> np.ndarray:
        """(N,) rewards."""
        return self.features(prompts, replies) @ self.posterior.mean

    def margins(
        self, prompts: Sequence[tuple[Message, ...]], a: Sequence[str], b: Sequence[str], *, seed: int
    ) -> np.ndarray:
        """(K, N) margins of a over b by members drawn from the posterior."""
        members = self.posterior.members(NUM_MEMBERS, np.random.default_rng(seed))
        return members @ (self.features(prompts, a) - self.features(prompts, b)).T


def fit_reward(features: JointFeatures, labels: Sequence[Label], *, seed: int) -> TextReward:
    """Fits a reward model to labels.

    Raises:
        ValueError: if there are fewer than LEAST_LABELS.
    """
    if len(labels) < LEAST_LABELS:
        raise ValueError(f"{len(labels)} labels, a reward model takes {LEAST_LABELS} or more")
    prompts = [label.prompt for label in labels]
    differences = features(prompts, [label.a for label in labels]) - features(prompts, [label.b for label in labels])
    _, numbers = np.unique([prompt[-1].content for prompt in prompts], return_inverse=True)
    pairs = make_pairs(differences, np.array([label.p_a for label in labels]), prompt=numbers)
    prior = choose_prior_precision(pairs, seed=seed, candidates=PRIORS, num_folds=4).prior_precision
    posterior = laplace_posterior(fit_head(pairs, prior_precision=prior), pairs)
    return TextReward(features=features, posterior=posterior, num_labels=len(labels))
