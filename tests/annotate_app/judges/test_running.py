"""A judge asked over a project: what is asked, what is kept, where it stops, and whom it leaves alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge_endpoint import Behaviour, Reply, answers_of, by_length, said, serve

from alignment.judges.spec import JudgeSpec
from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.judges.jobs import KEYS, start
from annotate_app.judges.running import RunOptions, RunResult, estimate, plan_run, run
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()
RUBRIC = """\
title: Which reply helps more?
guidelines: Prefer the one that solves the problem.
scale: {steps: 7}
both_bad: true
criteria:
  - {name: kind, question: "Which is kinder?"}
  - {name: clear, question: "How clear is it?", kind: rate, low: 1, high: 5}
flags:
  - {name: unsafe, label: unsafe, help: It does harm.}
"""


@pytest.fixture
def project(sqlite_store: Store, make_project: Callable[..., Project]) -> Project:
    return make_project(sqlite_store, num_comparisons=6, rubric_text=RUBRIC, design=Design(overlap=2))


def add(store: Store, project: Project, url: str, name: str = "judge", **differing: Any) -> None:
    values = {"kind": "endpoint", "target": url, "model": "m", "concurrency": 2, "timeout_s": 5.0} | differing
    store.judges.add(ADMIN, project.id, name, JudgeSpec(**values))


def judged(store: Store, project: Project, name: str = "judge", **options: Any) -> RunResult:
    chosen = RunOptions(**options)
    return run(store, plan_run(store, ADMIN, project, name, chosen), max_cost=chosen.max_cost)


def test_a_judge_reads_the_rubric_and_votes_about_content(sqlite_store: Store, project: Project) -> None:
    def whole(body: dict[str, Any], number: int) -> Reply:
        first, second = answers_of(body)
        better = "A" if len(first) > len(second) else "B"
        ratings = [5, 2] if better == "A" else [2, 5]
        return said(json.dumps({"criteria": {"kind": better, "clear": ratings}, "overall": better, "strength": 3}))

    with serve(whole) as endpoint:
        add(sqlite_store, project, endpoint.url)
        result = judged(sqlite_store, project)
    assert (result.num_kept, result.num_answers, result.stopped) == (12, 12, "")
    text = endpoint.bodies[0]["messages"][0]["content"]
    for words in ("solves the problem", "B: answer B is better", "X: both are bad", "3 much better", "kinder?"):
        assert words in text
    assert "unsafe: It does harm." in text
    assert "polite model" not in text  # who wrote the answers is not told
    votes = sqlite_store.judges.votes(ADMIN, project.id)
    assert {(vote.choice, vote.strength, vote.criteria["kind"], vote.criteria["clear"]) for vote in votes} == {
        ("b", 3, 1, (2, 5))
    }
    assert sorted((vote.comparison_id, vote.shown_first) for vote in votes) == [
        (f"c{number}", side) for number in range(6) for side in "ab"
    ]
    assert {vote.rubric_version for vote in votes} == {1}


def test_what_is_asked_is_not_asked_again_but_a_new_rubric_is(sqlite_store: Store, project: Project) -> None:
    with serve(by_length) as endpoint:
        add(sqlite_store, project, endpoint.url)
        assert judged(sqlite_store, project, max_comparisons=2).num_kept == 4
        assert judged(sqlite_store, project, keys=["c1", "c5"]).num_kept == 2
        rest = judged(sqlite_store, project)
        assert (rest.num_kept, rest.num_asked_before) == (6, 6)
        assert judged(sqlite_store, project).num_answers == 0
        assert len(endpoint.bodies) == 12
        sqlite_store.projects.save_rubric(ADMIN, project.id, RUBRIC.replace("solves", "really solves"))
        assert judged(sqlite_store, project).num_kept == 12
    with pytest.raises(ValueError, match="the project has no comparison 'c9'"):
        judged(sqlite_store, project, keys=["c9"])


def test_one_order_is_by_chance_and_the_same_again(sqlite_store: Store, project: Project) -> None:
    with serve(by_length) as endpoint:
        add(sqlite_store, project, endpoint.url, both_orders=False)
        assert judged(sqlite_store, project).num_kept == 6
        assert judged(sqlite_store, project).num_answers == 0
    assert {vote.shown_first for vote in sqlite_store.judges.votes(ADMIN, project.id)} == {"a", "b"}


def test_one_that_stops_answering_keeps_what_it_said_and_goes_on_later(sqlite_store: Store, project: Project) -> None:
    well = True

    def sometimes(body: dict[str, Any], number: int) -> Reply:
        return by_length(body, number) if number < 5 or well else Reply(status=401, body=b"no more credit")

    with serve(sometimes) as endpoint:
        add(sqlite_store, project, endpoint.url, concurrency=1)
        well = False
        result = judged(sqlite_store, project)
        assert (result.num_kept, result.failed) == (5, True)
        assert "HTTP status 401: 'no more credit'" in result.stopped
        assert len(sqlite_store.judges.votes(ADMIN, project.id)) == 5
        well = True
        assert judged(sqlite_store, project).num_kept == 7


def test_what_is_unanswered_is_asked_another_time(sqlite_store: Store, project: Project) -> None:
    sick = True

    def nearly(body: dict[str, Any], number: int) -> Reply:
        if sick and "(4)" in answers_of(body)[0]:
            return Reply(status=429, headers={"Retry-After": "0"})
        return by_length(body, number)

    with serve(nearly) as endpoint:
        add(sqlite_store, project, endpoint.url)
        result = judged(sqlite_store, project)
        assert (result.num_kept, result.num_unanswered, result.failed) == (10, 2, False)
        assert result.unanswered == "no answer after 5 tries, the last: HTTP status 429: ''"
        sick = False
        assert judged(sqlite_store, project).num_kept == 2


def test_no_more_is_spent_than_allowed_and_nearly_all_of_it(sqlite_store: Store, project: Project) -> None:
    expensive = {"prompt_tokens": 400, "completion_tokens": 100}
    with serve(lambda *_: said('{"overall": "A"}', usage=expensive)) as endpoint:
        prices = {"prompt_price": 1000.0, "completion_price": 1000.0, "max_new_tokens": 100}
        add(sqlite_store, project, endpoint.url, concurrency=4, **prices)  # half a coin an answer
        result = judged(sqlite_store, project, max_cost=3.6)
    assert result.cost <= 3.6
    assert result.num_kept in (5, 6, 7)  # the last one might have cost more than was left
    assert result.stopped == "the next answer might cost more than what is left of max_cost 3.6"
    assert not result.failed
    add(sqlite_store, project, endpoint.url, "free")
    with pytest.raises(ValueError, match="the judge free has no prices"):
        judged(sqlite_store, project, "free", max_cost=1.0)


def test_what_it_will_cost_is_said_before(sqlite_store: Store, project: Project) -> None:
    with serve(by_length) as endpoint:
        add(sqlite_store, project, endpoint.url, completion_price=10.0, max_new_tokens=200, requests_per_minute=600)
        plan = plan_run(sqlite_store, ADMIN, project, "judge", RunOptions())
        before = estimate(sqlite_store, ADMIN, plan)
        assert endpoint.bodies == []
        assert (before.num_comparisons, before.num_answers, before.num_requests) == (6, 12, 12)
        assert before.completion_tokens == 12 * 200
        assert before.cost == pytest.approx(12 * 200 * 10 / 1e6)
        assert (before.seconds, before.measured) == (pytest.approx(1.2), False)
        judged(sqlite_store, project, max_comparisons=3)
        plan = plan_run(sqlite_store, ADMIN, project, "judge", RunOptions())
        after = estimate(sqlite_store, ADMIN, plan)
        assert (after.num_answers, after.completion_tokens, after.measured) == (6, 60, True)


def test_a_debate_is_added_as_typed_paid_for_and_kept(
    sqlite_store: Store,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TIEBREAK_DB", sqlite_store.database.url)
    name = "support desk"
    with serve(by_length) as judge, serve(lambda *_: said("It helps.")) as debater:
        file = tmp_path / "debater.yaml"
        file.write_text(
            f"{{kind: endpoint, target: '{debater.url}', model: d, completion_price: 1000, max_new_tokens: 40}}"
        )
        words = ["--endpoint", judge.url, "--model", "m", "--debate-rounds", "2", "--debater", str(file)]
        assert main(["judge", "add", name, "heard", *words]) == 0
        assert "2 rounds of debate by d at " in capsys.readouterr().out
        assert main(["judge", "run", name, "heard", "--dry-run", "--json"]) == 0
        cost = json.loads(capsys.readouterr().out)
        assert (cost["num_answers"], cost["num_requests"]) == (12, 12 * 5)
        assert cost["completion_tokens"] == 12 * (512 + 4 * 40)
        assert cost["cost"] == pytest.approx(12 * 4 * 40 * 1000 / 1e6)
        # A question with its debate costs 0.16 at most, and 0.04 in truth: ten tokens an argument.
        assert main(["judge", "run", name, "heard", "--max-cost", "0.4", "--json"]) == 0
        capsys.readouterr()
        assert 2 <= len(judge.bodies) < 12
        assert main(["judge", "run", name, "heard", "--json"]) == 0
        assert len(judge.bodies) == 12
        assert len(debater.bodies) == 12 * 4
    votes = sqlite_store.judges.votes(ADMIN, project.id)
    assert len(votes) == 12
    for vote in votes:
        assert vote.raw.count("It helps.") == 4
        assert vote.usage["cost"] == pytest.approx(4 * 10 * 1000 / 1e6)


def settle(store: Store, project: Project, choices: dict[str, str]) -> None:
    for key, choice in choices.items():
        strength = 2 if choice in ("a", "b") else 0
        decision = Decision(choice=choice, strength=strength, rationale=f"because of {key}")  # type: ignore[arg-type]
        store.judgments.adjudicate(ADMIN, project.id, key, decision)


def test_people_teach_by_examples_on_which_the_judge_is_never_tested(sqlite_store: Store, project: Project) -> None:
    settle(sqlite_store, project, {"c0": "b", "c1": "a", "c2": "b", "c3": "b"})
    with serve(by_length) as endpoint:
        add(sqlite_store, project, endpoint.url)
        judged(sqlite_store, project)  # it always says b, so that c1 is its mistake
        endpoint.bodies.clear()
        result = judged(sqlite_store, project, examples=2, seed=3)
        assert result.num_kept == 8  # four pairs are left
        judge = sqlite_store.judges.get(ADMIN, project.id, "judge")
        ((name, shown),) = judge.example_sets.items()
        assert shown.keys[0] == "c1"
        assert "They say: A (answer A is better), better. because of c1" in endpoint.bodies[0]["messages"][0]["content"]
        votes = [vote for vote in sqlite_store.judges.votes(ADMIN, project.id) if vote.examples == name]
        assert {vote.comparison_id for vote in votes} == {f"c{number}" for number in range(6)} - set(shown.keys)
        # More is settled: a run of the same number and seed goes on with the same examples.
        settle(sqlite_store, project, {"c4": "a", "c5": "a"})
        assert judged(sqlite_store, project, examples=2, seed=3).num_answers == 0
        assert judged(sqlite_store, project, examples=2, seed=4).num_kept == 8
        assert len(sqlite_store.judges.get(ADMIN, project.id, "judge").example_sets) == 2
    with pytest.raises(ValueError, match="examples is 9, but only 6 comparisons are settled"):
        judged(sqlite_store, project, examples=9)


def figures(capsys: pytest.CaptureFixture[str], folder: Path) -> list[str]:
    """Everything about people that a command says, and what an export holds."""
    said = []
    for words in ("agreement", "aggregate", "quality", "leaderboard", "winrate"):
        assert main([words, "support desk", "--json"]) == 0
        said.append(capsys.readouterr().out)
    assert main(["project", "show", "support desk", "--json"]) == 0
    said.append(capsys.readouterr().out)
    for form in ("preference", "judgments"):
        out = folder / form
        assert main(["export", "support desk", "--form", form, "--out", str(out), "--overwrite"]) == 0
        said += [path.read_text() for path in sorted(out.rglob("*.jsonl"))]
    capsys.readouterr()
    return said


def test_votes_of_judges_change_no_figure_about_people(
    sqlite_store: Store,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TIEBREAK_DB", sqlite_store.database.url)
    votes = [
        Judgment(comparison_id=f"c{number}", annotator=name, choice=choice, strength=0 if choice == "tie" else 2)  # type: ignore[arg-type]
        for number in range(5)
        for name, choice in (("ann", "a"), ("bob", "ab"[number % 2]), ("cyd", "tie"))
    ]
    sqlite_store.judgments.import_many(ADMIN, project.id, votes)
    before = figures(capsys, tmp_path)
    with serve(by_length) as endpoint:
        add(sqlite_store, project, endpoint.url)
        assert main(["judge", "run", "support desk", "judge"]) == 0
    assert len(sqlite_store.judges.votes(ADMIN, project.id)) == 12
    capsys.readouterr()
    assert len(before) >= 8
    assert figures(capsys, tmp_path) == before


def test_a_job_runs_the_command_over_the_comparisons_named(sqlite_store: Store, project: Project) -> None:
    with serve(by_length) as endpoint:
        add(sqlite_store, project, endpoint.url, key_variable="JUDGE_KEY")
        job = start(sqlite_store, ADMIN, project.id, "judge", comparisons=["c1", "c3"], max_comparisons=5)
        assert job.command == [
            *("annotate_app", "judge", "run", str(project.id), "judge"),
            *("--comparisons", KEYS, "--max-comparisons", "5"),
        ]
        with pytest.raises(ValueError, match=r"a run of judge waits or goes on already \(job 1\)"):
            start(sqlite_store, ADMIN, project.id, "judge")
        environment = os.environ | {
            "TIEBREAK_DB": sqlite_store.database.url, "TIEBREAK_RUN_DIR": job.run_dir, "JUDGE_KEY": "sk-4711",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", *job.command], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "4 answers kept" in done.stdout
    assert {vote.comparison_id for vote in sqlite_store.judges.votes(ADMIN, project.id)} == {"c1", "c3"}
    progress = json.loads((Path(job.run_dir) / "progress.json").read_text())
    assert progress == {"done": 4, "total": 4, "what": "answers"}
    stored = Path(sqlite_store.database.url.removeprefix("sqlite:///")).read_bytes()
    files = b"".join(path.read_bytes() for path in Path(job.run_dir).iterdir())
    assert b"sk-4711" not in stored + files + done.stdout.encode() + done.stderr.encode()


def test_a_stopped_run_keeps_what_is_under_way(sqlite_store: Store, project: Project) -> None:
    def slow(body: dict[str, Any], number: int) -> Reply:
        time.sleep(0.3)
        return by_length(body, number)

    with serve(slow) as endpoint:
        add(sqlite_store, project, endpoint.url, concurrency=1)
        words = [sys.executable, "-m", "annotate_app", "judge", "run", str(project.id), "judge", "--json"]
        command = subprocess.Popen(
            words, env=os.environ | {"TIEBREAK_DB": sqlite_store.database.url}, stdout=subprocess.PIPE, text=True
        )
        while len(endpoint.bodies) < 2:
            time.sleep(0.02)
        command.send_signal(signal.SIGTERM)
        out, _ = command.communicate(timeout=30)
    said = json.loads(out)
    assert command.returncode == 0
    assert said["stopped"] == "stopped as asked"
    assert 1 <= said["num_kept"] <= 5
    assert len(sqlite_store.judges.votes(ADMIN, project.id)) == said["num_kept"] == len(endpoint.bodies)


BAD: list[tuple[Behaviour, str]] = [
    (lambda *_: said("Hm."), "unreadable"),
    (lambda *_: said(None, refusal="No"), "refused"),
]


@pytest.mark.parametrize(("behaviour", "choice"), BAD)
def test_nonsense_and_refusals_are_kept_and_not_asked_again(
    sqlite_store: Store, project: Project, behaviour: Behaviour, choice: str
) -> None:
    with serve(behaviour) as endpoint:
        add(sqlite_store, project, endpoint.url)
        result = judged(sqlite_store, project)
        assert judged(sqlite_store, project).num_answers == 0
    assert {"unreadable": result.num_unreadable, "refused": result.num_refused}[choice] == 12
    assert {vote.choice for vote in sqlite_store.judges.votes(ADMIN, project.id)} == {choice}


def test_judges_as_they_are_typed(
    sqlite_store: Store,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TIEBREAK_DB", sqlite_store.database.url)
    name = "support desk"
    with serve(by_length) as endpoint:
        words = ["judge", "add", name, "gpt", "--endpoint", endpoint.url, "--model", "m", "--json"]
        assert main(words) == 0
        assert json.loads(capsys.readouterr().out)["spec"]["target"] == endpoint.url
        assert main(words) == 2
        assert main(["judge", "run", name, "gpt", "--dry-run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_answers"] == 12
        assert main(["judge", "run", name, "gpt", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_kept"] == 12
    assert main(["judge", "votes", name, "--out", str(tmp_path / "votes.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_rows"] == 12
    assert main(["judge", "votes", name, "--out", str(tmp_path / "votes.jsonl")]) == 2
    assert main(["judge", "remove", name, "gpt"]) == 0
    capsys.readouterr()
    assert main(["judge", "list", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["judge", "run", name, "gpt"]) == 2
    assert "the judge gpt is put away" in capsys.readouterr().err
    for bad, problem in (
        ([], "name one of --endpoint, --local, --reward, --function, 0 are given"),
        (["--local", "x", "--reward", "y"], "2 are given"),
        (["--function", "nowhere.py:f"], "there is no file nowhere.py"),
        (["--endpoint", "http://h/v1", "--model", "m", "--key-variable", "sk-1"], "a key itself is never stored"),
    ):
        assert main(["judge", "add", name, "other", *bad]) == 2
        assert problem in capsys.readouterr().err
