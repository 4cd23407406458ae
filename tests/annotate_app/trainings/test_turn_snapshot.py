"""The data of a turn's reward model: its random pairs kept apart, older votes thinned out by the replay share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_plans import training_plan

from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.plan_files import read_plan, write_plan
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.trainings.snapshot import SPLITS, take_snapshot
from rewardkit.data.files import read_rows
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()
NUM = 60


@pytest.fixture
def judged(sqlite_store: Store, make_project: Callable[..., Project]) -> Store:
    """A project with c0 to c59, all judged."""
    project = make_project(sqlite_store, num_comparisons=NUM)
    votes = [
        Judgment(comparison_id=f"c{number}", annotator=name, choice="a" if number % 3 else "b", strength=1)
        for number in range(NUM)
        for name in ("ann", "bob")
    ]
    sqlite_store.judgments.import_many(ADMIN, project.id, votes)
    return sqlite_store


def plan_of(**values: Any) -> TrainingPlan:
    return training_plan(project="support desk", model="tfidf", **values)


def keys(folder: Path, *names: str) -> set[str]:
    return {row["comparison_id"] for name in names for _, row in read_rows(str(folder / f"{name}.jsonl"))}


def test_pairs_of_the_turn_that_measure_are_learned_from_by_nobody(judged: Store, tmp_path: Path) -> None:
    measured = ("c1", "c2", "c50")
    take_snapshot(judged, ADMIN, plan_of(on_policy=measured), tmp_path / "data")
    assert keys(tmp_path / "data", "on_policy") == set(measured)
    assert keys(tmp_path / "data", *SPLITS) == {f"c{number}" for number in range(NUM)} - set(measured)


def test_replay_keeps_a_share_of_older_votes_and_all_of_the_turn(judged: Store, tmp_path: Path) -> None:
    newest = tuple(f"c{number}" for number in range(20))
    learned = {}
    for replay in (0.9, 0.5):
        take_snapshot(judged, ADMIN, plan_of(newest=newest, replay=replay, held_out=0.3), tmp_path / str(replay))
        learned[replay] = keys(tmp_path / str(replay), *SPLITS)
        assert set(newest) <= learned[replay]
    assert learned[0.5] < learned[0.9]  # a larger share adds rows
    assert 8 <= len(learned[0.5]) - 20 <= 32  # of 40 older ones, 20 to expect


def test_a_turns_plan_comes_back_from_its_file() -> None:
    plan = plan_of(
        on_policy=("c1",), newest=("c2", "c3"), replay=0.5, before="/models/r5", judges=("gpt",), min_votes=0
    )
    assert read_plan(write_plan(plan)) == plan
    with pytest.raises(ValueError, match=r"replay is 1\.5"):
        plan_of(replay=1.5)
