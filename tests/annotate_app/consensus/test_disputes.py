from __future__ import annotations

import numpy as np

from annotate_app.consensus.disputes import disputed_items, splits
from annotate_app.consensus.release import release
from annotate_app.protocol.collection_design import Design
from annotate_app.votes import CHOICE_CODES, KIND_CODES, Votes


def make_votes(rows: list[tuple[int, int, str, int, float]], num_items: int, kind: str = "work") -> Votes:
    """Votes from (item, annotator, choice, score, degree on the criterion `tone`)."""
    item, annotator, choice, score, tone = zip(*rows, strict=True)
    size = len(rows)
    return Votes(
        items=tuple(f"c{number}" for number in range(num_items)),
        annotators=tuple(f"p{number}" for number in range(max(annotator) + 1)),
        sources=("",),
        item=np.array(item, dtype=np.int32),
        annotator=np.array(annotator, dtype=np.int32),
        choice=np.array([CHOICE_CODES[name] for name in choice], dtype=np.int8),
        score=np.array(score, dtype=np.int8),
        kind=np.full(size, KIND_CODES[kind], dtype=np.int8),
        shown_left=np.zeros(size, dtype=np.int8),
        seconds=np.ones(size, dtype=np.float32),
        created_at=np.zeros(size),
        criteria={"tone": np.array(tone, dtype=np.float32)},
        item_source_a=np.zeros(num_items, dtype=np.int32),
        item_source_b=np.zeros(num_items, dtype=np.int32),
        item_length_a=np.ones(num_items, dtype=np.int32),
        item_length_b=np.ones(num_items, dtype=np.int32),
        item_gold=np.full(num_items, -1, dtype=np.int8),
    )


NAN = float("nan")
ROWS = [
    # c0: opposed overall, even on tone
    (0, 0, "a", -1, 0.0),
    (0, 1, "b", 1, 0.0),
    # c1: opposed overall by the strongest degrees, opposed on tone
    (1, 0, "a", -3, -1.0),
    (1, 1, "b", 3, 1.0),
    # c2: a tie against b, tone answered once only
    (2, 0, "tie", 0, NAN),
    (2, 1, "b", 2, 1.0),
    # c3: the same answer
    (3, 0, "b", 2, 1.0),
    (3, 1, "b", 1, 1.0),
    # c4: both bad has no direction, so one directed vote is left
    (4, 0, "both_bad", 0, NAN),
    (4, 1, "b", 1, NAN),
]


def test_opposed_needs_both_directions_and_differing_counts_ties() -> None:
    overall, tone = splits(make_votes(ROWS, 5))
    # Overall two directed votes: c0, c1, c2, c3; opposed c0 and c1; differing also c2.
    assert (overall.name, overall.num_items, overall.num_opposed, overall.num_differing) == ("overall", 4, 2, 3)
    # Tone answered twice: c0, c1, c3; opposed only c1.
    assert (tone.name, tone.num_items, tone.num_opposed, tone.num_differing) == ("tone", 3, 1, 1)
    assert overall.share_opposed == 0.5


def test_splits_do_not_change_when_a_and_b_are_exchanged() -> None:
    mirror = {"a": "b", "b": "a"}
    swapped = [(item, who, mirror.get(choice, choice), -score, -tone) for item, who, choice, score, tone in ROWS]
    assert splits(make_votes(ROWS, 5)) == splits(make_votes(swapped, 5))


def test_checks_do_not_count() -> None:
    assert splits(make_votes(ROWS, 5, kind="repeat"))[0].num_items == 0


def test_the_widest_dispute_comes_first_and_settled_comparisons_are_not_in_the_queue() -> None:
    votes = make_votes(ROWS, 5)
    consensus = release(votes, Design(overlap=2, min_agreement=0.6))
    # c3 has a winner. Widths: c1 6, c0 2, c2 2, c4 1; c0, c2 and c4 are all draws of 0.5.
    assert disputed_items(votes, consensus) == ["c1", "c0", "c2", "c4"]
