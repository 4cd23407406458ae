"""`runs`: listing, showing, naming and filing trainings from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from toy_plans import training_plan

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.training_jobs import start

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
