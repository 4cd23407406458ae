"""Scores of pairs and people's shares that are made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotate_app.findings.labels import Labels
from annotate_app.findings.pair_scores import PairScores


def scores_of(
    margins: Sequence[Sequence[float]] | Sequence[float],
    *,
    keys: Sequence[str] = (),
    prompt: Sequence[str] = (),
    learned: Sequence[bool] = (),
) -> PairScores:
    """Scores of the pairs p0, p1, ..., each of a prompt of its own and none learned from, unless it is said."""
    each = np.atleast_2d(np.asarray(margins, dtype=float))
    count = each.shape[1]
    names = tuple(keys) or tuple(f"p{number}" for number in range(count))
    return PairScores(
        keys=names,
        prompt=np.array(list(prompt) or list(names), dtype="U16"),
        learned=np.array(list(learned) or [False] * count, dtype=bool),
        margins=each,
        rewards=np.stack([each.mean(0), np.zeros(count)]),
        card="",
    )


def labels_of(share: Sequence[float], *, keys: Sequence[str] = (), weight: Sequence[float] = (), **columns) -> Labels:
    """People's shares for a on the pairs p0, p1, ...; nan is not released."""
    values = np.asarray(share, dtype=float)
    count, known = len(values), ~np.isnan(values)
    filled = {
        "num_votes": np.where(known, 3, 0),
        "source_a": ("one",) * count,
        "source_b": ("other",) * count,
        "length_a": np.full(count, 20),
        "length_b": np.full(count, 10),
    }
    return Labels(
        keys=tuple(keys) or tuple(f"p{number}" for number in range(count)),
        share=values,
        weight=np.asarray(list(weight) or known, dtype=float) * known,
        **(filled | columns),
    )
