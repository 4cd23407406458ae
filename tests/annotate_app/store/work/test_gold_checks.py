from collections import Counter

import pytest
from sqlalchemy import select

from annotate_app.access import Actor
from annotate_app.protocol.assignment import REPEAT_GAP, check_at
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.schema import tables
from annotate_app.votes import KINDS

ADMIN = Actor.command_line()


@pytest.fixture
def gold_project(make_project):
    """A project whose first `num_gold` comparisons are checks with the answer a."""

    def make(store, design, *, num_gold, num_comparisons=20, use="gold"):
        project = make_project(store, num_comparisons=num_comparisons, design=design)
        for number in range(num_gold):
            store.comparisons.set_gold(ADMIN, project.id, f"c{number}", Gold(choice="a", explanation="Look.", use=use))
        return project

    return make


def kinds(store, actor):
    """The kind of each of somebody's judgments, in their order."""
    query = select(tables.judgment.c.kind).where(tables.judgment.c.user_id == actor.user_id)
    with store.database.read() as connection:
        return list(connection.execute(query.order_by(tables.judgment.c.id)).scalars())


def test_gold_items_come_where_the_hash_says_each_once_and_beside_all_the_work(
    store, gold_project, make_actor, work_through, counted
):
    design = Design(overlap=1, gold_rate=0.3, seed=5)
    project = gold_project(store, design, num_gold=4, num_comparisons=24)
    anna = make_actor(store, "annotator", "anna", project)
    done = work_through(store, anna, project)
    assert Counter(done) == Counter(f"c{number}" for number in range(24))
    due = [position for position in range(24) if check_at(design, "anna", position) == "gold"][:4]
    assert [at for at, kind in enumerate(kinds(store, anna)) if kind == "gold"] == due
    assert counted(store) == {f"c{number}": 1 for number in range(4, 24)}


def test_gold_items_come_to_everybody_in_an_order_of_their_own(store, gold_project, make_actor, work_through):
    project = gold_project(store, Design(overlap=3, gold_rate=0.5), num_gold=8, num_comparisons=24)
    orders = []
    for name in ("anna", "ben", "carl"):
        done = work_through(store, make_actor(store, "annotator", name, project), project)
        orders.append([key for key in done if int(key[1:]) < 8])
        assert len(set(orders[-1])) == len(orders[-1])
    assert len({tuple(order) for order in orders}) == 3


def test_a_gold_item_looks_like_any_other_pair_and_stays_through_reload_and_release(
    store, gold_project, make_actor, run_out
):
    project = gold_project(store, Design(overlap=1, gold_rate=0.9), num_gold=10)
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)
    leases = store.work.lease(anna, project.id, count=3)
    checks = [lease.token for lease in leases if int(lease.comparison.id[1:]) < 10]
    assert checks
    assert all(dict(lease.comparison.meta) == {} for lease in leases)
    store.work.release(anna, project.id)
    run_out(store)
    store.work.lease(ben, project.id)
    assert [lease.token for lease in store.work.lease(anna, project.id, count=3)][: len(checks)] == checks


def test_gold_feedback_is_given_where_wanted_and_again_on_a_resend(store, gold_project, make_actor, answer):
    project = gold_project(store, Design(gold_rate=0.9, gold_feedback=True), num_gold=10)
    anna = make_actor(store, "annotator", "anna", project)
    lease = next(each for each in store.work.lease(anna, project.id, count=4) if int(each.comparison.id[1:]) < 10)
    side = "left" if lease.shown_left == "a" else "right"
    first = answer(store, anna, project, lease, "a", event_id="once")
    assert first.feedback == f"Right: the {side} response is better. Look."
    assert answer(store, anna, project, lease, "a", event_id="once").feedback == first.feedback
    work = next(each for each in store.work.lease(anna, project.id, count=20) if int(each.comparison.id[1:]) >= 10)
    assert answer(store, anna, project, work, "a").feedback is None


def test_repeats_come_late_once_with_swapped_sides_and_do_not_count_as_work(
    store, make_project, make_actor, work_through, counted
):
    design = Design(overlap=1, repeat_rate=0.3, seed=2)
    project = make_project(store, num_comparisons=40, design=design)
    anna = make_actor(store, "annotator", "anna", project)
    done = work_through(store, anna, project)
    columns = tables.judgment.c
    query = select(tables.comparison.c.key, columns.kind, columns.shown_left, columns.newest)
    query = query.join(tables.comparison, tables.comparison.c.id == columns.comparison_id).order_by(columns.id)
    with store.database.read() as connection:
        rows = connection.execute(query).all()
    assert [row.key for row in rows] == done
    repeats = [at for at, row in enumerate(rows) if row.kind == "repeat"]
    assert len(repeats) >= 5
    assert len({rows[at].key for at in repeats}) == len(repeats)
    for at in repeats:
        first = done.index(rows[at].key)
        assert at - first >= REPEAT_GAP
        assert {rows[first].shown_left, rows[at].shown_left} == {"a", "b"}
        assert rows[first].newest
        assert rows[at].newest
    assert counted(store) == {f"c{number}": 1 for number in range(40)}
    votes = store.judgments.votes(ADMIN, project.id)
    assert Counter(KINDS[code] for code in votes.kind) == {"work": 40, "repeat": len(repeats)}
    assert len(votes.counted()) == 40


