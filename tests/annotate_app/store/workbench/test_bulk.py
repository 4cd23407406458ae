"""Actions on all of a view, saved views and assignments, on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from annotate_app.access import Actor
from annotate_app.exchange.project_out import export_project
from annotate_app.exchange.projects_in import import_project
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.workbench.assignments import Assigned
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()
FIRST_TWO = ComparisonFilter(keys=("c0", "c1"))


def wanted(store: Store, project: Project) -> dict[str, tuple[int, int]]:
    listed = store.browsing.find(ADMIN, project.id, limit=1000)
    return {item.comparison.id: (item.num_judged, item.num_wanted) for item in listed}


def test_gold_priority_and_overlap_of_a_view(store: Store, project: Project) -> None:
    assert store.bulk.set_gold(ADMIN, project.id, FIRST_TWO, Gold(choice="b", explanation="why")) == 2
    assert store.comparisons.golds(ADMIN, project.id) == {
        key: Gold(choice="b", explanation="why") for key in ("c0", "c1")
    }
    assert wanted(store, project) == {"c0": (0, 0), "c1": (0, 0)} | {key: (0, 3) for key in ("c2", "c3", "c4")}
    assert store.bulk.set_gold(ADMIN, project.id, FIRST_TWO, None) == 2
    assert store.bulk.set_overlap(ADMIN, project.id, FIRST_TWO, 5) == 2
    assert wanted(store, project)["c1"] == (0, 5)
    assert store.bulk.set_priority(ADMIN, project.id, FIRST_TWO, 2.0) == 2
    assert [item.priority for item in store.browsing.find(ADMIN, project.id)] == [2.0, 2.0, 0.0, 0.0, 0.0]
    golds = {"c2": Gold(choice="a"), "c3": Gold(choice="tie", use="qualification")}
    assert store.bulk.set_golds(ADMIN, project.id, golds) == 2
    assert store.comparisons.golds(ADMIN, project.id) == golds
    with pytest.raises(ValueError, match="there is no comparison 'nowhere'"):
        store.bulk.set_golds(ADMIN, project.id, {"c4": Gold(choice="a"), "nowhere": Gold(choice="a")})
    assert store.comparisons.golds(ADMIN, project.id) == golds
    actions = [entry.action for entry in store.audit.list(ADMIN, project.id)]
    assert actions[:2] == ["gold answers set", "priority set on a view"]
    assert store.check() == []


def test_what_is_excluded_is_kept_but_counts_nowhere(
    store: Store, project: Project, make_actor: Callable[..., Actor], answer: Callable
) -> None:
    anna = make_actor(store, "annotator", "anna", project)
    held = store.work.lease(anna, project.id, count=2)
    assert [lease.comparison.id for lease in held] == ["c0", "c1"]
    for name in ("x", "y"):
        votes = [Judgment(comparison_id=key, annotator=name, choice="a", strength=1) for key in ("c0", "c2", "c3")]
        store.judgments.import_many(ADMIN, project.id, votes)
    store.judgments.adjudicate(ADMIN, project.id, "c2", Decision(choice="tie"))
    before = store.browsing.stamp(ADMIN, project.id)
    chosen = ComparisonFilter(keys=("c0", "c2"))
    assert store.bulk.exclude(ADMIN, project.id, chosen) == 2
    assert store.bulk.exclude(ADMIN, project.id, chosen) == 0
    assert store.browsing.stamp(ADMIN, project.id) != before

    votes = store.judgments.votes(ADMIN, project.id)
    assert (votes.items, len(votes)) == (("c1", "c3", "c4"), 2)
    assert len(store.judgments.votes(ADMIN, project.id, excluded=True)) == 6
    assert {one.comparison_id for one in store.judgments.iterate(ADMIN, project.id)} == {"c3"}
    assert [one.id for one in store.comparisons.iterate(ADMIN, project.id)] == ["c1", "c3", "c4"]
    assert store.comparisons.count(ADMIN, project.id) == 3
    assert store.judgments.adjudications(ADMIN, project.id) == {}
    progress = store.projects.progress(ADMIN, project.id)
    assert (progress.num_comparisons, progress.slots_wanted, progress.slots_judged) == (3, 9, 2)
    assert store.browsing.count(ADMIN, project.id, ComparisonFilter()) == 3
    assert store.browsing.keys(ADMIN, project.id, ComparisonFilter(excluded="only")) == ["c0", "c2"]
    assert store.judgments.of_comparison(ADMIN, project.id, "c0") != []

    # Who has it in hand may answer; what is given back goes to nobody.
    receipt = answer(store, anna, project, held[0])
    assert receipt.accepted
    seen = {lease.comparison.id for lease in store.work.lease(anna, project.id, count=5)}
    bob = make_actor(store, "annotator", "bob", project)
    seen |= {lease.comparison.id for lease in store.work.lease(bob, project.id, count=5)}
    assert seen == {"c1", "c3", "c4"}
    assert store.check() == []

    assert store.bulk.exclude(ADMIN, project.id, ComparisonFilter(excluded="only"), False) == 2
    assert wanted(store, project)["c2"] == (2, 3)
    assert len(store.judgments.votes(ADMIN, project.id)) == 7
    assert store.check() == []


def test_an_excluded_check_checks_nobody(store: Store, make_project: Callable, make_actor: Callable) -> None:
    project = make_project(store, design=Design(overlap=1, gold_rate=0.9))
    store.bulk.set_gold(ADMIN, project.id, FIRST_TWO, Gold(choice="a"))
    store.bulk.exclude(ADMIN, project.id, FIRST_TWO)
    anna = make_actor(store, "annotator", "anna", project)
    assert [one.comparison.id for one in store.work.lease(anna, project.id, count=9)] == ["c2", "c3", "c4"]


def test_a_project_carries_its_tags_and_exclusions(store: Store, project: Project, tmp_path) -> None:
    store.judgments.import_many(
        ADMIN,
        project.id,
        [Judgment(comparison_id=key, annotator="x", choice="a", strength=1) for key in ("c0", "c1", "c2")],
    )
    store.bulk.tag(ADMIN, project.id, FIRST_TWO, "für später")
    store.bulk.exclude(ADMIN, project.id, ComparisonFilter(keys=("c1",)))
    export_project(store, ADMIN, project.id, tmp_path / "out.zip")
    made = import_project(store, ADMIN, tmp_path / "out.zip", name="again").project
    assert store.browsing.keys(ADMIN, made.id, ComparisonFilter(tags=("für später",), excluded="with")) == ["c0", "c1"]
    assert store.browsing.keys(ADMIN, made.id, ComparisonFilter(excluded="only")) == ["c1"]
    votes = store.judgments.votes(ADMIN, made.id, excluded=True)
    assert len(votes) == 3
    assert set(votes.kind.tolist()) == set(store.judgments.votes(ADMIN, project.id, excluded=True).kind.tolist())


def test_views_are_saved_renamed_and_deleted(store: Store, project: Project) -> None:
    chosen = ComparisonFilter(agreement="split", persons=("anna",), sort="agreement")
    first = store.saved_views.save(ADMIN, project.id, " hard ones ", chosen)
    assert store.saved_views.save(ADMIN, project.id, "hard ones", ComparisonFilter(state="gold")) == first
    store.saved_views.save(ADMIN, project.id, "also", chosen)
    views = store.saved_views.list(ADMIN, project.id)
    assert [(view.name, view.chosen()) for view in views] == [
        ("also", chosen),
        ("hard ones", ComparisonFilter(state="gold")),
    ]
    with pytest.raises(ValueError, match="there is a view 'also' already"):
        store.saved_views.rename(ADMIN, project.id, first, "also")
    store.saved_views.rename(ADMIN, project.id, first, "gold")
    store.saved_views.delete(ADMIN, project.id, views[0].id)
    assert [view.name for view in store.saved_views.list(ADMIN, project.id)] == ["gold"]
    with pytest.raises(ValueError, match="name of the view is empty"):
        store.saved_views.save(ADMIN, project.id, "  ", chosen)


def test_what_is_assigned_comes_first_and_to_nobody_else(
    store: Store, make_project: Callable, make_actor: Callable, work_through: Callable
) -> None:
    project = make_project(store, num_comparisons=4, design=Design(overlap=1))
    anna, bob = (make_actor(store, "annotator", name, project) for name in ("anna", "bob"))
    last = ComparisonFilter(keys=("c2", "c3"))
    assert store.assignments.assign(ADMIN, project.id, last, [anna.user_id]) == Assigned(
        num_reserved=2, num_full=0, num_had=0
    )
    assert store.assignments.assign(ADMIN, project.id, last, [anna.user_id, bob.user_id]) == Assigned(
        num_reserved=0, num_full=2, num_had=2
    )
    assert store.assignments.counts(ADMIN, project.id) == {"anna": 2}
    assert store.browsing.keys(ADMIN, project.id, ComparisonFilter(assigned="anna")) == ["c2", "c3"]
    assert [item.assigned for item in store.browsing.find(ADMIN, project.id, last)] == [("anna",), ("anna",)]
    assert work_through(store, bob, project) == ["c0", "c1"]
    assert [one.comparison.id for one in store.work.lease(anna, project.id, count=2)] == ["c2", "c3"]
    store.work.release(anna, project.id)
    assert not store.work.lease(bob, project.id, count=1)
    assert store.check() == []
    assert work_through(store, anna, project) == ["c2", "c3"]
    assert store.assignments.counts(ADMIN, project.id) == {}
    assert store.check() == []


def test_a_skipped_freed_or_left_assignment_is_anybodys(
    store: Store, make_project: Callable, make_actor: Callable, work_through: Callable, answer: Callable
) -> None:
    project = make_project(store, num_comparisons=4, design=Design(overlap=1))
    anna, bob = (make_actor(store, "annotator", name, project) for name in ("anna", "bob"))
    assert work_through(store, bob, project, limit=1) == ["c0"]
    rest = ComparisonFilter(keys=("c1", "c2", "c3"))
    store.assignments.assign(ADMIN, project.id, rest, [anna.user_id])
    (lease,) = store.work.lease(anna, project.id, count=1)
    answer(store, anna, project, lease, "skip", lease_count=1)
    store.work.release(anna, project.id)
    assert work_through(store, bob, project) == ["c1"]
    assert store.assignments.free(ADMIN, project.id, ComparisonFilter(keys=("c2",)), anna.user_id) == 1
    assert work_through(store, bob, project) == ["c2"]
    store.projects.remove_member(ADMIN, project.id, anna.user_id)
    assert work_through(store, bob, project) == ["c3"]
    assert store.check() == []


def test_assignments_in_a_design_of_groups(
    store: Store, make_project: Callable, make_actor: Callable, work_through: Callable
) -> None:
    project = make_project(store, num_comparisons=2, design=Design(groups={"crowd": 1, "expert": 1}))
    anna, eve = make_actor(store, "annotator", "anna", project, "crowd"), make_actor(store, "annotator", "eve", project)
    with pytest.raises(ValueError, match="eve is in the group '', judgments are wanted of crowd, expert"):
        store.assignments.assign(ADMIN, project.id, ComparisonFilter(), [eve.user_id])
    assert store.assignments.assign(ADMIN, project.id, ComparisonFilter(), [anna.user_id]).num_reserved == 2
    other = make_actor(store, "annotator", "other", project, "crowd")
    expert = make_actor(store, "annotator", "expert", project, "expert")
    assert work_through(store, other, project) == []
    assert work_through(store, anna, project) == work_through(store, expert, project) == ["c0", "c1"]
    store.projects.update(ADMIN, project.id, design=Design(groups={"crowd": 2, "expert": 1}))
    assert store.check() == []
    assert work_through(store, other, project) == ["c0", "c1"]


@pytest.mark.slow
def test_overlap_stays_strict_while_views_are_assigned_and_freed(
    store: Store, make_project: Callable, make_actor: Callable, lead_while_they_work: Callable
) -> None:
    project = make_project(store, num_comparisons=40, design=Design(overlap=2, policy="random"))
    people = [make_actor(store, "annotator", f"p{number}", project) for number in range(4)]

    def lead(turn: int) -> None:
        person = people[turn % len(people)].user_id
        store.assignments.assign(ADMIN, project.id, ComparisonFilter(state="open"), [person])
        store.assignments.free(ADMIN, project.id, ComparisonFilter(assigned="*"))

    lead_while_they_work(store, project, people, lead)


@pytest.mark.slow
def test_overlap_stays_strict_while_slots_are_made_and_ranked(
    store: Store, make_project: Callable, make_actor: Callable, lead_while_they_work: Callable
) -> None:
    project = make_project(store, num_comparisons=40, design=Design(overlap=2, policy="priority"))
    people = [make_actor(store, "annotator", f"p{number}", project) for number in range(4)]

    def lead(turn: int) -> None:
        person = people[turn % len(people)].user_id
        store.bulk.set_overlap(ADMIN, project.id, ComparisonFilter(state="open"), 1 + turn % 2)
        store.comparisons.set_priorities(ADMIN, project.id, {f"c{number}": number * turn % 7 for number in range(40)})
        store.comparisons.set_gold(ADMIN, project.id, "c3", None)
        store.comparisons.set_overlap(ADMIN, project.id, "c5", 2)
        store.bulk.set_overlap(ADMIN, project.id, ComparisonFilter(), 2)
        store.assignments.assign(ADMIN, project.id, ComparisonFilter(keys=("c7", "c9")), [person])
        store.projects.add_member(ADMIN, project.id, person, "moved")
        store.projects.add_member(ADMIN, project.id, person, "")
        store.projects.update(ADMIN, project.id, design=Design(overlap=2, policy="priority", seed=turn))

    lead_while_they_work(store, project, people, lead)


@pytest.fixture
def lead_while_they_work(work_through: Callable, counted: Callable) -> Callable[..., None]:
    """Four people judge two judgments each of 40 comparisons while a lead acts all the time; nothing goes wrong."""

    def lead_while_they_work(store: Store, project: Project, people: list[Actor], lead: Callable[[int], None]) -> None:
        ended = threading.Event()
        failures: list[BaseException] = []

        def work(actor: Actor) -> None:
            try:
                for _ in range(200):
                    if not work_through(store, actor, project, limit=5):
                        return
            except BaseException as error:
                failures.append(error)

        def act() -> None:
            try:
                turn = 0
                while not ended.is_set():
                    lead(turn)
                    turn += 1
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(actor,)) for actor in people]
        leading = threading.Thread(target=act)
        for thread in (*threads, leading):
            thread.start()
        for thread in threads:
            thread.join(120)
        ended.set()
        leading.join(60)
        for actor in people:
            work_through(store, actor, project)
        assert failures == []
        assert counted(store) == Counter({f"c{number}": 2 for number in range(40)})
        assert store.check() == []

    return lead_while_they_work


def test_a_strange_tag_is_refused(store: Store, project: Project) -> None:
    for tag, message in (("", "tag is empty"), ("x" * 65, "tag has 65 characters"), ("a\x00b", "NUL character")):
        with pytest.raises(ValueError, match=message):
            store.bulk.tag(ADMIN, project.id, FIRST_TWO, tag)
