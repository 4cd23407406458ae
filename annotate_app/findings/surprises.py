"""Where a reward model and people differ: pairs on which it is sure and people say otherwise, most surprising first.

Surprise is what people's share s costs the model's probability q beyond what s costs itself:
KL(s || q) = s log(s / q) + (1 - s) log((1 - s) / (1 - q)), nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from annotate_app.findings.labels import Labels
from annotate_app.findings.pair_scores import PairScores, member_probabilities
from annotate_app.trainings.runs import ModelRun
from rewardkit.stats.uncertainty import binary_entropy

Length = Literal["any", "longer", "shorter"]
LENGTHS: tuple[Length, ...] = get_args(Length)
"""Of the answer that the model prefers."""


@dataclass(frozen=True, kw_only=True)
class Surprise:
    """A pair on which a model and people prefer different answers.

    Attributes:
        share: of people's votes that prefers a; `num_votes` of them.
        p: probability that a is preferred, as the model says it; `members` of each, `low` and `high` the outermost.
        surprise: nats.
        learned: whether the model learned from the prompt.
    """

    key: str
    share: float
    num_votes: int
    p: float
    members: tuple[float, ...]
    surprise: float
    learned: bool
    source_a: str
    source_b: str
    length_a: int
    length_b: int

    @property
    def low(self) -> float:
        return min(self.members)

    @property
    def high(self) -> float:
        return max(self.members)

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Differing:
    """The pairs on which a model and people differ.

    Attributes:
        rows: the most surprising first.
        num_differing: of the filtered pairs those that differ, also where `rows` holds fewer.
        num_pairs: that the filter lets through, and people decided.
        num_unscored: decided pairs that the model has not scored.
    """

    rows: tuple[Surprise, ...]
    num_differing: int
    num_pairs: int
    num_unscored: int


def where_they_differ(
    run: ModelRun,
    scores: PairScores,
    labels: Labels,
    *,
    source: str = "",
    length: Length = "any",
    sure: float = 0.5,
    held_out: bool = False,
    limit: int = 100,
) -> Differing:
    """The pairs on which a model prefers the answer that people do not.

    Args:
        source: wrote one of the answers; empty for any.
        length: of the answer that the model prefers.
        sure: least probability that the model gives its choice, 0.5 to 1.
        held_out: leaves out pairs whose prompt the model learned from.
        limit: rows to give at most.

    Raises:
        ValueError: if an argument is not allowed.
    """
    if length not in LENGTHS:
        raise ValueError(f"length is {length!r}, allowed are {', '.join(LENGTHS)}")
    if not 0.5 <= sure <= 1:
        raise ValueError(f"sure is {sure}, allowed is 0.5 to 1")
    places = labels.places(scores.keys)
    members = member_probabilities(run, scores)
    p, share = members.mean(0), np.where(places >= 0, labels.share[places], np.nan)
    decided = (places >= 0) & ~np.isnan(share) & (share != 0.5)
    sources = np.array([list(labels.source_a), list(labels.source_b)], dtype=object).reshape(2, -1)
    lengths = np.array([labels.length_a, labels.length_b])
    through = decided.copy()
    if source:
        through &= (sources[:, places] == source).any(0)
    if held_out:
        through &= ~scores.learned
    if length != "any":
        gap = (lengths[0] - lengths[1])[places] * np.sign(p - 0.5)
        through &= gap > 0 if length == "longer" else gap < 0
    differs = through & ((p - 0.5) * (share - 0.5) < 0) & (np.maximum(p, 1 - p) >= sure)
    surprise = surprises(p, share)
    order = np.flatnonzero(differs)
    order = order[np.argsort(-surprise[order], kind="stable")]
    return Differing(
        rows=tuple(_row(scores, labels, members, surprise, at, int(places[at])) for at in order[:limit].tolist()),
        num_differing=len(order),
        num_pairs=int(through.sum()),
        num_unscored=_num_unscored(scores.keys, labels),
    )


def surprises(p: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(N,) KL(share || p), nats; nan where the share is."""
    q = np.clip(p, 1e-12, 1 - 1e-12)
    return -(share * np.log(q) + (1 - share) * np.log(1 - q)) - binary_entropy(share)


def _num_unscored(keys: Sequence[str], labels: Labels) -> int:
    scored = set(keys)
    decided = (labels.weight > 0) & (labels.share != 0.5)
    return sum(1 for place in np.flatnonzero(decided).tolist() if labels.keys[place] not in scored)


def _row(
    scores: PairScores, labels: Labels, members: np.ndarray, surprise: np.ndarray, at: int, place: int
) -> Surprise:
    return Surprise(
        key=scores.keys[at],
        share=float(labels.share[place]),
        num_votes=int(labels.num_votes[place]),
        p=float(members[:, at].mean()),
        members=tuple(members[:, at].tolist()),
        surprise=float(surprise[at]),
        learned=bool(scores.learned[at]),
        source_a=labels.source_a[place],
        source_b=labels.source_b[place],
        length_a=int(labels.length_a[place]),
        length_b=int(labels.length_b[place]),
    )
