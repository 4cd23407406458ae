"""The demo's loop: begun once its models are there, judged by simulated annotators twice, then left to people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate_app.access import Actor
from annotate_app.demo import create_demo
from annotate_app.demo_loop import NUM_JUDGED, WRITER, go_on, plan_turn
from annotate_app.demo_models import DEMO, queue_models
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.turns.plan import read_plan
from annotate_app.turns.stages.wheel import start_turn
from annotate_app.turns.turn import STAGES, Turn

ADMIN = Actor.command_line()


@pytest.fixture
def store(demo_file: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copy(demo_file, tmp_path / "demo.db")
    with Store.open(f"sqlite:///{tmp_path / 'demo.db'}", migrate=False) as store:
        yield store


@pytest.fixture
def demo(store: Store) -> Project:
    return create_demo(store)


def end_models(store: Store, demo: Project, writer: str = "done") -> None:
    """Ends the demo's trainings as a worker would; the policy that writes as said."""
    for number, job in enumerate(queue_models(store, demo)):
        store.jobs.claim()
        state = writer if number == WRITER else "done"
        store.jobs.finish(job.id, state)  # type: ignore[arg-type]
        if state == "done":
            model = Path(job.run_dir) / "model"
            (model / "config.json").write_text("{}")
            (model / "status.json").write_text(json.dumps({"state": "done"}))


def turns(store: Store, demo: Project) -> list[Turn]:
    return store.turns.list(ADMIN, demo.id)


def pass_stages(store: Store, turn: Turn, last: str) -> None:
    """Passes stages over as done, those after the last left as they are."""
    for stage in STAGES[: STAGES.index(last) + 1]:  # type: ignore[arg-type]
        store.turns.update_stage(ADMIN, turn.id, stage, state="running", begins=True)
        store.turns.update_stage(ADMIN, turn.id, stage, state="done", result={})


def wait_for_people(store: Store, demo: Project, turn: Turn) -> list[str]:
    """Puts pairs of the demo that want judgments before people as the turn's."""
    pass_stages(store, turn, "choose")
    keys = [pair.id for pair in store.browsing.iterate(ADMIN, demo.id, "open")][-4:]
    store.turns.add_pairs(ADMIN, turn.id, dict.fromkeys(keys, "random"))
    store.turns.update_stage(ADMIN, turn.id, "judge", state="people", begins=True)
    return keys


def test_the_first_turn_waits_for_all_models_and_begins_once(store, demo):
    go_on(store)
    assert turns(store, demo) == []
    jobs = queue_models(store, demo)
    go_on(store)
    assert turns(store, demo) == []
    for job in jobs:
        store.jobs.claim()
        store.jobs.finish(job.id, "done")
        (Path(job.run_dir) / "model" / "config.json").write_text("{}")
        (Path(job.run_dir) / "model" / "status.json").write_text(json.dumps({"state": "done"}))
    go_on(store)
    go_on(store)
    (turn,) = turns(store, demo)
    assert (turn.created_by, turn.state) == (DEMO.name, "open")
    plan = read_plan(turn.plan)
    assert plan.auto
    assert plan.policy == str((Path(jobs[WRITER].run_dir) / "model").resolve())


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_without_a_policy_that_writes_there_is_no_loop(store, demo, state: str):
    end_models(store, demo, writer=state)
    go_on(store)
    assert turns(store, demo) == []


def test_simulated_annotators_judge_the_pairs_of_the_first_turns_and_nobody_else_s(store, demo):
    end_models(store, demo)
    go_on(store)
    (turn,) = turns(store, demo)
    keys = wait_for_people(store, demo, turn)
    before = store.projects.progress(ADMIN, demo.id).slots_judged
    go_on(store)
    assert store.turns.open_slots(ADMIN, demo.id, keys) == {}
    judged = [judgment for key in keys for judgment in store.judgments.of_comparison(ADMIN, demo.id, key)]
    assert all(judgment.annotator.startswith("sim-") for judgment in judged)
    assert 0 < store.projects.progress(ADMIN, demo.id).slots_judged - before <= 3 * len(keys)
    go_on(store)
    assert len([one for key in keys for one in store.judgments.of_comparison(ADMIN, demo.id, key)]) == len(judged)


def test_the_third_turn_waits_for_people(store, demo):
    end_models(store, demo)
    for number in range(1, NUM_JUDGED + 1):
        go_on(store)
        turn = turns(store, demo)[-1]
        assert turn.number == number
        pass_stages(store, turn, "check")
        store.turns.end(ADMIN, turn.id, "done")
    go_on(store)
    third = turns(store, demo)[-1]
    assert (third.number, third.parent) == (3, 2)
    assert read_plan(third.plan).judge.overlap == 1
    keys = wait_for_people(store, demo, third)
    wanted = store.turns.open_slots(ADMIN, demo.id, keys)
    go_on(store)
    assert store.turns.open_slots(ADMIN, demo.id, keys) == wanted
    pass_stages(store, third, "check")
    store.turns.end(ADMIN, third.id, "done")
    go_on(store)
    assert len(turns(store, demo)) == 3


def test_a_turn_that_was_stopped_or_failed_stays_and_nothing_comes_after_it(store, demo):
    end_models(store, demo)
    go_on(store)
    (turn,) = turns(store, demo)
    store.turns.update_stage(ADMIN, turn.id, "write", state="failed", result={"message": "cancelled"}, begins=True)
    go_on(store)
    assert [one.stage("write").state for one in turns(store, demo)] == ["failed"]
    store.turns.end(ADMIN, turn.id, "stopped")
    go_on(store)
    assert len(turns(store, demo)) == 1


def test_turns_of_people_are_theirs(store, demo):
    turn = start_turn(store, ADMIN, demo.id, plan_turn(1, "tiny"))
    keys = wait_for_people(store, demo, turn)
    wanted = store.turns.open_slots(ADMIN, demo.id, keys)
    end_models(store, demo)
    go_on(store)
    assert store.turns.open_slots(ADMIN, demo.id, keys) == wanted
    assert len(turns(store, demo)) == 1


def test_a_database_without_the_demo_has_no_loop(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        go_on(store)
        assert store.projects.list(ADMIN) == []
