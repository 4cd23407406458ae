"""Turns in the store, on both databases: numbers, stages by value, pairs, two servers at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, insert, select

from annotate_app.access import AccessError, Actor
from annotate_app.store.loop.turns import STAGES
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import loop_tables, tables
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message


def test_turns_are_numbered_and_open_one_after_the_other(store: Store, lead: Actor, project: Project) -> None:
    first = store.turns.add(lead, project.id, {"rule": "random"})
    assert (first.number, first.parent, first.state, first.plan) == (1, None, "open", {"rule": "random"})
    assert [(record.stage, record.state, record.tries) for record in first.stages] == [
        (stage, "waiting", 0) for stage in STAGES
    ]
    with pytest.raises(ValueError, match="turn 1 is open: finish or stop it first"):
        store.turns.add(lead, project.id, {})
    store.turns.end(lead, first.id, "done")
    with pytest.raises(ValueError, match="parent is 3, turns are 1"):
        store.turns.add(lead, project.id, {}, parent=3)
    second = store.turns.add(lead, project.id, {}, parent=1)
    assert (second.number, second.parent) == (2, 1)
    assert [turn.state for turn in store.turns.list(lead, project.id)] == ["done", "open"]
    assert store.turns.get(lead, project.id, 2) == second
    assert store.turns.open_projects() == [project.id]
    with pytest.raises(ValueError, match="there is no turn 5, turns are 1, 2"):
        store.turns.get(lead, project.id, 5)


def test_a_stage_is_begun_done_and_set_back(store: Store, lead: Actor, project: Project) -> None:
    turn = store.turns.add(lead, project.id, {})
    store.turns.update_stage(lead, turn.id, "write", state="running", job_id=7, begins=True)
    record = store.turns.get(lead, project.id, 1).stage("write")
    assert (record.state, record.job_id, record.tries, record.ended_at, record.result) == ("running", 7, 1, None, {})
    assert record.started_at is not None
    store.turns.update_stage(lead, turn.id, "write", state="done", result={"file": "x"})
    record = store.turns.get(lead, project.id, 1).stage("write")
    assert (record.state, record.job_id, record.result) == ("done", 7, {"file": "x"})
    assert record.ended_at is not None
    store.turns.update_stage(lead, turn.id, "write", state="waiting")
    record = store.turns.get(lead, project.id, 1).stage("write")
    assert (record.state, record.job_id, record.tries, record.result, record.started_at) == (
        "waiting",
        None,
        1,
        {},
        None,
    )
    actions = [(entry.action, entry.detail.get("state")) for entry in store.audit.list(lead, project.id)]
    assert [state for action, state in actions if action == "turn stage"] == ["waiting", "done", "running"]


def test_pairs_count_their_judgments_and_what_nobody_touched_is_withdrawn(
    store: Store, lead: Actor, project: Project, annotator: Actor
) -> None:
    turn = store.turns.add(lead, project.id, {})
    prompt = (Message(role="user", content="anything"),)
    brought = [
        Comparison(id=key, prompt=prompt, completion_a=key, completion_b="b", meta={"turn": 1}) for key in ("n0", "n1")
    ]
    store.comparisons.add(lead, project.id, brought)
    assert store.turns.add_pairs(lead, turn.id, {"c0": "random", "n0": "epig", "n1": "random"}) == 3
    assert store.turns.add_pairs(lead, turn.id, {"n1": "epig"}) == 0
    store.judgments.import_many(lead, project.id, [Judgment(comparison_id="n1", annotator="u", choice="tie")])
    pairs = [(pair.key, pair.rule, pair.num_judged, pair.num_wanted) for pair in store.turns.pairs(lead, turn.id)]
    assert pairs == [("c0", "random", 0, 3), ("n0", "epig", 0, 3), ("n1", "random", 1, 2)]
    assert store.turn_votes.num_by_rule(lead, project.id) == {1: {"random": 2, "epig": 1}}
    with pytest.raises(ValueError, match="no comparison 'gone'"):
        store.turns.add_pairs(lead, turn.id, {"gone": "random"})
    assert store.turns.withdraw_pairs(lead, turn.id) == 1  # n0; c0 was there before, n1 is judged
    assert store.turns.pairs(lead, turn.id) == []
    handed_out = {lease.comparison.id for lease in store.work.lease(annotator, project.id, count=9)}
    assert handed_out == {"c0", "c1", "c2", "c3", "c4", "n1"}
    assert store.check() == []


def test_turns_are_for_leads(store: Store, lead: Actor, project: Project, annotator: Actor) -> None:
    turn = store.turns.add(lead, project.id, {})
    for forbidden in (
        lambda: store.turns.list(annotator, project.id),
        lambda: store.turns.add(annotator, project.id, {}),
        lambda: store.turns.pairs(annotator, turn.id),
        lambda: store.turns.update_stage(annotator, turn.id, "write", state="done"),
        lambda: store.turns.end(annotator, turn.id, "done"),
    ):
        with pytest.raises(AccessError):
            forbidden()


def test_two_servers_open_one_turn_and_begin_a_stage_once(store: Store, lead: Actor, project: Project) -> None:
    def add(_: int) -> bool:
        try:
            store.turns.add(lead, project.id, {})
        except ValueError:
            return False
        return True

    def begin(_: int) -> bool:
        with store.turns.locked(lead, project.id, 1) as turn:
            if turn.stage("write").state != "waiting":
                return False
            store.turns.update_stage(lead, turn.id, "write", state="running", begins=True)
            return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(add, range(6))) == 1
        assert sum(pool.map(begin, range(12))) == 1
    assert store.turns.get(lead, project.id, 1).stage("write").tries == 1


def test_the_check_finds_turns_that_are_broken(
    store: Store, lead: Actor, project: Project, make_project: Callable[..., Project]
) -> None:
    turn = store.turns.add(lead, project.id, {})
    store.turns.add_pairs(lead, turn.id, {"c0": "random"})
    made = store.rounds.add(lead, project.id, one="x", other="y", comparisons=["c1"])
    assert store.check() == []
    elsewhere = make_project(store, "elsewhere", num_comparisons=1)
    with store.database.write() as connection:
        connection.execute(delete(loop_tables.turn_stage).where(loop_tables.turn_stage.c.stage == "learn"))
        row = {"project_id": project.id, "number": 9, "plan": {}, "created_by": "x", "created_at": 1.0}
        connection.execute(insert(loop_tables.turn).values(**row, state="open"))
        foreign = select(tables.comparison.c.id).where(tables.comparison.c.project_id == elsewhere.id)
        comparison_id = connection.execute(foreign).scalar_one()
        connection.execute(insert(loop_tables.turn_pair).values(turn_id=turn.id, comparison_id=comparison_id, rule="x"))
        connection.execute(insert(loop_tables.blind_pair).values(round_id=made.id, comparison_id=comparison_id))
    problems = "\n".join(store.check())
    assert "2 turns without all of their stages" in problems
    assert "1 projects with several open turns" in problems
    assert "1 pairs of a turn in another project" in problems
    assert "1 pairs of a blind round in another project" in problems
