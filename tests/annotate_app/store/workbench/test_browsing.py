"""Looking through comparisons, on both databases."""

from __future__ import annotations

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


def judge(store: Store, project: Project, key: str, *annotators: str) -> None:
    judgments = [Judgment(comparison_id=key, annotator=name, choice="a", strength=1) for name in annotators]
    store.judgments.import_many(ADMIN, project.id, judgments)


def found(store: Store, project: Project, state: str) -> list[str]:
    return [item.comparison.id for item in store.browsing.find(ADMIN, project.id, ComparisonFilter(state=state))]


@pytest.fixture
def worked(store: Store, project: Project) -> Project:
    """c0 complete, c1 with one vote of three, c2 untouched, c3 a check, c4 complete and adjudicated."""
    judge(store, project, "c0", "x", "y", "z")
    judge(store, project, "c1", "x")
    store.comparisons.set_gold(ADMIN, project.id, "c3", Gold(choice="a"))
    judge(store, project, "c4", "x", "y", "z")
    store.judgments.adjudicate(ADMIN, project.id, "c4", Decision(choice="discard"))
    return project


def test_every_state_finds_what_is_in_it(store: Store, worked: Project) -> None:
    assert found(store, worked, "any") == ["c0", "c1", "c2", "c3", "c4"]
    assert found(store, worked, "unjudged") == ["c2"]
    assert found(store, worked, "open") == ["c1", "c2"]
    assert found(store, worked, "complete") == ["c0", "c4"]
    assert found(store, worked, "gold") == ["c3"]
    assert found(store, worked, "decided") == ["c4"]
    assert [each.id for each in store.browsing.iterate(ADMIN, worked.id, "open")] == ["c1", "c2"]


def test_a_row_says_how_far_it_is(store: Store, worked: Project) -> None:
    rows = {item.comparison.id: item for item in store.browsing.find(ADMIN, worked.id)}
    assert [(rows[key].num_judged, rows[key].num_wanted) for key in ("c0", "c1", "c2", "c3")] == [
        (3, 3),
        (1, 3),
        (0, 3),
        (0, 0),
    ]
    assert rows["c3"].gold == Gold(choice="a")
    assert [key for key, row in rows.items() if row.decided] == ["c4"]


def test_an_overlap_of_its_own_changes_the_open_places_only(store: Store, worked: Project) -> None:
    for key, overlap in (("c1", 5), ("c2", 1), ("c0", 1)):
        store.comparisons.set_overlap(ADMIN, worked.id, key, overlap)
    rows = {item.comparison.id: item for item in store.browsing.find(ADMIN, worked.id)}
    assert [(rows[key].num_judged, rows[key].num_wanted) for key in ("c0", "c1", "c2")] == [(3, 3), (1, 5), (0, 1)]
    store.comparisons.set_overlap(ADMIN, worked.id, "c2", None)
    assert store.browsing.find(ADMIN, worked.id, ComparisonFilter(text="c2"))[0].num_wanted == 3
    with pytest.raises(ValueError, match="overlap is 0, allowed is 1 to 1000"):
        store.comparisons.set_overlap(ADMIN, worked.id, "c2", 0)


def test_the_stamp_changes_with_votes_and_answers_but_not_with_decisions(store: Store, project: Project) -> None:
    stamps = [store.browsing.stamp(ADMIN, project.id)]
    assert store.browsing.stamp(ADMIN, project.id) == stamps[0]
    judge(store, project, "c0", "x")
    stamps.append(store.browsing.stamp(ADMIN, project.id))
    store.comparisons.set_gold(ADMIN, project.id, "c3", Gold(choice="a"))
    stamps.append(store.browsing.stamp(ADMIN, project.id))
    assert len(set(stamps)) == 3
    store.judgments.adjudicate(ADMIN, project.id, "c0", Decision(choice="tie"))
    assert store.browsing.stamp(ADMIN, project.id) == stamps[-1]


def test_who_may_look(store: Store, project: Project, annotator: Actor, adjudicator: Actor) -> None:
    with pytest.raises(AccessError):
        store.browsing.stamp(annotator, project.id)
    with pytest.raises(AccessError):
        store.browsing.find(adjudicator, project.id)
    assert store.browsing.stamp(adjudicator, project.id)


def test_an_unknown_state_is_refused(store: Store, project: Project) -> None:
    with pytest.raises(ValueError, match="state is 'late', allowed are any, unjudged"):
        store.browsing.find(ADMIN, project.id, ComparisonFilter(state="late"))  # type: ignore[arg-type]


def test_who_holds_a_pair_is_at_work(store: Store, project: Project, annotator: Actor) -> None:
    assert store.projects.progress(ADMIN, project.id).at_work == []
    store.work.lease(annotator, project.id, count=2)
    assert store.projects.progress(ADMIN, project.id).at_work == ["anna"]
    store.work.release(annotator, project.id)
    assert store.projects.progress(ADMIN, project.id).at_work == []


def test_ids_that_a_link_names_are_found_and_no_others(store: Store, worked: Project) -> None:
    def chosen(*keys: str, **values) -> list[str]:
        return [
            item.comparison.id for item in store.browsing.find(ADMIN, worked.id, ComparisonFilter(keys=keys, **values))
        ]

    assert chosen("c4", "c1", "not there") == ["c1", "c4"]
    assert chosen("c4", "c1", state="complete") == ["c4"]
    assert chosen("not there") == []
