"""Marks by rule: by hand on a message of the desk, and in line with the marks that were given by hand."""

from __future__ import annotations

import numpy as np
import pytest

from annotate_app.desk_marks import desk_messages, desk_rows, gold_of, read_marks
from rewardkit.data.records import Message

PROMPT = tuple(Message(**message) for message in desk_rows()[0]["messages"])
BEST = desk_rows()[0]["responses"][0]["text"]


def test_the_best_written_reply_has_every_mark_nearly_in_full():
    marks = read_marks(PROMPT, BEST)
    assert (marks["solves"], marks["correct"]) == (4.0, 4.0)
    assert 3.5 < marks["tone"] <= 4.0
    assert gold_of({"solves": 4, "correct": 4, "tone": 4}) == pytest.approx(0.9 * 2 + 0.7 * 2 + 0.3 * 2)


def test_marks_by_hand():
    best = next(iter(desk_messages().values())).replies[0]
    # "sorry", "order" stand in the best reply; "banana" nowhere. Pairs: sorry order, order banana: all different.
    marks = read_marks(PROMPT, "Sorry order banana")
    assert marks["solves"] == pytest.approx(4 * 2 / len(best))
    assert marks["correct"] == pytest.approx(4 * 2 / 3)
    assert marks["tone"] == 2.0
    # Pairs: sorry sorry (twice), of two one is different; the sentence ends.
    assert read_marks(PROMPT, "Sorry sorry sorry.")["tone"] == 2.0


def test_no_word_has_no_mark_and_another_message_is_refused():
    assert read_marks(PROMPT, " ...") == {"solves": 0, "correct": 0, "tone": 0}
    with pytest.raises(ValueError, match="is no message of the demo's desk"):
        read_marks((Message(role="user", content="What is a reward model?"),), "A model.")


def test_the_rule_orders_written_replies_mostly_as_their_marks_do():
    agree = []
    for row in desk_rows():
        prompt = tuple(Message(**message) for message in row["messages"])
        replies = [(gold_of(reply), gold_of(read_marks(prompt, reply["text"]))) for reply in row["responses"]]
        agree += [(a[0] > b[0]) == (a[1] > b[1]) for a in replies for b in replies if a[0] > b[0] + 1]
    assert np.mean(agree) > 0.8
