"""Questions to the lead: asked once however often they arrive, answered for all who meet the comparison."""

import pytest
from sqlalchemy import select

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import LeaseError
from annotate_app.store.schema.desk_tables import question
from annotate_app.store.work import work

ADMIN = Actor.command_line()


@pytest.fixture
def asked(store, make_project, make_actor, monkeypatch):
    """A project with anna, who asked about her first pair: (project, anna, lea the lead, the lease)."""
    monkeypatch.setattr(work, "ANSWERS_KEPT_S", -1.0)
    project = make_project(store, num_comparisons=3, design=Design(overlap=2))
    anna, lea = make_actor(store, "annotator", "anna", project), make_actor(store, "lead", "lea", project)
    lease = store.work.lease(anna, project.id)[0]
    assert store.questions.ask(anna, project.id, lease.token, "event-1", "  Is a refund meant?  ") is False
    return project, anna, lea, lease


def test_a_question_counts_once_and_tells_the_leads(store, asked):
    project, anna, lea, lease = asked
    assert store.questions.ask(anna, project.id, lease.token, "event-1", "Is a refund meant?") is True
    [only] = store.questions.list(lea, project.id)
    assert (only.text, only.asked_by, only.comparison) == ("Is a refund meant?", "anna", lease.comparison.id)
    assert (only.answer, only.answered_by, only.answered_at) == ("", "", None)
    store.questions.ask(anna, project.id, lease.token, "event-2", "And when?")
    assert [notice.text for notice in store.notices.list(lea, project.id)] == ["anna asks about a pair: see Questions."]
    assert [entry.action for entry in store.audit.list(lea, project.id)][:2] == ["question", "question"]


def test_an_answer_reaches_all_who_meet_the_comparison_and_names_nobody(store, asked, make_actor):
    project, anna, lea, lease = asked
    [only] = store.questions.list(lea, project.id)
    store.questions.answer(lea, project.id, only.id, "Yes, a refund.")
    assert [one.answered_at is None for one in store.questions.list(lea, project.id)] == [False]
    [own] = store.questions.own(anna, project.id)
    assert (own.answer, own.answered_by) == ("Yes, a refund.", "")
    ben = make_actor(store, "annotator", "ben", project)
    for actor in (anna, ben):
        leases = store.work.lease(actor, project.id, count=3)
        shown = {each.comparison.id: each.questions for each in leases}
        assert shown.pop(lease.comparison.id) == (("Is a refund meant?", "Yes, a refund."),)
        assert set(shown.values()) <= {()}
    assert store.questions.own(ben, project.id) == []
    store.questions.answer(lea, project.id, only.id, "No: an exchange.")
    shown = {each.comparison.id: each.questions for each in store.work.lease(ben, project.id, count=3)}
    assert shown[lease.comparison.id] == (("Is a refund meant?", "No: an exchange."),)
    assert store.questions.own(anna, project.id)[0].answer == "No: an exchange."
    actions = [entry.action for entry in store.audit.list(lea, project.id) if entry.action.startswith("question")]
    assert actions == ["question correct", "question answer", "question"]


def test_what_waits_stands_first_the_oldest_on_top(store, asked):
    project, anna, lea, lease = asked
    for number in (2, 3):
        store.questions.ask(anna, project.id, lease.token, f"event-{number}", f"Question {number}")
    first = store.questions.list(lea, project.id)[0]
    store.questions.answer(lea, project.id, first.id, "So.")
    assert [each.text for each in store.questions.list(lea, project.id)] == [
        "Question 2",
        "Question 3",
        "Is a refund meant?",
    ]


def test_a_question_leaves_leases_as_they_are_and_comes_after_an_answer_too(store, asked, answer):
    project, anna, lea, lease = asked
    assert store.work.lease(anna, project.id)[0] == lease
    answer(store, anna, project, lease)
    assert store.questions.ask(anna, project.id, lease.token, "event-2", "One more thing") is False
    assert len(store.questions.list(lea, project.id)) == 2


def test_questions_that_are_refused(store, asked, make_actor):
    project, anna, lea, lease = asked
    ben = make_actor(store, "annotator", "ben", project)
    with pytest.raises(LeaseError, match="not yours any more, so the question was not sent"):
        store.questions.ask(ben, project.id, lease.token, "event-9", "What?")
    with pytest.raises(LeaseError, match="number that is another answer's"):
        store.questions.ask(ben, project.id, store.work.lease(ben, project.id)[0].token, "event-1", "What?")
    with pytest.raises(ValueError, match="question is empty"):
        store.questions.ask(anna, project.id, lease.token, "event-9", "  ")
    with pytest.raises(ValueError, match="question has 2001 characters, allowed are 2000"):
        store.questions.ask(anna, project.id, lease.token, "event-9", "x" * 2001)
    with pytest.raises(ValueError, match="answer is empty"):
        store.questions.answer(lea, project.id, 1, "")
    with pytest.raises(ValueError, match="there is no question 99 in the project"):
        store.questions.answer(lea, project.id, 99, "So.")
    eve = make_actor(store, "annotator", "eve")
    with pytest.raises(AccessError):
        store.questions.ask(eve, project.id, lease.token, "event-9", "What?")
    with store.database.read() as connection:
        assert len(connection.execute(select(question.c.id)).all()) == 1
