"""Simulated judgments are stored as if made here, and only where a project says that it is simulated."""

from __future__ import annotations

from collections import Counter

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.simulated import SimulatedAnswer
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.votes import KINDS
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
RUBRIC = "title: T\nguidelines: G\n"


@pytest.fixture
def simulated(store: Store) -> Project:
    project = store.projects.create(ADMIN, "sim", rubric_text=RUBRIC, design=Design(overlap=2), simulated=True)
    comparisons = [
        Comparison(id=f"c{n}", prompt=(Message(role="user", content=f"q{n}"),), completion_a="x", completion_b="y")
        for n in range(3)
    ]
    store.comparisons.add(ADMIN, project.id, comparisons)
    store.comparisons.set_gold(ADMIN, project.id, "c2", Gold(choice="b"))
    for name in ("sim-a", "sim-b", "sim-c"):
        user = store.people.add(ADMIN, name, role="annotator", origin="simulated")
        store.projects.add_member(ADMIN, project.id, user.id)
    return project


def answer(
    comparison: str, annotator: str, choice: str = "b", kind: str = "work", at: float = 1000.0
) -> SimulatedAnswer:
    judgment = Judgment(
        comparison_id=comparison,
        annotator=annotator,
        choice=choice,  # type: ignore[arg-type]
        strength=2 if choice in ("a", "b") else 0,
        criteria={"tone": -1},
        flags={"a": ("unsafe",)},
        rationale="because",
        reason="other" if choice == "skip" else "",
        seconds=12.5,
        shown_left="b",
        created_at=at,
        rubric_version=1,
    )
    return SimulatedAnswer(judgment=judgment, kind=kind)  # type: ignore[arg-type]


def test_answers_keep_their_kind_time_side_and_words(store: Store, simulated: Project) -> None:
    given = [
        answer("c0", "sim-a", at=10.0),
        answer("c0", "sim-b", "tie", at=20.0),
        answer("c0", "sim-a", "a", kind="repeat", at=30.0),
        answer("c2", "sim-a", kind="gold", at=40.0),
    ]
    assert store.judgments.add_simulated(ADMIN, simulated.id, given) == 4
    stored = list(store.judgments.iterate(ADMIN, simulated.id))
    assert stored == [each.judgment for each in given]
    votes = store.judgments.votes(ADMIN, simulated.id)
    assert Counter(KINDS[code] for code in votes.kind) == {"work": 2, "repeat": 1, "gold": 1}
    assert votes.created_at.tolist() == [10.0, 20.0, 30.0, 40.0]


def test_work_takes_slots_and_leaves_the_rest_to_people(store: Store, simulated: Project) -> None:
    store.judgments.add_simulated(ADMIN, simulated.id, [answer("c0", "sim-a"), answer("c1", "sim-b")])
    progress = store.projects.progress(ADMIN, simulated.id)
    assert (progress.slots_wanted, progress.slots_judged) == (4, 2)


def test_a_skip_leaves_its_slot_open_for_others(store: Store, simulated: Project) -> None:
    store.judgments.add_simulated(ADMIN, simulated.id, [answer("c0", "sim-a", "skip")])
    assert store.projects.progress(ADMIN, simulated.id).slots_judged == 0
    store.judgments.add_simulated(ADMIN, simulated.id, [answer("c0", "sim-b"), answer("c0", "sim-c")])
    assert store.projects.progress(ADMIN, simulated.id).slots_judged == 2


def test_more_work_than_the_overlap_is_refused_whole(store: Store, simulated: Project) -> None:
    with pytest.raises(ValueError, match="no open slot left"):
        store.judgments.add_simulated(ADMIN, simulated.id, [answer("c0", f"sim-{name}") for name in "abc"])
    assert list(store.judgments.iterate(ADMIN, simulated.id)) == []
    assert store.projects.progress(ADMIN, simulated.id).slots_judged == 0


@pytest.mark.parametrize(
    ("comparison", "annotator", "message"),
    [("c9", "sim-a", "no comparison 'c9'"), ("c0", "anna", "'anna' is not a simulated member")],
)
def test_strangers_are_refused(store: Store, simulated: Project, comparison: str, annotator: str, message: str) -> None:
    store.projects.add_member(ADMIN, simulated.id, store.people.add(ADMIN, "anna", role="annotator").id)
    with pytest.raises(ValueError, match=message):
        store.judgments.add_simulated(ADMIN, simulated.id, [answer(comparison, annotator)])


def test_a_project_of_people_takes_no_simulated_judgment(store: Store, project: Project) -> None:
    with pytest.raises(ValueError, match="not marked as simulated"):
        store.judgments.add_simulated(ADMIN, project.id, [answer("c0", "sim-a")])


def test_only_leads_simulate(store: Store, simulated: Project) -> None:
    user = store.people.by_name(ADMIN, "sim-a")
    assert user is not None
    with pytest.raises(AccessError):
        store.judgments.add_simulated(store.people.actor_of(user), simulated.id, [answer("c0", "sim-a")])
