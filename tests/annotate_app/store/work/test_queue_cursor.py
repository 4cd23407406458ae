import random
from contextlib import suppress

import pytest
from sqlalchemy import select, text

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import LeaseError
from annotate_app.store.schema import tables
from annotate_app.store.work import queue_cursor
from annotate_app.store.work.member_at_work import take_seat
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


def test_fewest_gives_everything_a_first_judgment_before_anything_a_second(
    store, make_project, make_actor, work_through
):
    project = make_project(store, num_comparisons=6, design=Design(overlap=2, policy="fewest"))
    anna, ben = (make_actor(store, "annotator", name, project) for name in ("anna", "ben"))
    assert work_through(store, anna, project, limit=4) == ["c0", "c1", "c2", "c3"]
    assert work_through(store, ben, project) == ["c4", "c5", "c0", "c1", "c2", "c3"]
    assert work_through(store, anna, project) == ["c4", "c5"]


def test_sequential_completes_the_front_first(store, make_project, make_actor, work_through):
    project = make_project(store, num_comparisons=4, design=Design(overlap=2))
    anna, ben = (make_actor(store, "annotator", name, project) for name in ("anna", "ben"))
    assert work_through(store, anna, project, limit=3) == ["c0", "c1", "c2"]
    assert work_through(store, ben, project) == ["c0", "c1", "c2", "c3"]


def test_random_is_one_seeded_order(store, make_project, make_actor, work_through):
    project = make_project(store, num_comparisons=30, design=Design(overlap=2, policy="random", seed=1))
    anna, ben = (make_actor(store, "annotator", name, project) for name in ("anna", "ben"))
    first = work_through(store, anna, project)
    assert first == work_through(store, ben, project)
    assert sorted(first, key=lambda key: int(key[1:])) != first
    assert len(set(first)) == 30


def test_priority_goes_first_and_new_priorities_reorder_what_is_open(store, make_project, make_actor, work_through):
    project = make_project(store, num_comparisons=6, design=Design(overlap=2, policy="priority"))
    anna, ben = (make_actor(store, "annotator", name, project) for name in ("anna", "ben"))
    store.comparisons.set_priorities(ADMIN, project.id, {"c4": 2.0, "c2": 1.0, "c0": -1.0})
    assert work_through(store, anna, project, limit=4) == ["c4", "c2", "c1", "c3"]
    store.comparisons.set_priorities(ADMIN, project.id, {"c0": 9.0, "c3": 8.0})
    assert work_through(store, anna, project) == ["c0", "c5"]
    assert work_through(store, ben, project) == ["c0", "c3", "c4", "c2", "c1", "c5"]


def test_groups_get_the_slots_that_are_theirs(store, make_project, make_actor, work_through, counted):
    project = make_project(store, num_comparisons=3, design=Design(groups={"crowd": 2, "expert": 1}))
    crowd = [make_actor(store, "annotator", f"crowd {number}", project, "crowd") for number in range(3)]
    expert = make_actor(store, "annotator", "expert", project, "expert")
    nobody = make_actor(store, "annotator", "no group", project)
    assert work_through(store, nobody, project) == []
    assert [len(work_through(store, person, project)) for person in crowd] == [3, 3, 0]
    assert work_through(store, expert, project) == ["c0", "c1", "c2"]
    assert counted(store) == {"c0": 3, "c1": 3, "c2": 3}


def test_who_changes_groups_gets_what_the_new_group_may_take(store, make_project, make_actor, work_through):
    project = make_project(store, num_comparisons=3, design=Design(groups={"crowd": 1, "expert": 1}))
    anna = make_actor(store, "annotator", "anna", project, "crowd")
    ben = make_actor(store, "annotator", "ben", project, "crowd")
    assert work_through(store, anna, project, limit=1) == ["c0"]
    assert work_through(store, ben, project) == ["c1", "c2"]
    assert work_through(store, anna, project) == []
    store.projects.add_member(ADMIN, project.id, anna.user_id, "expert")
    assert work_through(store, anna, project) == ["c1", "c2"]


def test_comparisons_added_or_wanted_more_often_later_reach_those_who_were_done(
    store, make_project, make_actor, work_through
):
    project = make_project(store, num_comparisons=3, design=Design(overlap=1, policy="random"))
    anna, ben = (make_actor(store, "annotator", name, project) for name in ("anna", "ben"))
    assert len(work_through(store, anna, project)) == 3
    assert work_through(store, ben, project) == []
    other = make_project(store, "other", num_comparisons=9)
    store.comparisons.add(ADMIN, project.id, list(store.comparisons.iterate(ADMIN, other.id)))
    assert len(work_through(store, anna, project)) == 6
    store.projects.update(ADMIN, project.id, design=Design(overlap=2, policy="sequential"))
    assert work_through(store, anna, project) == []
    assert work_through(store, ben, project) == [f"c{number}" for number in range(9)]


