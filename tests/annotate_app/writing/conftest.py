"""A project with finished runs whose models are stand-ins, and the processes that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from model_stand_ins import write_stand_ins

from annotate_app.access import Actor
from annotate_app.jobs.model_processes import ModelProcesses
from annotate_app.protocol.collection_design import Design
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Message

ADMIN = Actor.command_line()
RUBRIC = "title: Plain\nguidelines: Say which is better.\n"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store with the project `desk`, which has one comparison, `first`."""
    monkeypatch.chdir(tmp_path)
    store = Store.open(f"sqlite:///{tmp_path / 'desk.db'}")
    project = store.projects.create(ADMIN, "desk", rubric_text=RUBRIC, design=Design())
    prompt = (Message(role="system", content="Be kind."), Message(role="user", content="Where is it?"))
    store.comparisons.add(
        ADMIN, project.id, [Comparison(id="first", prompt=prompt, completion_a="Here.", completion_b="There.")]
    )
    yield store
    store.close()


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelProcesses]:
    monkeypatch.setenv("PYTHONPATH", str(write_stand_ins(tmp_path / "code")))
    table = ModelProcesses(idle_s=60)
    yield table
    table.close()
