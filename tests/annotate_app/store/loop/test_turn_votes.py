"""Votes counted by the database are those that a slow loop over the votes themselves counts, on both databases."""

from __future__ import annotations

from collections import Counter

import numpy as np

from annotate_app.access import Actor
from annotate_app.ranking.rounds import round_results
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.votes import CHOICE_CODES
from rewardkit.data.records import Comparison, Judgment, Message

CHOICES = ("a", "b", "tie", "both_bad", "skip")


def test_patterns_of_turns_and_rounds_are_those_of_the_votes(store: Store, lead: Actor, project: Project) -> None:
    rng = np.random.default_rng(3)
    prompt = (Message(role="user", content="anything"),)
    keys = [f"t{number}" for number in range(12)]
    sources = [("one", "other"), ("other", "one"), ("one", "third")]
    store.comparisons.add(
        lead,
        project.id,
        [
            Comparison(
                id=key,
                prompt=prompt,
                completion_a=f"{key} a",
                completion_b=f"{key} b",
                source_a=sources[number % 3][0],
                source_b=sources[number % 3][1],
            )
            for number, key in enumerate(keys)
        ],
    )
    store.judgments.import_many(
        lead,
        project.id,
        [
            Judgment(
                comparison_id=key,
                annotator=name,
                choice=(choice := CHOICES[rng.integers(5)]),
                strength=int(choice in ("a", "b")),
                seconds=float(rng.integers(9)),
            )
            for key in keys[:10]
            for name in ("u", "v", "w")
        ],
    )
    turn = store.turns.add(lead, project.id, {})
    store.turns.add_pairs(lead, turn.id, dict.fromkeys(keys[:8], "random"))
    made = store.rounds.add(lead, project.id, one="one", other="other", comparisons=[keys[0], keys[1], *keys[3:11]])

    votes = store.judgments.votes(lead, project.id).counted()
    by_pair: dict[str, list[int]] = {}
    for item, choice in zip(votes.item, votes.choice, strict=True):
        if votes.items[item] in keys[:8]:
            by_pair.setdefault(votes.items[item], [0] * 4)[choice] += 1
    expected = Counter(tuple(counts) for counts in by_pair.values())
    patterns = store.turn_votes.of_turns(lead, project.id)[1]
    assert {one.counts: one.num_pairs for one in patterns} == expected
    of_turn = np.array([votes.items[item] in keys[:8] for item in votes.item])
    assert sum(one.seconds for one in patterns) == float(votes.seconds[of_turn].sum()) > 0
    assert list(CHOICE_CODES)[:4] == ["a", "b", "tie", "both_bad"]

    result = round_results(votes, [(made, store.rounds.keys(lead, made.id))])[0]
    totals = np.sum(
        [np.array(one.counts) * one.num_pairs for one in store.turn_votes.of_rounds(lead, project.id)[made.id]], axis=0
    )
    assert (totals[0], totals[1], totals[2] + totals[3]) == (result.wins, result.losses, result.ties)
    assert result.wins + result.losses > 5


def test_any_new_vote_changes_the_state(store: Store, lead: Actor, project: Project) -> None:
    before = store.turn_votes.state(lead, project.id)
    assert store.turn_votes.state(lead, project.id) == before
    store.judgments.import_many(lead, project.id, [Judgment(comparison_id="c0", annotator="u", choice="tie")])
    assert store.turn_votes.state(lead, project.id) != before
