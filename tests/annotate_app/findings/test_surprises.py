"""Where model and people differ: which pairs, in which order, through which filter."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest
from toy_scores import labels_of, scores_of

from annotate_app.findings.surprises import surprises, where_they_differ


def keys_of(found) -> list[str]:
    return [row.key for row in found.rows]


def test_sure_and_wrong_comes_first_and_what_agrees_or_is_even_is_not_there(make_run: Callable) -> None:
    share = [1.0, 1.0, 0.0, 0.5, np.nan, 2 / 3]
    scores = scores_of([[-1.0, 2.0, 3.0, 4.0, -4.0, -3.0], [-1.0, 2.0, 5.0, 4.0, -4.0, -3.0]])
    found = where_they_differ(make_run(1), scores, labels_of(share))
    assert keys_of(found) == ["p2", "p5", "p0"]
    assert (found.num_differing, found.num_pairs, found.num_unscored) == (3, 4, 0)
    first = found.rows[0]
    q = (1 / (1 + np.exp(-3)) + 1 / (1 + np.exp(-5))) / 2
    assert first.p == pytest.approx(q)
    assert first.surprise == pytest.approx(-log(1 - q))
    assert (first.low, first.high) == (pytest.approx(1 / (1 + np.exp(-3))), pytest.approx(1 / (1 + np.exp(-5))))
    assert (first.num_votes, first.share) == (3, 0.0)


def test_surprise_is_the_divergence_of_peoples_share() -> None:
    values = surprises(np.array([0.2, 0.75, 0.5]), np.array([2 / 3, 0.75, 1.0]))
    by_hand = 2 / 3 * log((2 / 3) / 0.2) + 1 / 3 * log((1 / 3) / 0.8)
    assert values == pytest.approx([by_hand, 0.0, log(2)])


def test_filters_leave_the_pairs_that_they_name(make_run: Callable) -> None:
    labels = labels_of(
        [0.0, 0.0, 1.0, 1.0],
        source_a=("x", "y", "x", "y"),
        source_b=("z", "z", "y", "z"),
        length_a=np.array([30, 5, 30, 5]),
        length_b=np.array([10, 10, 10, 10]),
    )
    scores, run = scores_of([1.0, 2.0, -3.0, -4.0], learned=[True, False, True, False]), make_run(1)
    assert keys_of(where_they_differ(run, scores, labels)) == ["p3", "p2", "p1", "p0"]
    assert keys_of(where_they_differ(run, scores, labels, source="x")) == ["p2", "p0"]
    assert keys_of(where_they_differ(run, scores, labels, length="longer")) == ["p3", "p0"]
    assert keys_of(where_they_differ(run, scores, labels, length="shorter")) == ["p2", "p1"]
    assert keys_of(where_they_differ(run, scores, labels, held_out=True)) == ["p3", "p1"]
    assert keys_of(where_they_differ(run, scores, labels, sure=0.9)) == ["p3", "p2"]
    limited = where_they_differ(run, scores, labels, limit=1)
    assert (keys_of(limited), limited.num_differing) == (["p3"], 4)


def test_pairs_that_are_not_scored_are_counted(make_run: Callable) -> None:
    found = where_they_differ(make_run(1), scores_of([1.0], keys=["p1"]), labels_of([1.0, 0.0, 0.5, np.nan]))
    assert (keys_of(found), found.num_unscored) == (["p1"], 1)


@pytest.mark.parametrize(("values", "message"), [({"sure": 1.5}, "sure is 1.5"), ({"length": "x"}, "length is 'x'")])
def test_what_is_not_allowed_is_said(make_run: Callable, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        where_they_differ(make_run(1), scores_of([1.0]), labels_of([0.0]), **values)
