import pytest

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import LeaseError
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.schema import tables

ADMIN = Actor.command_line()


def newest(store):
    """All judgment rows as (comparison, choice, newest), oldest first."""
    from sqlalchemy import select

    columns = tables.judgment.c
    query = select(tables.comparison.c.key, columns.choice, columns.newest)
    query = query.join(tables.comparison, tables.comparison.c.id == columns.comparison_id).order_by(columns.id)
    with store.database.read() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_undo_withdraws_the_newest_and_gives_the_pair_back(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    first, second = store.work.lease(anna, project.id)
    answer(store, anna, project, first, "a", strength=2, rationale="first thought")
    answer(store, anna, project, second, "b")
    lease = store.work.undo(anna, project.id)
    assert lease.comparison.id == "c1"
    assert (lease.shown_left, lease.previous.choice) == (second.shown_left, "b")
    assert lease.token != second.token
    assert newest(store) == [("c0", "a", True), ("c1", "b", False), ("c1", "withdrawn", True)]
    assert [judgment.comparison_id for judgment in store.judgments.iterate(ADMIN, project.id)] == ["c0"]
    assert store.work.own_progress(anna, project.id).done == 1
    again = store.work.undo(anna, project.id)
    assert (again.comparison.id, again.previous.rationale) == ("c0", "first thought")
    assert store.work.undo(anna, project.id) is None
    assert [held.token for held in store.work.lease(anna, project.id)] == [again.token, lease.token]


def test_an_undone_pair_can_be_answered_anew_and_nobody_else_got_it(store, make_project, make_actor, answer, counted):
    project = make_project(store, num_comparisons=1, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    answer(store, anna, project, store.work.lease(anna, project.id)[0], "a")
    lease = store.work.undo(anna, project.id)
    assert store.work.lease(ben, project.id) == []
    answer(store, anna, project, lease, "b")
    assert newest(store) == [("c0", "a", False), ("c0", "withdrawn", False), ("c0", "b", True)]
    assert counted(store) == {"c0": 1}


def test_the_same_undo_sent_again_withdraws_nothing_more(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    for lease in store.work.lease(anna, project.id):
        answer(store, anna, project, lease)
    once = store.work.undo(anna, project.id, event_id="undo-1")
    again = store.work.undo(anna, project.id, event_id="undo-1")
    assert (again.token, again.previous) == (once.token, once.previous)
    assert store.work.own_progress(anna, project.id).done == 1
    answer(store, anna, project, once)
    assert store.work.undo(anna, project.id, event_id="undo-1") is None
    assert store.work.own_progress(anna, project.id).done == 2


def test_undoing_a_skip_brings_the_pair_back_while_a_slot_is_open(store, make_project, make_actor, answer, counted):
    project = make_project(store, num_comparisons=2, design=Design(overlap=2))
    anna = make_actor(store, "annotator", "anna", project)
    answer(store, anna, project, store.work.lease(anna, project.id)[0], "skip")
    lease = store.work.undo(anna, project.id)
    assert (lease.comparison.id, lease.previous.choice, lease.previous.reason) == ("c0", "skip", "other")
    answer(store, anna, project, lease, "a")
    assert counted(store) == {"c0": 1}


def test_undoing_a_skip_is_refused_when_others_have_taken_the_pair(
    store, make_project, make_actor, answer, work_through, counted
):
    project = make_project(store, num_comparisons=1, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    answer(store, anna, project, store.work.lease(anna, project.id)[0], "skip")
    work_through(store, make_actor(store, "annotator", "ben", project), project)
    with pytest.raises(LeaseError, match="someone else has taken it"):
        store.work.undo(anna, project.id)
    assert newest(store) == [("c0", "skip", True), ("c0", "a", True)]
    assert counted(store) == {"c0": 1}


def test_an_edit_supersedes_and_the_old_answer_counts_until_then(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    first, second = store.work.lease(anna, project.id)
    answer(store, anna, project, first, "a", strength=2)
    answer(store, anna, project, second, "tie")
    oldest = store.work.history(anna, project.id)[-1]
    lease, judgment = store.work.reopen(anna, project.id, oldest.judgment_id)
    assert (lease.comparison.id, lease.shown_left, judgment.strength) == ("c0", first.shown_left, 2)
    assert [each.choice for each in store.judgments.iterate(ADMIN, project.id)] == ["a", "tie"]
    receipt = answer(store, anna, project, lease, "b", strength=3)
    assert receipt.progress.done == 2
    assert newest(store) == [("c0", "a", False), ("c1", "tie", True), ("c0", "b", True)]
    with pytest.raises(LeaseError, match="answered already"):
        answer(store, anna, project, lease, "a")


def test_an_edit_that_is_left_keeps_the_answer(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    answer(store, anna, project, store.work.lease(anna, project.id)[0], "a")
    lease, _ = store.work.reopen(anna, project.id, store.work.history(anna, project.id)[0].judgment_id)
    assert lease.token not in [held.token for held in store.work.lease(anna, project.id)]
    assert store.work.release(anna, project.id, [lease.token]) == 1
    with pytest.raises(LeaseError, match="answered already"):
        answer(store, anna, project, lease, "b")
    assert newest(store) == [("c0", "a", True)]


def test_editing_to_a_skip_gives_the_pair_to_others(store, make_project, make_actor, answer, work_through, counted):
    project = make_project(store, num_comparisons=1, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    answer(store, anna, project, store.work.lease(anna, project.id)[0], "a")
    lease, _ = store.work.reopen(anna, project.id, store.work.history(anna, project.id)[0].judgment_id)
    assert answer(store, anna, project, lease, "skip").progress.done == 0
    assert work_through(store, anna, project) == []
    assert work_through(store, make_actor(store, "annotator", "ben", project), project) == ["c0"]
    assert counted(store) == {"c0": 1}


def test_only_own_standing_judgments_can_be_reopened(store, make_project, make_actor, answer):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    answer(store, anna, project, store.work.lease(anna, project.id)[0])
    (own,) = store.work.history(anna, project.id)
    with pytest.raises(LeaseError, match="no such judgment of yours"):
        store.work.reopen(ben, project.id, own.judgment_id)
    store.work.undo(anna, project.id)
    with pytest.raises(LeaseError, match="no such judgment of yours"):
        store.work.reopen(anna, project.id, own.judgment_id)


def test_history_is_own_newest_first_and_blind(store, make_project, make_actor, answer, work_through):
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    work_through(store, make_actor(store, "annotator", "ben", project), project)
    for lease in store.work.lease(anna, project.id, count=3):
        answer(store, anna, project, lease, lease_count=0)
    history = store.work.history(anna, project.id)
    assert [own.comparison.id for own in history] == ["c2", "c1", "c0"]
    assert {(own.comparison.source_a, own.comparison.source_b, own.judgment.annotator) for own in history} == {
        ("", "", "anna")
    }
    assert all(own.can_edit and own.shown_left in ("a", "b") for own in history)
    assert [own.comparison.id for own in store.work.history(anna, project.id, offset=1, limit=1)] == ["c1"]


@pytest.mark.parametrize("feedback", [True, False])
def test_a_gold_answer_stands_once_its_feedback_was_shown(store, make_project, make_actor, answer, feedback):
    project = make_project(store, num_comparisons=3, design=Design(gold_rate=0.9, gold_feedback=feedback))
    store.comparisons.set_gold(ADMIN, project.id, "c2", Gold(choice="a"))
    anna = make_actor(store, "annotator", "anna", project)
    lease = next(each for each in store.work.lease(anna, project.id, count=3) if each.comparison.id == "c2")
    receipt = answer(store, anna, project, lease, "b")
    (own,) = store.work.history(anna, project.id)
    assert own.can_edit is not feedback
    if not feedback:
        assert receipt.feedback is None
        assert store.work.undo(anna, project.id).comparison.id == "c2"
        return
    assert "expected answer" in receipt.feedback
    with pytest.raises(LeaseError, match="its answer has been shown"):
        store.work.undo(anna, project.id)
    with pytest.raises(LeaseError, match="its answer has been shown"):
        store.work.reopen(anna, project.id, own.judgment_id)
