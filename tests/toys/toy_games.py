"""Votes on games between two models, for tests of rankings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from annotate_app.votes import Votes


def played(make_votes: Callable[..., Votes], games: Sequence[tuple[str, str, str]], names: tuple[str, ...]) -> Votes:
    """One item a game: (source a, source b, choice)."""
    return make_votes(
        range(len(games)),
        ["x"] * len(games),
        [choice for _, _, choice in games],
        sources=names,
        item_source_a=np.array([names.index(a) for a, _, _ in games], dtype=np.int32),
        item_source_b=np.array([names.index(b) for _, b, _ in games], dtype=np.int32),
    )
