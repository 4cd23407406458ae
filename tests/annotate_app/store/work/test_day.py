"""The own day: what counts, by hand, and when a break is due."""

import pytest
from sqlalchemy import update

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.schema.tables import judgment

ADMIN = Actor.command_line()
DAY = 86_400.0


@pytest.fixture
def timed(store):
    """Sets when the judgments of the database were made and how long they took, in their order."""

    def timed(times, monkeypatch, now):
        with store.database.write() as connection:
            for number, (at, seconds) in enumerate(times, start=1):
                values = {"created_at": at, "seconds": seconds}
                connection.execute(update(judgment).where(judgment.c.id == number).values(**values))
        monkeypatch.setattr("annotate_app.store.work.work.time.time", lambda: now)

    return timed


def judge(store, answer, actor, project, choices):
    for choice in choices:
        answer(store, actor, project, store.work.lease(actor, project.id)[0], choice)


def test_a_day_by_hand(store, make_project, make_actor, answer, timed, monkeypatch):
    project = make_project(store, num_comparisons=8, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    judge(store, answer, anna, project, ["a", "b", "skip", "tie", "a"])
    # The first was yesterday. Today: 20 s, a skip of 30 s, 40 s, 100 s.
    timed(
        [(DAY - 9, 500.0), (DAY + 100, 20.0), (DAY + 140, 30.0), (DAY + 200, 40.0), (DAY + 400, 100.0)],
        monkeypatch,
        DAY + 410,
    )
    day = store.work.own_day(anna, project.id, DAY)
    assert (day.num_pairs, day.median_s, day.active_s) == (3, 40.0, 190.0)
    assert (day.num_gold, day.num_right) == (0, 0)
    assert day.since_break_s == 190.0
    assert not day.break_due
    assert store.work.own_day(anna, project.id, 2 * DAY).num_pairs == 0
    assert store.work.own_day(anna, project.id, 2 * DAY).median_s is None


def test_an_undone_judgment_is_no_pair_but_its_time_was_worked(
    store, make_project, make_actor, answer, timed, monkeypatch
):
    project = make_project(store, num_comparisons=4, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    judge(store, answer, anna, project, ["a", "b"])
    store.work.undo(anna, project.id)
    timed([(DAY + 50, 30.0), (DAY + 100, 20.0), (DAY + 110, 0.0)], monkeypatch, DAY + 120)
    day = store.work.own_day(anna, project.id, DAY)
    assert (day.num_pairs, day.median_s, day.active_s) == (1, 30.0, 50.0)


@pytest.mark.parametrize(
    ("gap_s", "since_now_s", "active_s", "due"),
    [
        (10.0, 10.0, 3100.0, True),  # 2000 and 1100 s of work, no break between
        (299.0, 10.0, 3100.0, True),
        (300.0, 10.0, 1100.0, False),  # five minutes were a break
        (10.0, 300.0, 0.0, False),  # on a break now
    ],
)
def test_a_break_is_due_after_fifty_minutes_without_five(
    store, make_project, make_actor, answer, timed, monkeypatch, gap_s, since_now_s, active_s, due
):
    project = make_project(store, num_comparisons=4, design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    judge(store, answer, anna, project, ["a", "b"])
    first, second = DAY + 2000.0, DAY + 2000.0 + gap_s + 1100.0
    timed([(first, 2000.0), (second, 1100.0)], monkeypatch, second + since_now_s)
    day = store.work.own_day(anna, project.id, DAY)
    assert (day.since_break_s, day.break_due) == (active_s, due)


@pytest.mark.parametrize(("told", "counts"), [(True, (2, 1)), (False, (0, 0))])
def test_gold_is_counted_only_where_people_are_told_how_they_did(store, make_project, make_actor, answer, told, counts):
    design = Design(overlap=1, gold_rate=0.9, gold_feedback=told)
    project = make_project(store, num_comparisons=6, design=design)
    for key in ("c0", "c1"):
        store.comparisons.set_gold(ADMIN, project.id, key, Gold(choice="a"))
    anna = make_actor(store, "annotator", "anna", project)
    judge(store, answer, anna, project, ["a", "b"])
    day = store.work.own_day(anna, project.id, 0.0)
    assert (day.num_gold, day.num_right) == counts
    assert day.num_pairs == 2