def test_a_repeat_can_be_undone_without_touching_the_first_answer(store, make_project, make_actor, answer, counted):
    project = make_project(store, num_comparisons=40, design=Design(overlap=1, repeat_rate=0.9))
    anna = make_actor(store, "annotator", "anna", project)
    seen = []
    leases = store.work.lease(anna, project.id, count=1)
    while leases[0].comparison.id not in seen:
        seen.append(leases[0].comparison.id)
        leases = answer(store, anna, project, leases[0], "a", lease_count=1).leases
    answer(store, anna, project, leases[0], "b")
    assert store.work.undo(anna, project.id).comparison.id == leases[0].comparison.id
    assert counted(store) == dict.fromkeys(seen, 1)


def test_qualification_comes_first_and_lets_good_people_in(store, gold_project, make_actor, answer):
    design = Design(qualification_items=3, qualification_pass=0.6)
    project = gold_project(store, design, num_gold=5, use="qualification")
    anna = make_actor(store, "annotator", "anna", project)
    states = []
    leases = store.work.lease(anna, project.id)
    for choice in ("a", "b", "a"):  # 2 of 3
        assert all(int(lease.comparison.id[1:]) < 5 for lease in leases)
        receipt = answer(store, anna, project, leases[0], choice)
        states.append(receipt.progress.state)
        leases = receipt.leases
    assert states == ["qualifying", "qualifying", "active"]
    assert [lease.comparison.id for lease in leases] == ["c5", "c6"]
    assert kinds(store, anna) == ["qualification"] * 3
    assert store.notices.list(ADMIN, project.id) == []


def test_no_more_qualification_items_are_handed_out_than_the_round_has(store, gold_project, make_actor):
    project = gold_project(store, Design(qualification_items=3), num_gold=8, use="qualification")
    anna = make_actor(store, "annotator", "anna", project)
    assert len(store.work.lease(anna, project.id, count=6)) == 3


def test_who_fails_the_qualification_gets_no_work_and_the_leads_hear_of_it(store, gold_project, make_actor, answer):
    design = Design(qualification_items=2, qualification_pass=0.8)
    project = gold_project(store, design, num_gold=2, use="qualification")
    anna = make_actor(store, "annotator", "anna", project)
    first, second = store.work.lease(anna, project.id)
    answer(store, anna, project, first, "a")
    receipt = answer(store, anna, project, second, "skip")  # a skip in the round is not right
    assert (receipt.progress.state, receipt.leases) == ("failed", [])
    assert store.work.lease(anna, project.id) == []
    (notice,) = store.notices.list(ADMIN, project.id)
    assert notice.text == "anna did not pass the qualification: 1 of 2 items right, asked for are 80%."
    (member,) = [each for each in store.projects.members(ADMIN, project.id) if each.name == "anna"]
    assert member.state == "failed"


def test_a_round_is_as_long_as_there_are_items(store, gold_project, make_actor, work_through):
    project = gold_project(
        store, Design(overlap=1, qualification_items=5), num_gold=2, num_comparisons=4, use="qualification"
    )
    anna = make_actor(store, "annotator", "anna", project)
    assert Counter(work_through(store, anna, project)) == Counter(["c0", "c1", "c2", "c3"])


def test_who_falls_short_on_gold_is_paused_with_a_notice_and_starts_anew_when_let_back_in(
    store, gold_project, make_actor, answer
):
    design = Design(overlap=1, gold_rate=0.9, pause_below=0.5, pause_after=3)
    project = gold_project(store, design, num_gold=15, num_comparisons=40)
    anna = make_actor(store, "annotator", "anna", project)
    ben = make_actor(store, "annotator", "ben", project)

    def judge_until_stopped(limit=12):
        num_gold, leases = 0, store.work.lease(anna, project.id)
        while leases and num_gold < limit:
            num_gold += int(leases[0].comparison.id[1:]) < 15
            receipt = answer(store, anna, project, leases[0], "b")
            leases = receipt.leases
            if num_gold < 3:
                assert receipt.progress.state == "active"
        return num_gold, receipt.progress.state

    assert judge_until_stopped() == (3, "paused")
    assert store.work.lease(anna, project.id) == []
    (notice,) = store.notices.list(ADMIN, project.id)
    assert notice.text == "anna was paused: 0 of 3 gold items right, asked for are 50%."
    assert any(entry.detail == {"state": "paused"} for entry in store.audit.list(ADMIN, project.id))
    held = {lease.comparison.id for lease in store.work.lease(ben, project.id, count=60)}
    assert len({key for key in held if int(key[1:]) >= 15}) >= 20  # nothing of anna's is stuck
    store.projects.set_member_state(ADMIN, project.id, anna.user_id, "active")
    assert judge_until_stopped()[0] == 3


def test_good_people_are_not_paused(store, gold_project, make_actor, work_through):
    project = gold_project(store, Design(overlap=1, gold_rate=0.9, pause_below=0.9, pause_after=1), num_gold=10)
    anna = make_actor(store, "annotator", "anna", project)
    assert len(work_through(store, anna, project, choice="a")) == 20
    assert store.work.own_progress(anna, project.id).state == "active"
