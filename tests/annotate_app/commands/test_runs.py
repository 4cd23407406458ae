"""`runs`: listing, showing, naming and filing trainings from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_plans import training_plan
from toy_scores import make_words_run

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.training_jobs import start
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(sqlite_url: str, make_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a project `p` with the waiting runs 1 and 2: `run("runs", "name", "p", "1", "x")`."""
    store = Store.open(sqlite_url)
    make_project(store, "p")
    for seed in (1, 2):
        start(store, ADMIN, training_plan(model="tfidf", mode="head", seed=seed))
    store.close()

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*words, "--db", sqlite_url])
        return code, *capsys.readouterr()

    return run


def numbers(out: str) -> list[int]:
    return [one["number"] for one in json.loads(out)["runs"]]


def test_runs_are_named_tagged_noted_archived_and_found(run: Run) -> None:
    code, out, _ = run("runs", "name", "p", "1", "First try")
    assert (code, out) == (0, "1: First try\n")
    assert run("runs", "tag", "p", "1", "b", "a")[1] == "1: First try [a, b]\n"
    assert run("runs", "untag", "p", "1", "b", "z")[1] == "1: First try [a]\n"
    code, out, _ = run("runs", "note", "p", "1", "*Why*", "--json")
    values = json.loads(out)
    assert (values["name"], values["note"], values["tags"], values["state"]) == ("First try", "*Why*", ["a"], "queued")
    assert numbers(run("runs", "list", "p", "--json")[1]) == [2, 1]
    assert numbers(run("runs", "list", "p", "--tag", "a", "--json")[1]) == [1]
    assert numbers(run("runs", "list", "p", "--text", "WHY first", "--json")[1]) == [1]
    assert numbers(run("runs", "list", "p", "--state", "done", "--json")[1]) == []
    assert run("runs", "archive", "p", "1")[1] == "1: First try [a], archived\n"
    assert numbers(run("runs", "list", "p", "--json")[1]) == [2]
    assert numbers(run("runs", "list", "p", "--archived", "--json")[1]) == [2, 1]
    assert run("runs", "archive", "p", "1", "--undo")[1] == "1: First try [a]\n"
    assert "First try" in run("runs", "list", "p")[1]
    assert "\n*Why*\n" in run("runs", "show", "p", "1")[1]


def test_the_configuration_of_a_run_can_be_read_and_repeated(run: Run) -> None:
    code, out, _ = run("runs", "config", "p", "2")
    assert code == 0
    assert "seed: 2  # default: 0" in out
    values = json.loads(run("runs", "config", "p", "2", "--json")[1])
    assert values["command"].startswith("rewardkit train --model=tfidf --out=again ")
    assert (values["seed"], values["options"]["mode"]) == (2, "head")


@pytest.mark.parametrize("words", [("show", "p", "9"), ("config", "p", "9"), ("name", "p", "9", "x")])
def test_a_run_that_is_not_there_is_named_with_those_that_are(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run("runs", *words)
    assert code == 2
    assert err == f"annotate-app runs {words[0]}: run is 9, the project's are 2, 1\n"


def test_a_name_that_is_too_long_changes_nothing(run: Run) -> None:
    code, _, err = run("runs", "name", "p", "1", "x" * 200)
    assert (code, "has 200 characters, allowed are 120" in err) == (2, True)
    assert json.loads(run("runs", "show", "p", "1", "--json")[1])["name"] == ""


@pytest.fixture
def models(sqlite_url: str, make_project: Callable[..., Project], tmp_path: Path, capsys) -> Run:
    """Runs a command on a project `p` of 60 judged pairs with the reward models 1 and 2, which counted words."""
    store = Store.open(sqlite_url)
    project = make_project(store, "p", num_comparisons=60)
    for seed in (1, 2):
        make_words_run(store, project, tmp_path / f"run-{seed}", seed=seed)
    votes = [
        Judgment(
            comparison_id=f"c{number}",
            annotator=name,
            choice="a" if number % 3 else "b",
            strength=1,
            criteria={"tone": -1 if number % 2 else 1},
        )
        for number in range(60)
        for name in "uv"
    ]
    store.judgments.import_many(ADMIN, project.id, votes)
    store.close()

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*words, "--db", sqlite_url])
        return code, *capsys.readouterr()

    return run


def test_reward_models_are_compared_on_pairs_that_none_learned_from(models: Run) -> None:
    assert json.loads(models("runs", "score", "p", "1", "--json")[1]) == {"scored": {"1": 60}}
    code, out, err = models("runs", "compare", "p", "1", "2", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["num_pairs"], found["num_learned"], found["num_prompts"]) == (58, 2, 29)
    assert [one["run"] for one in found["figures"]] == [1, 2]
    [difference] = found["differences"]
    accuracies = [one["accuracy"]["value"] for one in found["figures"]]
    assert difference["accuracy"]["value"] == pytest.approx(accuracies[1] - accuracies[0])
    text = models("runs", "compare", "p", "1", "2", "--by", "tone")[1]
    assert "58 pairs of 29 prompts that none learned from, 58 decided; 2 that some learned from are left out" in text
    assert "run 2 minus run 1" in text
    assert "McNemar p = " in text


def test_pairs_on_which_a_model_and_people_differ_are_listed(models: Run) -> None:
    code, out, _ = models("runs", "differ", "p", "1", "--limit", "3", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["num_pairs"], found["num_unscored"], len(found["rows"])) == (60, 0, 3)
    assert all((row["p"] - 0.5) * (row["share"] - 0.5) < 0 for row in found["rows"])
    held_out = json.loads(models("runs", "differ", "p", "1", "--held-out", "--json")[1])
    assert held_out["num_pairs"] == 58
    assert "differs from people on " in models("runs", "differ", "p", "1", "--length", "longer")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare", "p", "1"), "runs are [1], allowed are 2 or more"),
        (("compare", "p", "1", "9"), "run is 9, the project's are 2, 1"),
        (("differ", "p", "1", "--by", "speed"), "criterion is 'speed', people judged by tone"),
        (("differ", "p", "1", "--sure", "2"), "sure is 2.0, allowed is 0.5 to 1"),
    ],
)
def test_what_cannot_be_compared_is_said(models: Run, words: tuple[str, ...], message: str) -> None:
    code, _, err = models("runs", *words)
    assert (code, err) == (2, f"annotate-app runs {words[0]}: {message}\n")


def test_a_run_without_a_reward_model_is_not_scored(run: Run) -> None:
    code, _, err = run("runs", "score", "p", "1")
    assert (code, err) == (2, "annotate-app runs score: run 1 has no reward model: it is a reward run, queued\n")
