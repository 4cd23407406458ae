"""Runs as pages see them: what is damaged or gone hides neither itself nor the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from toy_scores import make_words_run

from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.figures import differences, summary_row
from annotate_app.trainings.runs import list_runs

ADMIN = Actor.command_line()


def test_a_damaged_run_and_one_whose_folder_is_gone_are_listed_beside_the_whole_one(
    sqlite_store: Store, make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(sqlite_store, "p")
    whole, torn, gone = (make_words_run(sqlite_store, project, tmp_path / name) for name in ("whole", "torn", "gone"))
    (torn.model / "status.json").write_text('{"state"')
    (torn.folder / "training.yaml").write_text("a: [")
    shutil.rmtree(gone.folder)
    runs = {run.number: run for run in list_runs(sqlite_store, ADMIN, project.id)}
    assert {number: (run.is_scorer, run.status) for number, run in runs.items()} == {
        whole.number: (True, {"state": "done"}),
        torn.number: (False, {}),
        gone.number: (False, {}),
    }
    assert [summary_row(run)["state"] for run in runs.values()] == ["done"] * 3


def test_of_a_run_without_a_plan_no_option_is_said_to_be_the_default(
    sqlite_store: Store, make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(sqlite_store, "p")
    for name in ("one", "two"):
        make_words_run(sqlite_store, project, tmp_path / name)
    (tmp_path / "two" / "training.yaml").unlink()
    two, one = list_runs(sqlite_store, ADMIN, project.id)
    rows = {row["option"]: row for row in differences([one, two])}
    assert (rows["mode"][one.name], rows["mode"][two.name]) == ("head", "not known")
