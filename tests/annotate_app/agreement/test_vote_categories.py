from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from annotate_app.agreement.vote_categories import criterion_ballots, overall_ballots
from annotate_app.votes import KIND_CODES, Votes


def test_both_bad_is_an_answer_without_a_degree(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes("ppqq", "xyxy", ("a", "both_bad", "tie", "b"), score=np.array([-2, 0, 0, 1], dtype=np.int8))
    ballots = overall_ballots(votes)
    assert ballots.levels.tolist() == [-2, -1, 0, 1, 2]  # closed under exchange of a and b
    assert ballots.degree.tolist() == [0, -1, 2, 3]
    assert ballots.nominal_tally.counts.tolist() == [[1, 0, 0, 1], [0, 1, 1, 0]]  # a, tie, b, both_bad
    assert ballots.degree_tally().counts.sum(axis=1).tolist() == [1, 2]


def test_answers_never_given_are_no_category_but_a_and_b_always(make_votes: Callable[..., Votes]) -> None:
    assert overall_ballots(make_votes("pq", "xx", ("a", "a"))).categories == (0, 2)


def test_skips_and_checks_are_not_counted(make_votes: Callable[..., Votes]) -> None:
    kinds = [KIND_CODES[name] for name in ("work", "import", "gold", "repeat", "qualification", "work")]
    choices = ("a", "b", "a", "a", "a", "skip")
    votes = make_votes("pppppp", "uvwxyz", choices, kind=np.array(kinds, dtype=np.int8))
    assert [votes.annotators[index] for index in votes.counted().annotator] == ["u", "v"]
    with pytest.raises(ValueError, match="counted"):
        overall_ballots(votes)


def test_criterion_leaves_out_who_did_not_answer_it(make_votes: Callable[..., Votes]) -> None:
    tone = {"tone": np.array([-3, np.nan, 1, 0], dtype=np.float32)}
    ballots = criterion_ballots(make_votes("ppqq", "xyxy", ("a", "a", "b", "tie"), criteria=tone), "tone")
    assert ballots.item.tolist() == [0, 1, 1]
    assert ballots.nominal.tolist() == [0, 2, 1]
    assert ballots.levels.tolist() == [-3, -1, 0, 1, 3]


def test_no_votes_at_all(make_votes: Callable[..., Votes]) -> None:
    ballots = overall_ballots(make_votes([], [], []))
    assert ballots.nominal_tally.counts.shape == (0, 2)
    assert len(ballots.levels) == 0
