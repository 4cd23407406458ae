"""The wheel by value, on both databases: order, jobs that end well and badly, people, redo, adopt, two servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from alignment.judges.spec import JudgeSpec
from annotate_app.access import AccessError, Actor
from annotate_app.store.jobs import Job, JobState
from annotate_app.store.loop.judges import JudgeVote
from annotate_app.store.loop.turns import Stage
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import loop_tables
from annotate_app.store.store import Store
from annotate_app.trainings import training_jobs
from annotate_app.trainings.options import make_config
from annotate_app.trainings.plan_files import read_plan as read_training_plan
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.turns.stages.wheel import (
    adopt_stage,
    advance,
    advance_all,
    begin_stage,
    cancel_stage,
    next_stage,
    redo_stage,
    skip_stage,
    start_turn,
    stop_turn,
)
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
Wheel = Callable[..., None]


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run directories lie in the test's own folder on PostgreSQL too."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plan(toy_policies: tuple[Path, Path]) -> dict[str, Any]:
    return {"policy": str(toy_policies[0]), "judge": {"overlap": 1}, "check": {"overlap": 1}}


def states(store: Store, project: Project, number: int = 1) -> list[str]:
    return [record.state for record in store.turns.get(ADMIN, project.id, number).stages]


def end_job(store: Store, result: Mapping[str, Any] | None = None, state: JobState = "done", message: str = "") -> Job:
    """Ends the job that waits longest as if it had been carried out."""
    job = store.jobs.claim(99)
    assert job is not None
    folder = Path(job.run_dir)
    (folder / "model").mkdir(parents=True, exist_ok=True)
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    store.jobs.finish(job.id, state, message)
    return job


def add_pair(store: Store, project: Project, key: str, one: str = "", other: str = "", turn: int = 1) -> None:
    prompt = (Message(role="user", content=f"prompt of {key}"),)
    pair = Comparison(
        id=key, prompt=prompt, completion_a="x", completion_b="y", source_a=one, source_b=other, meta={"turn": turn}
    )
    store.comparisons.add(ADMIN, project.id, [pair], overlap=1)


def judge(store: Store, project: Project, *keys: str) -> None:
    votes = [Judgment(comparison_id=key, annotator="u", choice="a", strength=1) for key in keys]
    store.judgments.import_many(ADMIN, project.id, votes)


def chosen(store: Store, project: Project, number: int = 1) -> dict[str, Any]:
    """The result of a choice of two pairs, which are there."""
    keys = {f"p{number}-0": "random", f"p{number}-1": "uncertainty"}
    for key in keys:
        add_pair(store, project, key, turn=number)
    store.turns.add_pairs(ADMIN, store.turns.get(ADMIN, project.id, number).id, keys)
    return {"num_pairs": 2, "by_rule": {"random": 1, "uncertainty": 1}}


def written(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {"file": "/gone", "num_prompts": 2, "first": {"name": "turn-0", "model": plan["policy"]}}


def turn_until(store: Store, project: Project, plan: Mapping[str, Any], last: Stage) -> None:
    """Turns the wheel of turn 1 until a stage is done, as jobs and people would."""
    number = store.turns.list(ADMIN, project.id)[-1].number
    results = {"write": written(plan), "choose": None, "learn": None, "align": None, "check": None}
    for stage in ("write", "choose", "judge", "learn", "align", "check"):
        begin_stage(store, ADMIN, project.id, number, stage)  # type: ignore[arg-type]
        if stage == "choose":
            end_job(store, chosen(store, project, number))
        elif stage == "judge":
            judge(store, project, f"p{number}-0", f"p{number}-1")
        elif stage == "check":
            add_pair(store, project, f"r{number}", f"run-{number}", "turn-0", number)
            turn = store.turns.get(ADMIN, project.id, number)
            keys = {"one": f"run-{number}", "other": "turn-0", "comparisons": [f"r{number}"]}
            made = store.rounds.add(ADMIN, project.id, **keys, turn_id=turn.id)
            end_job(store, {"rounds": {"previous": made.id, "first": made.id}})
            advance(store, ADMIN, project.id)
            judge(store, project, f"r{number}")
        else:
            end_job(store, results[stage])
        advance(store, ADMIN, project.id)
        if stage == last:
            return


def test_a_turn_goes_through_its_stages_in_order(store: Store, project: Project, plan: dict[str, Any]) -> None:
    turn = start_turn(store, ADMIN, project.id, plan)
    assert next_stage(turn) == "write"
    with pytest.raises(ValueError, match="choose of turn 1 comes after write"):
        begin_stage(store, ADMIN, project.id, 1, "choose")
    record = begin_stage(store, ADMIN, project.id, 1, "write")
    assert (record.state, record.tries) == ("running", 1)
    job = store.jobs.get(ADMIN, record.job_id or 0)
    assert job.command == ["annotate_app", "loop", "stage", project.number, "1", "write"]
    with pytest.raises(ValueError, match="write of turn 1 is under way"):
        begin_stage(store, ADMIN, project.id, 1, "write")
    advance(store, ADMIN, project.id)
    assert states(store, project)[0] == "running"
    end_job(store, written(plan))
    advance(store, ADMIN, project.id)
    once = store.turns.get(ADMIN, project.id, 1)
    advance(store, ADMIN, project.id)
    assert store.turns.get(ADMIN, project.id, 1) == once  # the same, however often
    assert once.stage("write").result["first"]["name"] == "turn-0"
    begin_stage(store, ADMIN, project.id, 1, "choose")
    end_job(store, chosen(store, project))
    advance(store, ADMIN, project.id)
    assert begin_stage(store, ADMIN, project.id, 1, "judge").state == "people"
    judge(store, project, "p1-0")
    advance(store, ADMIN, project.id)
    assert states(store, project) == ["done", "done", "people", "waiting", "waiting", "waiting"]
    judge(store, project, "p1-1")
    advance(store, ADMIN, project.id)
    assert store.turns.get(ADMIN, project.id, 1).stage("judge").result["num_judged"] == 2
    learn = begin_stage(store, ADMIN, project.id, 1, "learn")
    assert store.jobs.get(ADMIN, learn.job_id or 0).kind == "train"
    trained = end_job(store)
    advance(store, ADMIN, project.id)
    assert store.turns.get(ADMIN, project.id, 1).stage("learn").result["run"] == trained.id
    begin_stage(store, ADMIN, project.id, 1, "align")
    aligned = end_job(store)
    advance(store, ADMIN, project.id)
    policy = store.turns.get(ADMIN, project.id, 1).stage("align").result["policy"]
    assert policy == {"name": f"run-{aligned.id}", "model": str(Path(aligned.run_dir).resolve() / "model")}
    skip_stage(store, ADMIN, project.id, 1, "check")
    assert store.turns.get(ADMIN, project.id, 1).state == "done"
    assert advance(store, ADMIN, project.id) is None


def test_the_next_turn_begins_from_the_last_with_its_plan(store: Store, project: Project, plan: dict[str, Any]) -> None:
    start_turn(store, ADMIN, project.id, plan)
    with pytest.raises(ValueError, match="turn 1 is open"):
        start_turn(store, ADMIN, project.id)
    turn_until(store, project, plan, "check")
    first = store.turns.get(ADMIN, project.id, 1)
    assert (first.state, states(store, project)) == ("done", ["done"] * 6)
    second = start_turn(store, ADMIN, project.id, {"choose": {"num_pairs": 9}})
    assert (second.number, second.parent, second.plan["choose"]["num_pairs"]) == (2, 1, 9)
    assert second.plan["judge"] == first.plan["judge"]
    with pytest.raises(ValueError, match="turn 2 stands on turn 1"):
        redo_stage(store, ADMIN, project.id, 1, "check")
    stop_turn(store, ADMIN, project.id, 2)
    with pytest.raises(ValueError, match="policy is turn 0's"):
        start_turn(store, ADMIN, project.id, {"policy": str(Path.cwd())})


@pytest.mark.parametrize("how", ["failed", "cancelled", "lost"])
def test_a_job_that_ends_badly_fails_its_stage_and_can_be_begun_again(
    store: Store, project: Project, plan: dict[str, Any], how: JobState
) -> None:
    start_turn(store, ADMIN, project.id, plan | {"auto": True})
    advance(store, ADMIN, project.id)
    job = end_job(store, state=how, message="no room")
    advance_all(store)
    record = store.turns.get(ADMIN, project.id, 1).stage("write")
    assert (record.state, record.result["message"]) == ("failed", f"job {job.id} {how}: no room")
    advance_all(store)  # auto begins nothing that failed
    assert store.turns.get(ADMIN, project.id, 1).stage("write").tries == 1
    again = begin_stage(store, ADMIN, project.id, 1, "write")
    assert (again.state, again.tries, again.result) == ("running", 2, {})


def test_a_job_that_left_no_result_fails_its_stage(store: Store, project: Project, plan: dict[str, Any]) -> None:
    start_turn(store, ADMIN, project.id, plan)
    begin_stage(store, ADMIN, project.id, 1, "write")
    end_job(store)
    advance(store, ADMIN, project.id)
    assert "left nothing that can be read" in store.turns.get(ADMIN, project.id, 1).stage("write").result["message"]


def test_auto_turns_the_wheel_up_to_people_and_on_when_they_are_done(
    store: Store, project: Project, plan: dict[str, Any]
) -> None:
    start_turn(store, ADMIN, project.id, plan | {"auto": True})
    advance_all(store)
    end_job(store, written(plan))
    advance_all(store)
    assert states(store, project)[:2] == ["done", "running"]
    end_job(store, chosen(store, project))
    advance_all(store)
    advance_all(store)
    assert states(store, project)[:4] == ["done", "done", "people", "waiting"]
    judge(store, project, "p1-0", "p1-1")
    advance_all(store)
    assert states(store, project)[2:5] == ["done", "running", "waiting"]


def test_auto_names_what_keeps_a_stage_from_beginning(store: Store, project: Project, plan: dict[str, Any]) -> None:
    start_turn(store, ADMIN, project.id, plan)
    turn_until(store, project, plan, "learn")
    with store.database.write() as connection:
        connection.execute(update(loop_tables.turn).values(plan={**plan, "auto": True}))
    model = Path(store.turns.get(ADMIN, project.id, 1).stage("learn").result["model"])
    model.rmdir()
    num_jobs = len(store.jobs.list(ADMIN, project.id))
    advance_all(store)
    record = store.turns.get(ADMIN, project.id, 1).stage("align")
    assert record.state == "failed"
    assert "is gone: redo the stage that made it" in record.result["message"]
    assert len(store.jobs.list(ADMIN, project.id)) == num_jobs


def test_redo_sets_back_a_stage_and_all_after_it(store: Store, project: Project, plan: dict[str, Any]) -> None:
    start_turn(store, ADMIN, project.id, plan)
    with pytest.raises(ValueError, match="write of turn 1 has not begun"):
        redo_stage(store, ADMIN, project.id, 1, "write")
    turn_until(store, project, plan, "choose")
    begin_stage(store, ADMIN, project.id, 1, "judge")
    judge(store, project, "p1-0")
    before = store.comparisons.count(ADMIN, project.id)
    redo_stage(store, ADMIN, project.id, 1, "choose")
    assert states(store, project) == ["done", "waiting", "waiting", "waiting", "waiting", "waiting"]
    assert store.comparisons.count(ADMIN, project.id) == before - 1  # the one that somebody judged stays
    assert store.turns.pairs(ADMIN, store.turns.get(ADMIN, project.id, 1).id) == []
    assert store.check() == []
    begin_stage(store, ADMIN, project.id, 1, "choose")
    running = store.turns.get(ADMIN, project.id, 1).stage("choose").job_id or 0
    redo_stage(store, ADMIN, project.id, 1, "write")
    assert store.jobs.get(ADMIN, running).state == "cancelled"


def test_redo_opens_a_turn_that_is_done(store: Store, project: Project, plan: dict[str, Any]) -> None:
    start_turn(store, ADMIN, project.id, plan)
    turn_until(store, project, plan, "check")
    redo_stage(store, ADMIN, project.id, 1, "check")
    assert store.turns.get(ADMIN, project.id, 1).state == "open"
    assert states(store, project)[-1] == "waiting"
    assert len(store.rounds.list(ADMIN, project.id)) == 1  # what people judged stays a round


def test_what_was_done_by_hand_is_adopted(
    store: Store, project: Project, plan: dict[str, Any], toy_policies: tuple[Path, Path], tmp_path: Path
) -> None:
    start_turn(store, ADMIN, project.id, plan)
    rows = tmp_path / "candidates.jsonl"
    with pytest.raises(ValueError, match="there is no file"):
        adopt_stage(store, ADMIN, project.id, 1, "write", str(rows))
    answers = [{"model": "m", "text": text} for text in ("one", "two", "three")]
    rows.write_text(json.dumps({"prompt": [{"role": "user", "content": "hi"}], "responses": answers}) + "\n")
    record = adopt_stage(store, ADMIN, project.id, 1, "write", str(rows))
    assert (record.state, record.adopted, record.result["num_candidates"]) == ("done", True, 3)
    pairs = tmp_path / "pairs.jsonl"
    row = {"id": "h1", "prompt": "hi", "response_a": "one", "response_b": "two", "source_a": "m", "source_b": "m"}
    pairs.write_text(json.dumps(row | {"metadata": {"rule": "random", "score": 0.5}}) + "\n")
    record = adopt_stage(store, ADMIN, project.id, 1, "choose", str(pairs))
    assert record.result["by_rule"] == {"random": 1}
    (pair,) = store.turns.pairs(ADMIN, store.turns.get(ADMIN, project.id, 1).id)
    assert (pair.key, pair.rule, pair.num_wanted) == ("h1", "random", 1)
    assert store.comparisons.get(ADMIN, project.id, "h1").meta["turn"] == 1
    adopt_stage(store, ADMIN, project.id, 1, "judge", "")
    with pytest.raises(ValueError, match="is no reward model"):
        adopt_stage(store, ADMIN, project.id, 1, "learn", str(tmp_path))
    skip_stage(store, ADMIN, project.id, 1, "learn")
    with pytest.raises(ValueError, match="random weights"):
        adopt_stage(store, ADMIN, project.id, 1, "align", "tiny")
    record = adopt_stage(store, ADMIN, project.id, 1, "align", str(toy_policies[1]))
    assert record.result["policy"]["name"] == "other"
    add_pair(store, project, "r", "other", "one")
    made = store.rounds.add(ADMIN, project.id, one="other", other="one", comparisons=["r"])
    assert adopt_stage(store, ADMIN, project.id, 1, "check", str(made.id)).state == "people"
    judge(store, project, "r")
    advance(store, ADMIN, project.id)
    assert store.turns.get(ADMIN, project.id, 1).state == "done"


def test_cancel_skip_and_stop_end_what_is_under_way(store: Store, project: Project, plan: dict[str, Any]) -> None:
    start_turn(store, ADMIN, project.id, plan)
    with pytest.raises(ValueError, match="there is nothing to cancel"):
        cancel_stage(store, ADMIN, project.id, 1, "write")
    with pytest.raises(ValueError, match="write cannot be skipped"):
        skip_stage(store, ADMIN, project.id, 1, "write")
    job_id = begin_stage(store, ADMIN, project.id, 1, "write").job_id or 0
    cancel_stage(store, ADMIN, project.id, 1, "write")
    assert store.jobs.get(ADMIN, job_id).state == "cancelled"
    assert states(store, project)[0] == "failed"
    turn_until(store, project, plan, "choose")
    begin_stage(store, ADMIN, project.id, 1, "judge")
    skip_stage(store, ADMIN, project.id, 1, "judge")
    record = store.turns.get(ADMIN, project.id, 1).stage("judge")
    assert (record.state, record.result["cut_short"]) == ("done", True)
    begin_stage(store, ADMIN, project.id, 1, "learn")
    assert stop_turn(store, ADMIN, project.id, 1).state == "stopped"
    assert states(store, project)[3] == "failed"
    with pytest.raises(ValueError, match="turn 1 is stopped"):
        stop_turn(store, ADMIN, project.id, 1)
    assert start_turn(store, ADMIN, project.id, plan).parent is None


def test_two_servers_begin_a_stage_once(store: Store, project: Project, plan: dict[str, Any]) -> None:
    start_turn(store, ADMIN, project.id, plan | {"auto": True})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: advance(store, ADMIN, project.id), range(8)))
    assert len(store.jobs.list(ADMIN, project.id)) == 1
    assert store.turns.get(ADMIN, project.id, 1).stage("write").tries == 1


def test_turns_are_a_leads_and_files_and_code_an_admins(
    store: Store, project: Project, plan: dict[str, Any], lead: Actor, annotator: Actor
) -> None:
    with pytest.raises(AccessError):
        start_turn(store, annotator, project.id, plan)
    with pytest.raises(AccessError, match="prompts of a file"):
        start_turn(store, lead, project.id, plan | {"write": {"prompts": "/etc/passwd"}})
    with pytest.raises(AccessError, match="a function or a server"):
        start_turn(
            store,
            lead,
            project.id,
            plan | {"align": {"config": {"audit_reward": ["alignment.simulated_world:gold_rewards"]}}},
        )
    start_turn(store, lead, project.id, plan)
    with pytest.raises(AccessError, match="a file on the server"):
        adopt_stage(store, lead, project.id, 1, "write", "/etc/passwd")
    with pytest.raises(AccessError):
        begin_stage(store, annotator, project.id, 1, "write")


def test_the_worker_goes_on_where_a_turn_cannot_be_read(
    store: Store, project: Project, plan: dict[str, Any], make_project: Callable[..., Project]
) -> None:
    broken = make_project(store, "broken")
    store.turns.add(ADMIN, project.id, {"colour": "blue"})
    start_turn(store, ADMIN, broken.id, plan | {"auto": True})
    assert project.id < broken.id
    advance_all(store)
    assert states(store, project) == ["waiting"] * 6
    assert states(store, broken)[0] == "running"


def test_the_first_turn_takes_what_the_project_has(
    store: Store, project: Project, toy_policies: tuple[Path, Path]
) -> None:
    with pytest.raises(ValueError, match="policy is missing: name a run"):
        start_turn(store, ADMIN, project.id)
    config = make_config("sft", {"model": str(toy_policies[0])})
    training_jobs.start(store, ADMIN, TrainingPlan(project=project.name, config=config))
    job = end_job(store)
    model = Path(job.run_dir) / "model"
    (model / "config.json").write_text("{}")
    (model / "status.json").write_text('{"state": "done"}')
    turn = start_turn(store, ADMIN, project.id)
    assert turn.plan["policy"] == str(model.resolve())
    assert turn.plan["learn"]["config"] == {"model": "tfidf"}


@pytest.mark.parametrize("people", [True, False])
def test_judges_judge_beside_people_or_instead(
    store: Store, project: Project, plan: dict[str, Any], people: bool
) -> None:
    judged_by = {"overlap": 1, "judges": ["rule"], "people": people}
    with pytest.raises(ValueError, match="rule"):
        start_turn(store, ADMIN, project.id, plan | {"judge": judged_by})
    store.judges.add(ADMIN, project.id, "rule", JudgeSpec(kind="function", target="json:loads"))
    if not people:
        with pytest.raises(ValueError, match="judges count under dawid_skene alone"):
            start_turn(store, ADMIN, project.id, plan | {"judge": judged_by})
    store.projects.update(ADMIN, project.id, design=replace(project.design, rule="dawid_skene"))
    start_turn(store, ADMIN, project.id, plan | {"judge": judged_by})
    turn_until(store, project, plan, "choose")
    record = begin_stage(store, ADMIN, project.id, 1, "judge")
    assert (record.state, record.result["num_pairs"]) == ("running", 2)
    job = end_job(store)
    assert (job.kind, record.result["jobs"]) == ("judge", [job.id])
    vote = JudgeVote(comparison_id="p1-0", rubric_version=1, choice="a", strength=1)
    store.judges.add_votes(store.judges.get(ADMIN, project.id, "rule").id, [vote])
    advance(store, ADMIN, project.id)
    record = store.turns.get(ADMIN, project.id, 1).stage("judge")
    assert (record.state, record.result["num_judge_votes"]) == ("people" if people else "done", 1)
    if people:
        judge(store, project, "p1-0", "p1-1")
        advance(store, ADMIN, project.id)
    begin_stage(store, ADMIN, project.id, 1, "learn")
    learn = read_training_plan((Path(end_job(store).run_dir) / "training.yaml").read_text())
    assert isinstance(learn, TrainingPlan)
    assert (learn.judges, learn.min_votes) == (((), 1) if people else (("rule",), 0))
    assert (learn.on_policy, learn.newest) == (("p1-0",), ("p1-1",))
