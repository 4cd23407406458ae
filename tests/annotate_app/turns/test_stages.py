"""Stages as real jobs on toys: candidates, pairs, people, a reward model; simulated people; what it will cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.jobs.worker import keep
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.runs import get_run
from annotate_app.turns.stages.cost import estimate
from annotate_app.turns.stages.simulated_people import create_world, gold_of_project, judge_open
from annotate_app.turns.stages.trainings import measured_pairs
from annotate_app.turns.stages.wheel import advance, begin_stage, start_turn
from rewardkit.data.files import read_rows

ADMIN = Actor.command_line()


def carried_out(store: Store, project: Project) -> None:
    """Does what the worker does with the job that waits, and brings the turn up to date."""
    job = store.jobs.claim()
    assert job is not None
    keep(store, job.id)
    ended = store.jobs.get(ADMIN, job.id)
    assert ended.state == "done", (Path(job.run_dir) / "log.txt").read_text()
    advance(store, ADMIN, project.id)


@pytest.fixture
def world(sqlite_store: Store) -> Project:
    """A small simulated world, half judged."""
    project = create_world(sqlite_store, ADMIN, "world", num_prompts=40)
    keys = [comparison.id for comparison in sqlite_store.comparisons.iterate(ADMIN, project.id)]
    assert judge_open(sqlite_store, ADMIN, project.id, keys[:30], seed=1) == 30
    return project


@pytest.mark.slow
def test_candidates_become_pairs_votes_and_a_reward_model_measured_on_pairs_that_it_never_saw(
    sqlite_store: Store, world: Project, toy_policies: tuple[Path, Path]
) -> None:
    plan = {
        "policy": str(toy_policies[0]),
        "write": {"num_prompts": 12, "candidates": 3, "max_new_tokens": 12},
        "choose": {"num_pairs": 16, "random_share": 0.25, "cut": "keep", "rule": "coverage"},
        "judge": {"overlap": 1},
    }
    turn = start_turn(sqlite_store, ADMIN, world.id, plan)
    cost = estimate(sqlite_store, ADMIN, turn, "write")
    assert (cost.tokens, cost.seconds, cost.judgments) == (12 * 3 * 12, None, 0)
    begin_stage(sqlite_store, ADMIN, world.id, 1, "write")
    carried_out(sqlite_store, world)
    write = sqlite_store.turns.get(ADMIN, world.id, 1).stage("write").result
    assert (write["num_prompts"], write["num_candidates"]) == (12, 36)
    assert {answer["model"] for _, row in read_rows(write["file"]) for answer in row["responses"]} == {"one"}
    assert write["first"] == {"name": "one", "model": str(toy_policies[0])}
    begin_stage(sqlite_store, ADMIN, world.id, 1, "choose")
    carried_out(sqlite_store, world)
    chosen = sqlite_store.turns.get(ADMIN, world.id, 1).stage("choose").result
    assert chosen["by_rule"] == {"coverage": 12, "random": 4}
    pairs = sqlite_store.turns.pairs(ADMIN, turn.id)
    assert [pair.num_wanted for pair in pairs] == [1] * 16
    assert sqlite_store.comparisons.get(ADMIN, world.id, pairs[0].key).meta["turn"] == 1
    judge_cost = estimate(sqlite_store, ADMIN, turn, "judge")
    assert judge_cost.judgments == 16
    assert "the project's median" in judge_cost.words
    begin_stage(sqlite_store, ADMIN, world.id, 1, "judge")
    assert judge_open(sqlite_store, ADMIN, world.id, [pair.key for pair in pairs], seed=2) == 16
    advance(sqlite_store, ADMIN, world.id)
    assert sqlite_store.turns.get(ADMIN, world.id, 1).stage("judge").result["num_judged"] == 16
    record = begin_stage(sqlite_store, ADMIN, world.id, 1, "learn")
    carried_out(sqlite_store, world)
    run = get_run(sqlite_store, ADMIN, record.job_id or 0)
    measured = {row["comparison_id"] for _, row in read_rows(str(run.folder / "data" / "on_policy.jsonl"))}
    learned = {
        row["comparison_id"]
        for split in ("train", "validation", "test")
        for _, row in read_rows(str(run.folder / "data" / f"{split}.jsonl"))
    }
    by_chance = {pair.key for pair in pairs if pair.rule == "random"}
    assert measured <= by_chance
    assert measured
    assert not measured & learned
    assert {pair.key for pair in pairs if pair.rule != "random"} & learned
    learn = sqlite_store.turns.get(ADMIN, world.id, 1).stage("learn").result
    assert learn["run"] == record.job_id
    assert learn["after"]["num_pairs"] == len(measured)
    assert "before" not in learn  # there was no model before
    assert sqlite_store.check() == []


def test_the_random_share_is_measured_on_and_the_rest_of_random_pairs_learned_from() -> None:
    rules = {f"k{number}": "random" for number in range(10)}
    measured = measured_pairs(rules, 0.2)
    assert len(measured) == 2
    assert measured_pairs(rules | {"x": "epig"}, 0.2) == measured  # by ids alone
    assert measured_pairs({"x": "epig"}, 0.2) == ()
    assert measured_pairs({"x": "epig", "y": "random"}, 0.1) == ("y",)


def test_simulated_people_judge_known_worlds_only(
    sqlite_store: Store, world: Project, make_project: Callable[..., Project]
) -> None:
    gold = gold_of_project(sqlite_store, ADMIN, world.id)
    assert gold is not None
    first = next(sqlite_store.comparisons.iterate(ADMIN, world.id))
    assert gold(first.prompt, "That is not our problem.") == -0.8
    other = make_project(sqlite_store, "real")
    assert gold_of_project(sqlite_store, ADMIN, other.id) is None
    with pytest.raises(ValueError, match="simulated annotators judge simulated projects"):
        judge_open(sqlite_store, ADMIN, other.id, ["c0"], seed=1)
    assert sqlite_store.judgments.votes(ADMIN, world.id).annotators  # and what they said is stored as theirs
    names = {member.name for member in sqlite_store.projects.members(ADMIN, world.id)}
    assert set(sqlite_store.judgments.votes(ADMIN, world.id).annotators) <= names


def test_the_commands_say_how_a_turn_stands(
    sqlite_store: Store, world: Project, toy_policies: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        code = main(["loop", words[0], "world", *words[1:], "--db", sqlite_store.database.url])
        out, err = capsys.readouterr()
        return out if code == 0 else f"{code}: {err.strip()}"

    assert said("status").startswith("2: annotate-app loop status: world has no turns")
    assert said("next").startswith("2: annotate-app loop next: world has no turns")
    assert "2: annotate-app loop start: policy is missing" in said("start")
    assert "world, turn 1: open" in said("start", "--policy", str(toy_policies[0]))
    assert "write of turn 1 runs as job" in said("next")
    status = json.loads(said("status", "--json"))
    assert (status["number"], status["stages"]["write"]["state"], status["next"]) == (1, "running", None)
    assert "cancelled by command line" in said("cancel", "write")
    assert "write   waiting" in said("redo", "write", "--wait")
    assert "next: write, at most 20,480 tokens written" in said("status")
    assert "2: annotate-app loop skip: write cannot be skipped" in said("skip", "write")
    assert "turn 1: stopped" in said("stop")
    assert json.loads(said("figures", "--json"))[0]["state"] == "stopped"
    assert "turn 0: no votes of the loop behind it" in said("lineage")


@pytest.mark.slow
def test_one_command_turns_the_whole_wheel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "policy: tiny\n"
        "write: {candidates: 2, max_new_tokens: 32, num_prompts: 20}\n"
        "choose: {num_pairs: 30, cut: keep}\n"
        "judge: {overlap: 1}\n"
        "align: {trains: grpo, config: {max_steps: 2, prompts_per_step: 4, completions_per_prompt: 4}}\n"
        "check: {num_prompts: 8, overlap: 1}\n"
    )
    words = ["loop", "run", "small", "--simulate", "--num-prompts", "60", "--plan", str(plan), "--json"]
    assert main([*words, "--db", str(tmp_path / "loop.db")]) == 0
    turn = json.loads(capsys.readouterr().out)
    assert turn["state"] == "done"
    assert {stage["state"] for stage in turn["stages"].values()} == {"done"}
    figures = turn["stages"]["check"]["result"]["figures"]
    assert {"kl", "words", "proxy", "gold"} <= set(figures)
