"""The configuration of a run: what differs from defaults is marked, and the command line says the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from toy_plans import sampling_plan, training_plan

from alignment import __main__ as alignment_main
from annotate_app.access import Actor
from annotate_app.findings.run_config import AGAIN, read_run_config
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.options import TRAININGS, place_config
from annotate_app.trainings.plan_files import Plan
from annotate_app.trainings.runs import find_run
from annotate_app.trainings.training_jobs import _write_config, start
from rewardkit import __main__ as rewardkit_main
from rewardkit.run.command import read_config, with_repeated

ADMIN = Actor.command_line()
LINES = {"rewardkit": rewardkit_main.COMMAND_LINE, "alignment": alignment_main.COMMAND_LINE}


@pytest.fixture
def queue(sqlite_store: Store, make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Queues a plan in a project and gives its run, as a waiting one or with the file of its command."""
    monkeypatch.setattr("annotate_app.trainings.training_jobs.missing_packages", lambda _: [])
    project = make_project(sqlite_store, name="p")

    def queue(plan: Plan, *, begun: bool = True):
        job = start(sqlite_store, ADMIN, plan)
        if begun:
            _write_config(Path(job.run_dir).resolve(), plan.config)
        return find_run(sqlite_store, ADMIN, project.id, job.id)

    return queue


PLANS = [
    training_plan(model="tfidf", mode="head", ensemble=1, seed=3),
    training_plan("dpo", model="/m y/sft", loss="ipo", beta=0.3, lora=True),
    sampling_plan("grpo", reward=["json", "0.5*length:20"], max_steps=4),
]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.trains)
def test_the_command_line_is_the_configuration(queue: Callable, plan: Plan, begun: bool) -> None:
    run = queue(plan, begun=begun)
    config = read_run_config(run)
    package, name, *words = shlex.split(config.command)
    command = TRAININGS[plan.trains]
    assert (package, name) == command.command
    parser = LINES[package].parser(name)
    options = parser.parse_args([name, *with_repeated(words, command.config)])
    assert read_config(command.config, options[name]) == replace(place_config(plan.config, run.folder), out=AGAIN)


def test_the_yaml_is_what_the_command_reads_and_marks_what_differs(queue: Callable) -> None:
    plan = training_plan(model="tfidf", mode="head", seed=3)
    run = queue(plan)
    config = read_run_config(run)
    assert yaml.safe_load(config.yaml) == asdict(place_config(plan.config, run.folder))
    lines = dict(line.partition(":")[::2] for line in config.yaml.splitlines())
    assert lines["seed"] == " 3  # default: 0"
    assert lines["mode"] == " head  # default: null"
    assert lines["model"] == " tfidf  # has no default"
    assert lines["out"].endswith("# set by the app")
    assert lines["patience"] == " 3"
    assert config.seed == 3
    assert config.changed.keys() == {"mode", "seed", "data"}


def test_data_versions_and_place_are_those_of_the_run(queue: Callable) -> None:
    run = queue(training_plan(model="tfidf", mode="head"))
    (run.folder / "data").mkdir()
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        (run.folder / "data" / f"{split}.jsonl").write_text("{}\n" * count)
    (run.folder / "data" / "README.md").write_text("---\nlicense: mit\n---\n# Card\n\nAll of it.\n")
    run.model.mkdir()
    source = {"source": "x", "sha256": {f"{run.folder}/data/train.jsonl": "ab12"}, "num_rows": 3}
    recorded = {"data_hash": "ff", "sources": [source], "train": {"num_rows": 3, "num_prompts": 2}}
    (run.model / "data.json").write_text(json.dumps(recorded))
    (run.model / "rewardkit.json").write_text(json.dumps({"versions": {"torch": "2.13"}}))
    config = read_run_config(run)
    assert config.data == {
        "train": {"num_rows": 3, "sha256": "ab12", "num_prompts": 2},
        "test": {"num_rows": 1},
        "validation": {"num_rows": 2},
    }
    assert (config.data_hash, config.data_card) == ("ff", "# Card\n\nAll of it.")
    assert (config.versions, config.folder) == ({"torch": "2.13"}, str(run.folder))
    assert json.loads(json.dumps(config.values()))["seed"] == 0
