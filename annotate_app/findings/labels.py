"""What people say of each pair of a project, as a reward model is measured by it: the released consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotate_app.access import Actor
from annotate_app.consensus.consensus import Consensus
from annotate_app.consensus.release import preference_weights, release
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.votes import Votes


@dataclass(frozen=True, kw_only=True)
class Labels:
    """People's choices on I pairs.

    Attributes:
        keys: (I,) ids of the comparisons.
        share: (I,) that prefers a, 0 to 1, a tie as half; nan where nothing is released.
        weight: (I,) of the pair in a figure, 0 where nothing is released.
        num_votes: (I,) judgments behind the share.
        source_a, source_b: (I,) what wrote the answers.
        length_a, length_b: (I,) characters.
        by: criterion whose choice it is; empty for the overall one.
    """

    keys: tuple[str, ...]
    share: np.ndarray
    weight: np.ndarray
    num_votes: np.ndarray
    source_a: tuple[str, ...]
    source_b: tuple[str, ...]
    length_a: np.ndarray
    length_b: np.ndarray
    by: str = ""

    def places(self, keys: Sequence[str]) -> np.ndarray:
        """(N,) where keys stand among the pairs, -1 for those that do not."""
        place = {key: number for number, key in enumerate(self.keys)}
        return np.fromiter((place.get(key, -1) for key in keys), dtype=np.int64, count=len(keys))


def read_labels(store: Store, actor: Actor, project: Project, *, by: str = "") -> Labels:
    """What people say now of the pairs of a project; adjudicators' decisions count. Lead or above."""
    votes = store.judgments.votes(actor, project.id)
    settled = store.judgments.adjudications(actor, project.id)
    return make_labels(votes, release(votes, project.design, settled), by=by)


def make_labels(votes: Votes, consensus: Consensus, *, by: str = "") -> Labels:
    """The labels of a consensus.

    Args:
        by: criterion whose sign is the choice, as a training on it takes it; empty for the overall choice.

    Raises:
        ValueError: if nobody judged by that criterion.
    """
    weight = preference_weights(consensus)
    share = 1.0 - consensus.p_b
    if by:
        if by not in consensus.criteria:
            raise ValueError(f"criterion is {by!r}, people judged by {', '.join(consensus.criteria) or 'none'}")
        degree = consensus.criteria[by]  # below 0 prefers a
        share = np.where(np.isnan(degree), np.nan, 0.5 - 0.5 * np.sign(degree))
    known = ~np.isnan(weight) & ~np.isnan(share)
    sources = votes.sources
    return Labels(
        keys=votes.items,
        share=np.where(known, share, np.nan),
        weight=np.where(known, np.nan_to_num(weight), 0.0),
        num_votes=consensus.counts.sum(1),
        source_a=tuple(sources[number] for number in votes.item_source_a.tolist()),
        source_b=tuple(sources[number] for number in votes.item_source_b.tolist()),
        length_a=votes.item_length_a,
        length_b=votes.item_length_b,
        by=by,
    )
