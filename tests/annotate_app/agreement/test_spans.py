"""Agreement on marked words: by hand, against the definition character by character, and its interval."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from annotate_app.agreement.spans import span_agreement
from annotate_app.votes import CHOICE_CODES, KIND_CODES, Votes
from rewardkit.data.records import Span


def votes_of(num_items: int, people: list[str], length: int, kind: str = "work") -> Votes:
    """Everybody judged every comparison, whose responses have `length` characters."""
    pairs = list(itertools.product(range(num_items), range(len(people))))
    item, annotator = (np.array(part, dtype=np.int32) for part in zip(*pairs, strict=True))
    none = np.zeros(len(pairs))
    of_items = np.full(num_items, length, dtype=np.int32)
    return Votes(
        items=tuple(f"c{number}" for number in range(num_items)),
        annotators=tuple(people),
        sources=("",),
        item=item,
        annotator=annotator,
        choice=np.full(len(pairs), CHOICE_CODES["tie"], dtype=np.int8),
        score=none.astype(np.int8),
        kind=np.full(len(pairs), KIND_CODES[kind], dtype=np.int8),
        shown_left=none.astype(np.int8),
        seconds=none.astype(np.float32),
        created_at=none,
        criteria={},
        item_source_a=0 * of_items,
        item_source_b=0 * of_items,
        item_length_a=of_items,
        item_length_b=of_items,
        item_gold=np.full(num_items, -1, dtype=np.int8),
    )


def span(start: int, end: int, side: str = "a", flag: str = "wrong") -> Span:
    return Span(side=side, start=start, end=end, flag=flag)  # type: ignore[arg-type]


def test_two_people_by_hand() -> None:
    marks = {("c0", "anna"): (span(0, 4),), ("c0", "ben"): (span(2, 6), span(3, 5))}
    (found,) = span_agreement(votes_of(1, ["anna", "ben"], 10), marks, ["wrong"])
    # Both marked 2 of 4 and 4 characters; of 40 values 8 are marked, and 4 characters are told apart: 4 * 2 values.
    assert found.f1.value == pytest.approx(2 * 2 / (4 + 4))
    assert found.alpha.value == pytest.approx(1 - 8 / (2 * 8 * 32 / 39))
    assert (found.num_spans, found.num_responses, found.num_marked) == (3, 2, 1)
    assert math.isnan(found.f1.low)  # one comparison says nothing of how sure it is


def test_it_is_the_definition_over_characters() -> None:
    rng = np.random.default_rng(3)
    people, length, num_items = ["anna", "ben", "cleo"], 12, 6
    covered: dict[tuple[str, str, str], set[int]] = {}
    marks: dict[tuple[str, str], tuple[Span, ...]] = {}
    for item, name in itertools.product(range(num_items), people):
        spans = []
        for side in "ab":
            starts = rng.integers(0, length - 3, size=rng.integers(0, 3))
            spans += sorted({span(int(at), int(at) + int(rng.integers(1, 4)), side) for at in starts})
            covered[f"c{item}", side, name] = {
                at for one in spans if one.side == side for at in range(one.start, one.end)
            }
        marks[f"c{item}", name] = tuple(spans)
    (found,) = span_agreement(votes_of(num_items, people, length), marks, ["wrong"])
    both = total = 0
    coincidences = np.zeros((2, 2))
    for item, side in itertools.product(range(num_items), "ab"):
        sets = [covered[f"c{item}", side, name] for name in people]
        for one, other in itertools.combinations(sets, 2):
            both += 2 * len(one & other)
            total += len(one) + len(other)
        for at in range(length):
            values = [int(at in marked) for marked in sets]
            for one, other in itertools.permutations(values, 2):
                coincidences[one, other] += 1 / (len(people) - 1)
    n = coincidences.sum(axis=1)
    expected = (n.sum() ** 2 - (n**2).sum()) / (n.sum() - 1)
    assert found.f1.value == pytest.approx(both / total)
    assert found.alpha.value == pytest.approx(1 - (coincidences.sum() - np.trace(coincidences)) / expected)


def test_agreement_is_whole_where_all_mark_the_same_and_unknown_where_nobody_does() -> None:
    votes = votes_of(20, ["anna", "ben"], 50)
    marks = {(f"c{number}", name): (span(number, number + 9),) for number in range(20) for name in ("anna", "ben")}
    wrong, rude, other = span_agreement(
        votes, {**marks, ("c0", "anna"): (span(0, 9), span(1, 2, "a", "x"))}, ["wrong", "rude"]
    )
    assert (wrong.f1.value, wrong.alpha.value) == (1.0, 1.0)
    assert math.isnan(rude.f1.value)
    assert (other.flag, other.f1.value) == ("x", 0.0)


def test_checks_do_not_count_and_intervals_hold_the_figure() -> None:
    rng = np.random.default_rng(0)
    marks = {}
    for number in range(60):
        at = int(rng.integers(0, 60))
        marks[f"c{number}", "anna"] = (span(at, at + 20),)
        marks[f"c{number}", "ben"] = (span(at + int(rng.integers(0, 20)), at + 30),)
    (found,) = span_agreement(votes_of(60, ["anna", "ben"], 100), marks, ["wrong"], seed=1)
    assert found.f1.low < found.f1.value < found.f1.high
    assert 0.05 < found.f1.high - found.f1.low < 0.4
    (checks,) = span_agreement(votes_of(60, ["anna", "ben"], 100, "gold"), marks, ["wrong"])
    assert (checks.num_responses, checks.num_spans) == (0, 0)
    assert math.isnan(checks.f1.value)
