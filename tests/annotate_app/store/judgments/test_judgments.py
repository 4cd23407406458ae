"""Judgments on both databases: importing, reading as columns, adjudicating."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.comparisons import Added, Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from annotate_app.votes import CHOICE_CODES, KIND_CODES
from rewardkit.data.records import CHOICES, Judgment

ADMIN = Actor.command_line()


def vote(key: str, name: str, choice: str, strength: int = 0, **more: object) -> Judgment:
    return Judgment(comparison_id=key, annotator=name, choice=choice, strength=strength, **more)  # type: ignore[arg-type]


FULL = vote(
    "c0",
    "anna",
    "b",
    2,
    criteria={"tone": -1, "facts": (2, 4)},
    flags={"a": ("unsafe", "off_topic")},
    rationale="B löst es.",
    seconds=12.5,
    shown_left="b",
    created_at=1_000.25,
    rubric_version=1,
)


def slots(store: Store) -> list[tuple[str, str, int]]:
    """Judged slots as (comparison, kind, state), and the number of open ones per comparison left out."""
    query = select(tables.comparison.c.key, tables.slot.c.kind, tables.slot.c.state).join(
        tables.slot, tables.slot.c.comparison_id == tables.comparison.c.id
    )
    with store.database.read() as connection:
        return sorted(tuple(row) for row in connection.execute(query))  # type: ignore[misc]


def test_what_went_in_comes_out(store: Store, project: Project) -> None:
    votes = [FULL, vote("c1", "ben", "skip", reason="unclear prompt", created_at=5.0), vote("c1", "anna", "both_bad")]
    assert store.judgments.import_many(ADMIN, project.id, votes) == Added(num_added=3, num_existing=0)
    found = list(store.judgments.iterate(ADMIN, project.id))
    assert found[:2] == votes[:2]
    assert found[2].created_at > 1.7e9  # a judgment without a time gets the time of its import
    assert store.judgments.of_comparison(ADMIN, project.id, "c0") == [FULL]
    assert list(store.judgments.iterate(ADMIN, project.id, annotator="ben")) == [votes[1]]
    assert {user.name: (user.origin, user.has_password) for user in store.people.list(ADMIN)} == {
        "anna": ("imported", False),
        "ben": ("imported", False),
    }
    assert store.check() == []


def test_the_same_again_adds_nothing(store: Store, project: Project) -> None:
    votes = [FULL, vote("c1", "anna", "tie"), vote("c1", "ben", "a", 1)]
    store.judgments.import_many(ADMIN, project.id, votes)
    assert store.judgments.import_many(ADMIN, project.id, [*votes, FULL]) == Added(num_added=0, num_existing=4)
    without_time = [vote("c1", "ben", "a", 1, created_at=77.0)]
    assert store.judgments.import_many(ADMIN, project.id, without_time).num_added == 0


def test_another_answer_of_an_imported_annotator_supersedes(store: Store, project: Project) -> None:
    first, second = vote("c0", "anna", "a", 1, created_at=1.0), vote("c0", "anna", "b", 3, created_at=2.0)
    for votes in ([first, second], [first, second], [second]):
        store.judgments.import_many(ADMIN, project.id, votes)
        assert list(store.judgments.iterate(ADMIN, project.id)) == [second]
    third = vote("c0", "anna", "tie", created_at=3.0)
    store.judgments.import_many(ADMIN, project.id, [third])
    assert list(store.judgments.iterate(ADMIN, project.id)) == [third]
    assert store.projects.progress(ADMIN, project.id).slots_judged == 1
    assert store.check() == []


def test_the_latest_answer_of_an_imported_annotator_counts_in_whatever_order_they_come(
    store: Store, project: Project
) -> None:
    """Two files and one, the later answer first: the earlier one is kept, but does not count."""
    late, early = vote("c0", "anna", "b", 3, created_at=9.0), vote("c0", "anna", "a", 1, created_at=5.0)
    store.judgments.import_many(ADMIN, project.id, [late])
    assert store.judgments.import_many(ADMIN, project.id, [early]).num_added == 1
    both = [vote("c1", "ben", "skip", created_at=9.0), vote("c1", "ben", "a", 1, created_at=5.0)]
    store.judgments.import_many(ADMIN, project.id, both)
    assert list(store.judgments.iterate(ADMIN, project.id)) == [late, both[0]]
    tied = vote("c0", "anna", "tie", created_at=9.0)
    store.judgments.import_many(ADMIN, project.id, [tied])
    assert list(store.judgments.iterate(ADMIN, project.id)) == [both[0], tied]
    assert store.projects.progress(ADMIN, project.id).slots_judged == 1
    assert store.judgments.import_many(ADMIN, project.id, [late, early, *both, tied]).num_added == 0
    assert store.check() == []


def test_the_same_answer_at_a_later_time_is_the_latest(store: Store, project: Project) -> None:
    for at, choice in ((5.0, "tie"), (9.0, "tie"), (7.0, "skip")):
        store.judgments.import_many(ADMIN, project.id, [vote("c0", "anna", choice, created_at=at)])
    (counted,) = store.judgments.iterate(ADMIN, project.id)
    assert (counted.choice, counted.created_at) == ("tie", 9.0)


BAD_TIMES = (1719863342000.0, 1e30, -5.0, float("inf"))


def test_what_is_no_time_in_a_database_is_unknown_everywhere_and_a_real_time_replaces_it(
    store: Store, project: Project
) -> None:
    votes = [vote(f"c{n}", "anna", "tie", seconds=2.5, created_at=86_400.0) for n in range(len(BAD_TIMES))]
    store.judgments.import_many(ADMIN, project.id, votes)
    columns = tables.judgment.c
    with store.database.write() as connection:
        for number, at in enumerate(BAD_TIMES):
            bad = update(tables.judgment).where(columns.id == number + 1)
            connection.execute(bad.values(created_at=at, seconds=1e308 if number else 2.5))
    assert [(each.created_at, each.seconds) for each in store.judgments.iterate(ADMIN, project.id)] == [
        (0.0, 2.5),
        *[(0.0, 0.0)] * 3,
    ]
    found = store.judgments.votes(ADMIN, project.id)
    assert (found.created_at.tolist(), found.seconds.tolist()) == ([0.0] * 4, [2.5, 0.0, 0.0, 0.0])
    assert len(store.judgments.votes(ADMIN, project.id, since=1.0)) == 0
    progress = store.projects.progress(ADMIN, project.id)
    assert progress.judgments_by_day == []
    assert [(row.num_judgments, row.seconds, row.last_at) for row in progress.by_member] == [(4, 2.5, 0.0)]
    assert [line.partition(":")[0] for line in store.check()] == [
        "4 judgments whose time is none (they count as of an unknown time)",
        "3 judgments whose duration is none (it counts as 0)",
    ]
    repaired = [vote(each.comparison_id, "anna", "tie", created_at=1_719_863_342.0) for each in votes]
    assert store.judgments.import_many(ADMIN, project.id, repaired).num_added == 4
    assert list(store.judgments.iterate(ADMIN, project.id)) == repaired
    assert store.projects.progress(ADMIN, project.id).judgments_by_day == [(date(2024, 7, 1), 4)]


def test_imported_judgments_fill_slots_and_more_make_extra_ones(
    store: Store, make_project: Callable[..., Project]
) -> None:
    project = make_project(store, num_comparisons=1, design=Design(overlap=2))
    store.judgments.import_many(ADMIN, project.id, [vote("c0", "u", "tie")])
    assert slots(store) == [("c0", "work", 0), ("c0", "work", 2)]
    store.judgments.import_many(ADMIN, project.id, [vote("c0", "v", "tie"), vote("c0", "w", "tie")])
    assert slots(store) == [("c0", "import", 2), ("c0", "work", 2), ("c0", "work", 2)]
    store.judgments.import_many(ADMIN, project.id, [vote("c0", "x", "skip")])
    assert len(list(store.judgments.iterate(ADMIN, project.id))) == 4
    assert store.check() == []


def test_a_skip_fills_no_slot(store: Store, make_project: Callable[..., Project]) -> None:
    project = make_project(store, num_comparisons=1, design=Design(overlap=1))
    store.judgments.import_many(ADMIN, project.id, [vote("c0", "u", "skip")])
    assert slots(store) == [("c0", "import", 2), ("c0", "work", 0)]
    assert store.check() == []


def test_groups_are_filled_by_their_members(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]
) -> None:
    project = make_project(store, num_comparisons=1, design=Design(groups={"crowd": 1, "expert": 1}))
    make_actor(store, "annotator", "emma", project, "expert")
    store.judgments.import_many(ADMIN, project.id, [vote("c0", "emma", "tie"), vote("c0", "somebody", "tie")])
    with store.database.read() as connection:
        query = select(tables.slot.c.group_name, tables.slot.c.state).order_by(tables.slot.c.id)
        assert [tuple(row) for row in connection.execute(query)] == [("crowd", 0), ("expert", 2), ("", 2)]
    assert store.check() == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (vote("c9", "u", "tie"), "there is no comparison 'c9'"),
        (vote("c0", "", "tie"), "user name is empty"),
        (vote("c0", "u", "tie", rationale="\x00"), "rationale holds a NUL"),
        (vote("c0", "u", "tie", seconds=float("nan")), "seconds is nan"),
        (vote("c0", "u", "tie", seconds=1e300), "seconds is 1e\\+300"),
        (vote("c0", "u", "tie", created_at=1719863342000.0), "created_at is 1719863342000.0"),
        (vote("c0", "u", "tie", created_at=float("nan")), "created_at is nan"),
    ],
)
def test_a_bad_judgment_changes_nothing(store: Store, project: Project, bad: Judgment, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store.judgments.import_many(ADMIN, project.id, [vote("c1", "new", "tie"), bad])
    assert list(store.judgments.iterate(ADMIN, project.id)) == []
    assert store.people.list(ADMIN) == []


def test_votes_are_columns_in_content_space(store: Store, project: Project) -> None:
    store.comparisons.set_gold(ADMIN, project.id, "c3", Gold(choice="tie"))
    votes = [
        FULL,
        vote("c0", "ben", "a", 3, criteria={"tone": 1}, shown_left="a", created_at=50.0, seconds=1.0),
        vote("c3", "anna", "both_bad", created_at=60.0),
        vote("c3", "ben", "skip", created_at=2_000.0),
    ]
    store.judgments.import_many(ADMIN, project.id, votes)
    found = store.judgments.votes(ADMIN, project.id)
    assert found.items == ("c0", "c1", "c2", "c3", "c4")
    assert found.annotators == ("anna", "ben")
    assert found.item.tolist() == [0, 0, 3, 3]
    assert found.annotator.tolist() == [0, 1, 0, 1]
    assert found.choice.tolist() == [CHOICE_CODES[name] for name in ("b", "a", "both_bad", "skip")]
    assert found.score.tolist() == [2, -3, 0, 0]
    assert found.kind.tolist() == [KIND_CODES["import"]] * 4
    assert found.shown_left.tolist() == [1, 0, -1, -1]
    assert found.seconds.tolist() == [12.5, 1.0, 0.0, 0.0]
    assert found.created_at.tolist() == [1_000.25, 50.0, 60.0, 2_000.0]
    np.testing.assert_array_equal(found.criteria["facts"], [2, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(found.criteria["tone"], [-1, 1, np.nan, np.nan])
    assert [found.sources[code] for code in found.item_source_a] == ["short model"] * 5
    assert [found.sources[code] for code in found.item_source_b] == ["polite model"] * 5
    assert found.item_length_a.tolist() == [len(f"It is on its way. ({number})") for number in range(5)]
    assert found.item_gold.tolist() == [-1, -1, -1, CHOICE_CODES["tie"], -1]
    within = store.judgments.votes(ADMIN, project.id, since=60.0, until=2_000.0)
    assert within.created_at.tolist() == [1_000.25, 60.0]
    none = store.judgments.votes(ADMIN, project.id, since=1e12)
    assert (len(none), len(none.items), none.criteria, none.annotators) == (0, 5, {}, ())


def test_lengths_count_characters(store: Store, make_project: Callable[..., Project]) -> None:
    project = make_project(store, num_comparisons=1)
    odd = store.comparisons.get(ADMIN, project.id, "c0")
    text = "né😀\n"
    store.comparisons.add(
        ADMIN, project.id, [type(odd)(id="odd", prompt=odd.prompt, completion_a=text, completion_b="")]
    )
    found = store.judgments.votes(ADMIN, project.id)
    assert (found.item_length_a[1], found.item_length_b[1]) == (4, 0)


VOTE = st.builds(
    lambda item, person, choice, strength, tone, at: vote(
        f"c{item}",
        f"w{person}",
        choice,
        strength if choice in ("a", "b") else 0,
        criteria={} if tone is None else {"tone": tone},
        created_at=float(at),
    ),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from(CHOICES),
    st.integers(1, 3),
    st.none() | st.integers(-3, 3) | st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.integers(1, 10**6),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(batches=st.lists(st.lists(VOTE, max_size=12), max_size=3))
def test_votes_are_what_iterate_tells(
    sqlite_store: Store, make_project: Callable[..., Project], batches: list[list[Judgment]]
) -> None:
    """The fast columns against a slow loop over judgments, and both against a dict of the latest word of each."""
    store = sqlite_store
    project = make_project(store, f"project {len(store.projects.list(ADMIN))}")
    last: dict[tuple[str, str], Judgment] = {}
    seen: set[str] = set()
    for batch in batches:
        store.judgments.import_many(ADMIN, project.id, batch)
        for each in batch:
            if repr(each) not in seen:
                seen.add(repr(each))
                before = last.get((each.comparison_id, each.annotator))
                if before is None or each.created_at >= before.created_at:
                    last[each.comparison_id, each.annotator] = each
    listed = list(store.judgments.iterate(ADMIN, project.id))
    answers = {key: (each.choice, each.strength, each.criteria) for key, each in last.items()}
    assert {(e.comparison_id, e.annotator): (e.choice, e.strength, e.criteria) for e in listed} == answers
    found = store.judgments.votes(ADMIN, project.id)
    assert len(found) == len(listed)
    for row, each in enumerate(listed):
        assert found.items[found.item[row]] == each.comparison_id
        assert found.annotators[found.annotator[row]] == each.annotator
        assert CHOICES[found.choice[row]] == each.choice
        assert found.score[row] == {"a": -each.strength, "b": each.strength}.get(each.choice, 0)
        tone = each.criteria.get("tone")
        expected = np.nan if tone is None else tone[1] - tone[0] if isinstance(tone, tuple) else tone
        np.testing.assert_equal(found.criteria.get("tone", np.full(len(found), np.nan))[row], np.float32(expected))
    assert store.check() == []


def test_the_newest_decision_counts(store: Store, project: Project, adjudicator: Actor) -> None:
    first = Decision(choice="discard", rationale="nonsense")
    second = Decision(choice="b", strength=2, criteria={"tone": 1, "facts": (1, 3)})
    for key, decision in (("c0", first), ("c1", first), ("c1", second)):
        store.judgments.adjudicate(adjudicator, project.id, key, decision)
    found = store.judgments.adjudications(adjudicator, project.id)
    assert list(found) == ["c0", "c1"]
    assert (found["c0"].choice, found["c0"].rationale, found["c0"].user) == ("discard", "nonsense", "addy")
    assert (found["c1"].choice, found["c1"].strength, found["c1"].criteria) == ("b", 2, second.criteria)
    assert found["c1"].created_at > 0
    with pytest.raises(ValueError, match="there is no comparison 'c9'"):
        store.judgments.adjudicate(adjudicator, project.id, "c9", first)
    with pytest.raises(ValueError, match="strength is 1 with choice 'discard'"):
        Decision(choice="discard", strength=1)
    with pytest.raises(ValueError, match="choice is 'skip'"):
        Decision(choice="skip")  # type: ignore[arg-type]