def test_what_somebody_judged_elsewhere_is_not_handed_to_them(store, make_project, make_actor, work_through):
    project = make_project(store, num_comparisons=3, design=Design(overlap=2))
    anna = make_actor(store, "annotator", "anna", project)
    store.judgments.import_many(ADMIN, project.id, [Judgment(comparison_id="c1", annotator="anna", choice="tie")])
    assert work_through(store, anna, project) == ["c0", "c2"]


def may_take(store, seat):
    """All open slots of the queue that somebody may take, by rank and id, and which of them the cursors leave out."""
    slot, mine, place = tables.slot, tables.slot.alias("mine"), seat.place
    query = (
        select(slot.c.id, slot.c.rank, slot.c.returned)
        .where(
            slot.c.project_id == seat.project_id,
            slot.c.state == 0,
            slot.c.kind == "work",
            slot.c.group_name.in_(place.groups),
            ~select(mine.c.id)
            .where(mine.c.comparison_id == slot.c.comparison_id, mine.c.user_id == seat.user_id)
            .exists(),
        )
        .order_by(slot.c.rank, slot.c.id)
    )
    with store.database.read() as connection:
        rows = connection.execute(query).all()
    hidden = [
        row.id
        for row in rows
        if (row.rank, row.id) <= (place.cursor_rank, place.cursor_slot) and (row.returned or 0) <= place.cursor_returned
    ]
    return [row.id for row in rows], hidden


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["sequential", "random", "fewest", "priority"])
def test_cursors_never_hide_a_slot_that_somebody_may_take(store, make_project, make_actor, answer, run_out, policy):
    """Random work by four people; after each step every cursor is compared with a look at the whole queue."""
    project = make_project(store, num_comparisons=12, design=Design(overlap=3, policy=policy))
    people = [make_actor(store, "annotator", f"person {number}", project) for number in range(4)]
    draw = random.Random(policy)
    for _ in range(80):
        person = draw.choice(people)
        for each in people:
            with store.database.read() as connection:
                seat = take_seat(connection, each, project.id, "looking", writing=False)
                available = queue_cursor.has_next(connection, seat.place)
            takeable, hidden = may_take(store, seat)
            assert hidden == []
            assert available == bool(takeable)
        leases = store.work.lease(person, project.id, count=draw.choice([1, 2, 3]))
        match draw.choice(["judge", "judge", "judge", "skip", "release", "run out", "undo"]):
            case "judge" if leases:
                answer(store, person, project, draw.choice(leases), lease_count=draw.choice([0, 1, 2]))
            case "skip" if leases and draw.random() < 0.3:
                answer(store, person, project, leases[0], "skip")
            case "release":
                store.work.release(person, project.id, [lease.token for lease in leases[: draw.randint(0, 3)]])
            case "run out":
                run_out(store)
            case "undo":
                with suppress(LeaseError):  # a skipped pair that others have taken since
                    store.work.undo(person, project.id)


def test_a_pick_takes_the_lowest_rank_there_is(store, make_project, make_actor, answer, run_out):
    project = make_project(store, num_comparisons=15, design=Design(overlap=2, policy="random"))
    anna, ben = (make_actor(store, "annotator", name, project) for name in ("anna", "ben"))
    draw = random.Random(0)
    for _ in range(12):
        with store.database.read() as connection:
            seat = take_seat(connection, anna, project.id, "looking", writing=False)
        store.work.lease(ben, project.id, count=draw.choice([0, 1, 4]))
        expected = may_take(store, seat)[0][0]
        (lease,) = store.work.lease(anna, project.id, count=1)
        with store.database.read() as connection:
            taken = connection.execute(select(tables.slot.c.id).where(tables.slot.c.token == lease.token)).scalar()
        assert taken == expected
        answer(store, anna, project, lease, lease_count=0)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (queue_cursor._NEXT_OPEN, "ix_slot_queue"),
        (queue_cursor._NEXT_RETURNED, "ix_slot_returned"),
        (queue_cursor._EXPIRED, "ix_slot_expiry"),
    ],
)
def test_the_queue_is_read_through_its_indexes(sqlite_store, statement, index):
    sql = str(statement.compile(sqlite_store.database.engine, compile_kwargs={"render_postcompile": True}))
    with sqlite_store.database.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", (1,) * sql.count("?")).all()
    assert f"INDEX {index} " in plan[0].detail
    assert not any("TEMP B-TREE" in row.detail or "SCAN" in row.detail for row in plan)


def test_slots_given_back_come_before_the_queue_goes_on(store, make_project, make_actor, work_through):
    project = make_project(store, num_comparisons=6, design=Design(overlap=1))
    anna, ben = (make_actor(store, "annotator", name, project) for name in ("anna", "ben"))
    store.work.lease(ben, project.id)
    assert work_through(store, anna, project, limit=2) == ["c2", "c3"]
    store.work.release(ben, project.id)
    assert work_through(store, anna, project) == ["c0", "c1", "c4", "c5"]
    with store.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM slot WHERE state = 0")).scalar() == 0
