"""Blind rounds in the store, on both databases, and their result by hand-counted votes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.ranking.rounds import round_results
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message


def pair(key: str, a: str, b: str) -> Comparison:
    prompt = (Message(role="user", content=f"prompt of {key}"),)
    return Comparison(id=key, prompt=prompt, completion_a="x", completion_b="y", source_a=a, source_b=b)


@pytest.fixture
def rated(store: Store, lead: Actor, project: Project) -> Store:
    """run-2 against run-1 on r0 to r3, b and a by turns, and a pair of others."""
    pairs = [
        pair("r0", "run-2", "run-1"),
        pair("r1", "run-1", "run-2"),
        pair("r2", "run-2", "run-1"),
        pair("r3", "run-1", "run-2"),
        pair("other", "run-1", "run-2"),
        pair("foreign", "run-1", "run-3"),
    ]
    store.comparisons.add(lead, project.id, pairs)
    return store


def test_a_round_keeps_its_sources_and_pairs(rated: Store, lead: Actor, project: Project) -> None:
    made = rated.rounds.add(
        lead, project.id, one="run-2", other="run-1", comparisons=["r1", "r0", "r0"], detail={"seed": 3}
    )
    assert (made.one, made.other, made.num_pairs, made.detail, made.turn_id) == ("run-2", "run-1", 2, {"seed": 3}, None)
    assert rated.rounds.keys(lead, made.id) == ("r0", "r1")
    assert rated.rounds.get(lead, project.id, made.id) == made
    later = rated.rounds.add(lead, project.id, one="run-3", other="run-1", comparisons=["foreign"])
    assert rated.rounds.list(lead, project.id) == [later, made]
    assert rated.check() == []


def test_a_round_says_what_is_wrong_with_it(
    rated: Store, lead: Actor, project: Project, annotator: Actor, make_project: Callable[..., Project]
) -> None:
    def add(one: str = "run-2", other: str = "run-1", keys: tuple[str, ...] = ("r0",), turn_id: int | None = None):
        return rated.rounds.add(lead, project.id, one=one, other=other, comparisons=keys, turn_id=turn_id)

    with pytest.raises(ValueError, match="'run-2' against itself"):
        add(other="run-2")
    with pytest.raises(ValueError, match="comparisons is empty"):
        add(keys=())
    with pytest.raises(ValueError, match="no comparison 'gone'"):
        add(keys=("r0", "gone"))
    with pytest.raises(ValueError, match="no turn with the id 77"):
        add(turn_id=77)
    with pytest.raises(ValueError, match="other is empty"):
        add(other=" ")
    assert rated.rounds.list(lead, project.id) == []
    made = add()
    with pytest.raises(AccessError):
        rated.rounds.list(annotator, project.id)
    with pytest.raises(AccessError):
        rated.rounds.keys(annotator, made.id)
    elsewhere = make_project(rated, "elsewhere")
    with pytest.raises(ValueError, match=f"no round {made.id}"):
        rated.rounds.get(Actor.command_line(), elsewhere.id, made.id)


def test_the_result_counts_the_rounds_own_votes_only(rated: Store, lead: Actor, project: Project) -> None:
    votes = [("r0", "a"), ("r1", "b"), ("r2", "b"), ("r3", "tie"), ("other", "a"), ("foreign", "a")]
    rows = [
        Judgment(comparison_id=key, annotator="u", choice=choice, strength=int(choice in "ab"))  # type: ignore[arg-type]
        for key, choice in votes
    ]
    rated.judgments.import_many(lead, project.id, rows)
    keys = ["r0", "r1", "r2", "r3"]
    made = rated.rounds.add(lead, project.id, one="run-2", other="run-1", comparisons=keys)
    result = round_results(rated.judgments.votes(lead, project.id), [(made, keys)])[0]
    # run-2 is a of r0 (won), b of r1 (won), a of r2 (lost): 2 wins, 1 loss, 1 tie; rate (2 + 1/2) / 4.
    assert (result.wins, result.ties, result.losses, result.num_judged, result.num_pairs) == (2, 1, 1, 4, 4)
    assert result.rate.value == 0.625
    assert result.rate.low < 0.625 < result.rate.high
    assert result.sentence() == "Not shown that people prefer run-2 or run-1."
    turned = rated.rounds.add(lead, project.id, one="run-1", other="run-2", comparisons=keys)
    mirror = round_results(rated.judgments.votes(lead, project.id), [(turned, keys)])[0]
    assert (mirror.wins, mirror.losses, mirror.rate.value) == (1, 2, 0.375)
    assert mirror.rate.low == pytest.approx(1 - result.rate.high)
    assert mirror.rate.high == pytest.approx(1 - result.rate.low)


def test_a_clear_round_names_its_winner_and_an_unjudged_one_says_so(
    store: Store, lead: Actor, project: Project
) -> None:
    keys = [f"k{number}" for number in range(30)]
    store.comparisons.add(lead, project.id, [pair(key, "run-9", "run-12") for key in keys])
    made = store.rounds.add(lead, project.id, one="run-12", other="run-9", comparisons=keys)
    empty = round_results(store.judgments.votes(lead, project.id), [(made, keys)])[0]
    assert (empty.num_votes, empty.num_judged, empty.num_pairs) == (0, 0, 30)
    assert empty.sentence() == "Nobody has judged run-12 against run-9 yet."
    rows = [Judgment(comparison_id=key, annotator="u", choice="b", strength=1) for key in keys[:25]]
    store.judgments.import_many(lead, project.id, rows)
    result = round_results(store.judgments.votes(lead, project.id), [(made, keys)])[0]
    assert (result.wins, result.losses, result.num_judged) == (25, 0, 25)
    assert result.sentence() == "People prefer run-12 to run-9."
