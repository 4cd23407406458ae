import time
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import LeaseError, Submission
from annotate_app.store.schema import tables
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


def rows(store, table):
    with store.database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_lease_shows_the_pair_without_who_wrote_it(store, make_project, make_actor):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    before = time.time()
    first, second = store.work.lease(anna, project.id)
    assert (first.comparison.id, second.comparison.id) == ("c0", "c1")
    assert first.comparison.prompt[0].content.startswith("Question 0")
    assert first.comparison.completion_a == "It is on its way. (0)"
    assert (first.comparison.source_a, first.comparison.source_b, dict(first.comparison.meta)) == ("", "", {})
    assert before + 600 <= first.leased_until <= time.time() + 600
    assert first.previous is None


def test_the_same_leases_come_again(store, make_project, make_actor):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    first = store.work.lease(anna, project.id)
    again = store.work.lease(anna, project.id)
    assert [(lease.token, lease.shown_left) for lease in again] == [(lease.token, lease.shown_left) for lease in first]
    assert [lease.token for lease in store.work.lease(anna, project.id, count=3)][:2] == [
        lease.token for lease in first
    ]


def test_a_judgment_is_stored_as_given_and_the_next_pair_is_leased(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    first, second = store.work.lease(anna, project.id)
    receipt = answer(store, anna, project, first, "b", strength=3, rationale="It asks back.", seconds=12.5)
    assert (receipt.accepted, receipt.duplicate, receipt.feedback) == (True, False, None)
    assert [lease.comparison.id for lease in receipt.leases] == ["c1", "c2"]
    assert receipt.leases[0].token == second.token
    assert (receipt.progress.done, receipt.progress.target, receipt.progress.state) == (1, 5, "active")
    (judgment,) = store.judgments.iterate(ADMIN, project.id)
    assert (judgment.comparison_id, judgment.annotator, judgment.choice, judgment.strength) == ("c0", "anna", "b", 3)
    assert (judgment.rationale, judgment.seconds, judgment.shown_left) == ("It asks back.", 12.5, first.shown_left)
    assert judgment.rubric_version == 1
    assert abs(judgment.created_at - time.time()) < 60


def test_a_resent_event_counts_once_and_gets_the_same_receipt(store, make_project, make_actor):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    lease = store.work.lease(anna, project.id)[0]
    judgment = Judgment(comparison_id=lease.comparison.id, annotator="anna", choice="a", strength=1)
    submission = Submission(token=lease.token, event_id="event-1", judgment=judgment)
    first = store.work.submit(anna, project.id, submission)
    for _ in range(3):
        again = store.work.submit(anna, project.id, submission)
        assert again == replace(first, duplicate=True)
    assert rows(store, tables.judgment) == 1


def test_a_pair_answered_in_another_tab_is_refused(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    lease = store.work.lease(anna, project.id)[0]
    answer(store, anna, project, lease, "a")
    with pytest.raises(LeaseError, match="answered already"):
        answer(store, anna, project, lease, "b")
    assert [judgment.choice for judgment in store.judgments.iterate(ADMIN, project.id)] == ["a"]


def test_somebody_elses_lease_is_refused(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    lease = store.work.lease(anna, project.id)[0]
    for token in (lease.token, "1-nonsense", ""):
        with pytest.raises(LeaseError, match="not yours"):
            answer(store, ben, project, token)
        assert store.work.find_lease(ben, project.id, token) is None
    assert store.work.find_lease(anna, project.id, lease.token) == lease
    assert rows(store, tables.judgment) == 0


def test_an_event_id_of_somebody_else_is_no_receipt(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    answer(store, anna, project, store.work.lease(anna, project.id)[0], event_id="taken")
    with pytest.raises(LeaseError):
        answer(store, ben, project, "no token", event_id="taken")


def test_an_answer_against_the_rubric_is_refused_by_field_and_the_lease_stays(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    lease = store.work.lease(anna, project.id)[0]
    with pytest.raises(ValueError, match="strength is 4 with choice 'a', allowed is 1 to 3"):
        answer(store, anna, project, lease, "a", strength=4)
    assert rows(store, tables.judgment) == 0
    assert store.work.lease(anna, project.id)[0].token == lease.token


def test_a_judgment_remembers_the_rubric_version_it_was_made_under(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    leases = store.work.lease(anna, project.id)
    answer(store, anna, project, leases[0])
    store.projects.save_rubric(ADMIN, project.id, "title: New\nguidelines: Read.\nscale:\n  steps: 2\n  tie: false\n")
    with pytest.raises(ValueError, match="strength is 3"):
        answer(store, anna, project, leases[1], "a", strength=3)
    answer(store, anna, project, leases[1])
    assert [judgment.rubric_version for judgment in store.judgments.iterate(ADMIN, project.id)] == [1, 2]


def test_overlap_is_met_and_never_exceeded(store, make_project, make_actor, work_through, counted):
    project = make_project(store, num_comparisons=4, design=Design(overlap=2))
    people = [make_actor(store, "annotator", name, project) for name in ("anna", "ben", "carl")]
    assert work_through(store, people[0], project) == ["c0", "c1", "c2", "c3"]
    assert work_through(store, people[1], project, limit=2) == ["c0", "c1"]
    assert work_through(store, people[2], project) == ["c2", "c3"]
    assert work_through(store, people[1], project) == []
    assert counted(store) == {f"c{number}": 2 for number in range(4)}
    for person in people:
        assert not store.work.own_progress(person, project.id).remaining_available


def test_overlap_may_differ_per_comparison(store, make_project, make_actor, work_through, counted):
    project = make_project(store, num_comparisons=0, design=Design(overlap=3))
    from rewardkit.data.records import Comparison, Message

    def comparison(key):
        return Comparison(id=key, prompt=(Message(role="user", content=key),), completion_a="1", completion_b="2")

    store.comparisons.add(ADMIN, project.id, [comparison("once")], overlap=1)
    store.comparisons.add(ADMIN, project.id, [comparison("thrice")])
    for name in ("anna", "ben", "carl", "dora"):
        work_through(store, make_actor(store, "annotator", name, project), project)
    assert counted(store) == {"once": 1, "thrice": 3}


def test_a_lease_that_ran_out_goes_to_the_next_person(store, make_project, make_actor, run_out, answer):
    project = make_project(store, num_comparisons=1, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    (lease,) = store.work.lease(anna, project.id)
    assert store.work.lease(ben, project.id) == []
    run_out(store)
    (taken,) = store.work.lease(ben, project.id)
    assert taken.token != lease.token
    with pytest.raises(LeaseError, match="given to someone else after a long pause"):
        answer(store, anna, project, lease)
    answer(store, ben, project, taken, "b")
    assert [judgment.annotator for judgment in store.judgments.iterate(ADMIN, project.id)] == ["ben"]


@pytest.mark.parametrize("swept", [False, True])
def test_a_lease_that_ran_out_and_that_nobody_took_is_accepted(store, make_project, make_actor, run_out, answer, swept):
    project = make_project(store, num_comparisons=3, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    first, second = store.work.lease(anna, project.id)
    run_out(store)
    if swept:  # ben's visit takes both back, and hands him the first
        assert [lease.comparison.id for lease in store.work.lease(ben, project.id, count=1)] == [first.comparison.id]
    assert not answer(store, anna, project, second, "b").duplicate
    (judgment,) = store.judgments.iterate(ADMIN, project.id)
    assert (judgment.annotator, judgment.comparison_id, judgment.shown_left) == ("anna", "c1", second.shown_left)
    assert "c1" not in [lease.comparison.id for lease in store.work.lease(ben, project.id, count=5)]


def test_an_answer_after_release_counts_while_nobody_has_the_pair(store, make_project, make_actor, answer):
    project = make_project(store, num_comparisons=2, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    lease, other = store.work.lease(anna, project.id)
    assert store.work.release(anna, project.id) == 2
    receipt = answer(store, anna, project, lease)
    assert [each.comparison.id for each in receipt.leases] == ["c1"]
    assert receipt.leases[0].token != other.token
    with pytest.raises(LeaseError):
        answer(store, anna, project, other)


def test_a_released_pair_answered_through_its_other_slot_is_not_judged_twice(
    store, make_project, make_actor, answer, counted
):
    project = make_project(store, num_comparisons=1, design=Design(overlap=2))
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    (old,) = store.work.lease(anna, project.id)
    store.work.release(anna, project.id)
    assert store.work.lease(ben, project.id)  # takes one of the two
    (new,) = store.work.lease(anna, project.id)
    answer(store, anna, project, new)
    with pytest.raises(LeaseError):
        answer(store, anna, project, old)
    assert counted(store) == {"c0": 1}


def test_renewing_keeps_a_lease(store, make_project, make_actor, run_out):
    project = make_project(store, num_comparisons=2, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    held = store.work.lease(anna, project.id)
    run_out(store)
    assert store.work.renew(anna, project.id) == 2
    assert store.work.lease(ben, project.id) == []
    assert [lease.token for lease in store.work.lease(anna, project.id)] == [lease.token for lease in held]


def test_releasing_gives_pairs_back_at_once(store, make_project, make_actor):
    project = make_project(store, num_comparisons=2, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    first, second = store.work.lease(anna, project.id)
    assert store.work.release(anna, project.id, [second.token, "other"]) == 1
    assert [lease.comparison.id for lease in store.work.lease(ben, project.id)] == [second.comparison.id]
    assert [lease.token for lease in store.work.lease(anna, project.id)] == [first.token]
    assert store.work.release(ben, project.id, [first.token]) == 0


def test_a_skipped_pair_goes_to_others_and_never_comes_back(
    store, make_project, make_actor, answer, work_through, counted
):
    project = make_project(store, num_comparisons=3, design=Design(overlap=2))
    anna, ben, carl = (make_actor(store, "annotator", name, project) for name in ("anna", "ben", "carl"))
    lease = store.work.lease(anna, project.id)[0]
    receipt = answer(store, anna, project, lease, "skip")
    assert receipt.progress.done == 0
    with pytest.raises(LeaseError):
        answer(store, anna, project, lease, "a")
    assert work_through(store, anna, project) == ["c1", "c2"]
    assert work_through(store, ben, project) == ["c0", "c1", "c2"]
    assert work_through(store, carl, project) == ["c0"]
    assert counted(store) == {"c0": 2, "c1": 2, "c2": 2}
    skips = [judgment for judgment in store.judgments.iterate(ADMIN, project.id) if judgment.choice == "skip"]
    assert [(skip.annotator, skip.comparison_id, skip.reason) for skip in skips] == [("anna", "c0", "other")]


def test_a_member_who_leaves_gives_back_what_they_hold(store, make_project, make_actor, work_through, answer):
    project = make_project(store, num_comparisons=3, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    lease = store.work.lease(anna, project.id)[0]
    store.projects.remove_member(ADMIN, project.id, anna.user_id)
    with pytest.raises(AccessError, match="not a member"):
        answer(store, anna, project, lease)
    assert sorted(work_through(store, ben, project)) == ["c0", "c1", "c2"]


def test_only_members_with_a_working_account_work_and_only_in_live_projects(store, make_project, make_actor):
    project = make_project(store)
    stranger = make_actor(store, "lead", "lena")
    anna = make_actor(store, "annotator", "anna", project)
    calls = (store.work.lease, store.work.renew, store.work.release, store.work.undo)
    reads = (store.work.own_progress, store.work.history)
    for call in (*calls, *reads):
        with pytest.raises(AccessError, match="not a member"):
            call(stranger, project.id)
        with pytest.raises(AccessError, match="no work of its own"):
            call(ADMIN, project.id)
    store.projects.update(ADMIN, project.id, archived=True)
    for call in calls:
        with pytest.raises(AccessError, match="is archived"):
            call(anna, project.id)
    for read in reads:
        read(anna, project.id)
    store.projects.update(ADMIN, project.id, archived=False)
    store.people.set_active(ADMIN, anna.user_id, False)
    with pytest.raises(AccessError, match="switched off"):
        store.work.lease(anna, project.id)


def test_a_paused_member_gets_nothing_and_is_told(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    lease = store.work.lease(anna, project.id)[0]
    store.projects.set_member_state(ADMIN, project.id, anna.user_id, "paused")
    assert store.work.lease(anna, project.id) == []
    with pytest.raises(LeaseError, match="paused"):
        answer(store, anna, project, lease)
    progress = store.work.own_progress(anna, project.id)
    assert (progress.state, progress.remaining_available) == ("paused", False)
    store.projects.set_member_state(ADMIN, project.id, anna.user_id, "active")
    assert len(store.work.lease(anna, project.id)) == 2


def test_the_target_is_the_designs_or_the_projects(store, make_project, make_actor):
    project = make_project(store, num_comparisons=5, design=Design(target=3))
    anna = make_actor(store, "annotator", "anna", project)
    assert store.work.own_progress(anna, project.id).target == 3
    store.projects.update(ADMIN, project.id, design=Design(target=0))
    assert store.work.own_progress(anna, project.id).target == 5
