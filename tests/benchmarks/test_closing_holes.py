"""The benchmark of closed holes: its people toss coins on edits, its table counts holes and worlds."""

from __future__ import annotations

import re
from pathlib import Path

from module_files import load_module

from rewardkit.data.records import Comparison, Message

benchmark = load_module("closing_holes_benchmark", Path(__file__).parents[1] / "benchmarks" / "closing_holes.py")


def test_people_toss_a_coin_on_an_edit_and_its_sources_stay() -> None:
    pair = Comparison(
        id="e",
        prompt=(Message(role="user", content="Where?"),),
        completion_a="Here.",
        completion_b="Great question! Here.",
        source_a="audit edits",
        source_b="audit edits",
    )
    votes = benchmark.vote_on([pair] * 1000, seed=0)
    assert 450 < sum(vote.chosen == "Here." for vote in votes) < 550  # three standard deviations
    assert {(vote.source_chosen, vote.source_rejected) for vote in votes} == {("audit edits", "audit edits")}
    assert {frozenset((vote.chosen, vote.rejected)) for vote in votes} == {
        frozenset(("Here.", "Great question! Here."))
    }


def test_the_table_counts_holes_and_worlds_whose_planted_one_was_listed() -> None:
    ours, others = benchmark.ARMS
    first, second, third = benchmark.PLANTABLE[:3]
    results = [
        {ours: {first: "closed", "length": "open"}, others: {first: "open", "length": "not shown"}},
        {ours: {second: "closed"}, others: {second: "closed"}},
        {ours: {"length": "closed"}, others: {"length": "open"}},  # the planted one was not listed
    ]
    assert third not in results[2][ours]
    header, *_, top, bottom = benchmark.table(range(3), results).splitlines()
    assert "planted one closed" in header
    assert re.split(r"\s{2,}", top.strip()) == [ours, "3", "1", "0", "2 of 2, 100.0% (15.8 to 100.0)"]
    assert re.split(r"\s{2,}", bottom.strip()) == [others, "1", "2", "1", "1 of 2, 50.0% (1.3 to 98.7)"]
