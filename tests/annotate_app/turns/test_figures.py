"""Figures and lineage of turns by hand-counted votes, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.store.loop.turns import Turn
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.turns import figures as figures_module
from annotate_app.turns.figures import read_figures
from annotate_app.turns.lineage import read_lineage
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()


def add_turn(store: Store, project: Project, number: int, results: dict[str, dict[str, Any]]) -> Turn:
    turn = store.turns.add(ADMIN, project.id, {"policy": "/base"}, parent=number - 1 or None)
    for stage, result in results.items():
        store.turns.update_stage(ADMIN, turn.id, stage, state="done", result=result)  # type: ignore[arg-type]
    store.turns.end(ADMIN, turn.id, "done")
    return turn


def vote(store: Store, project: Project, key: str, choices: dict[str, str], seconds: float = 2.0) -> None:
    rows = [
        Judgment(comparison_id=key, annotator=who, choice=choice, strength=int(choice in "ab"), seconds=seconds)  # type: ignore[arg-type]
        for who, choice in choices.items()
    ]
    store.judgments.import_many(ADMIN, project.id, rows)


@pytest.fixture
def two_turns(store: Store, project: Project) -> Store:
    """Two turns with pairs c0 to c3 and a round of run-2 against run-1; the second's policy came from the first's."""
    first = add_turn(
        store,
        project,
        1,
        {
            "write": {"first": {"name": "turn-0", "model": "/base"}},
            "learn": {
                "run": 5,
                "model": "/r5",
                "after": {"accuracy": {"value": 0.7, "low": 0.5, "high": 0.9}, "ece": 0.1},
            },
            "align": {"run": 6, "policy": {"name": "run-6", "model": "/p6"}},
        },
    )
    store.turns.add_pairs(ADMIN, first.id, {"c0": "random", "c1": "random"})
    prompt = (Message(role="user", content="hi"),)
    pair = Comparison(id="r", prompt=prompt, completion_a="x", completion_b="y", source_a="run-9", source_b="run-6")
    store.comparisons.add(ADMIN, project.id, [pair])
    made = store.rounds.add(ADMIN, project.id, one="run-9", other="run-6", comparisons=["r"])
    second = add_turn(
        store,
        project,
        2,
        {
            "learn": {"run": 8, "model": "/r8"},
            "align": {"run": 9, "policy": {"name": "run-9", "model": "/p9"}},
            "check": {
                "rounds": {"previous": made.id},
                "figures": {
                    "kl": {"value": 1.5, "low": 1.0, "high": 2.0},
                    "gold": {"value": 1, "low": None, "high": None},
                },
            },
        },
    )
    store.turns.add_pairs(ADMIN, second.id, {"c2": "random", "c3": "uncertainty"})
    vote(store, project, "c0", {"ann": "a", "bob": "a"})
    vote(store, project, "c1", {"ann": "b", "bob": "b"})
    vote(store, project, "c2", {"ann": "a"})
    vote(store, project, "c4", {"ann": "a"})  # of no turn
    vote(store, project, "r", {"ann": "a", "bob": "tie"})
    return store


def test_figures_count_what_a_turn_bought_and_found(two_turns: Store, project: Project) -> None:
    first, second = read_figures(two_turns, ADMIN, project.id)
    assert (first.number, first.policy, first.reward_model, first.num_pairs, first.num_random) == (
        1,
        "run-6",
        "run-5",
        2,
        2,
    )
    assert (first.num_people_votes, first.people_seconds, first.num_judge_votes) == (4, 8.0, 0)
    assert first.agreement is not None
    assert first.agreement.value == 1.0  # both agree on both pairs, which differ
    assert first.accuracy_after is not None
    assert (first.accuracy_after.value, first.accuracy_after.low, first.accuracy_after.high) == (0.7, 0.5, 0.9)
    assert (first.accuracy_before, first.against_previous, first.kl) == (None, None, None)
    assert first.ece_after is not None
    assert (first.ece_after.value, first.ece_after.is_known) == (0.1, False)
    assert (second.num_pairs, second.num_random, second.num_people_votes, second.agreement) == (2, 1, 1, None)
    assert second.against_previous is not None
    assert second.against_previous.value == 0.75  # one win, one tie
    assert second.against_first is None
    assert second.kl is not None
    assert (second.kl.value, second.kl.low, second.kl.high) == (1.5, 1.0, 2.0)
    assert second.gold is not None
    assert not second.gold.is_known


def test_figures_follow_votes_and_are_kept_between(
    two_turns: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_figures(two_turns, ADMIN, project.id)
    with monkeypatch.context() as patched:
        patched.setattr(figures_module, "_compute", None)
        assert read_figures(two_turns, ADMIN, project.id) == before  # without computing
    vote(two_turns, project, "c3", {"bob": "tie"})
    assert read_figures(two_turns, ADMIN, project.id)[1].num_people_votes == 2


def test_lineage_leads_back_to_turn_zero(two_turns: Store, project: Project) -> None:
    last, first = read_lineage(two_turns, ADMIN, project.id)
    assert (last.turn, last.policy.name, last.from_policy.name) == (2, "run-9", "run-6")
    assert (last.align_run, last.learn_run, last.reward_model) == (9, 8, "/r8")
    assert (last.pairs, last.people_votes) == ({"random": 1, "uncertainty": 1}, {"ann": 1})
    assert list(last.rounds) == ["previous"]
    assert (first.policy.name, first.from_policy.name, first.people_votes) == ("run-6", "turn-0", {"ann": 2, "bob": 2})
    assert first.sentence() == "run-6 (turn 1, run 6) <- run-5 <- 4 judgments of 2 people <- 2 random written by turn-0"
    assert read_lineage(two_turns, ADMIN, project.id, turn=1) == [first]
    with pytest.raises(ValueError, match="there is no turn 7"):
        read_lineage(two_turns, ADMIN, project.id, turn=7)
    with pytest.raises(ValueError, match="comes from no turn"):
        read_lineage(two_turns, ADMIN, project.id, policy="someone/else")


def test_figures_and_lineage_are_for_leads(two_turns: Store, project: Project, annotator: Actor) -> None:
    with pytest.raises(AccessError):
        read_figures(two_turns, annotator, project.id)
    with pytest.raises(AccessError):
        read_lineage(two_turns, annotator, project.id)


def test_a_project_without_turns_has_neither(store: Store, project: Project) -> None:
    assert read_figures(store, ADMIN, project.id) == []
    with pytest.raises(ValueError, match="has no turns"):
        read_lineage(store, ADMIN, project.id)
