"""Reading a whole project back is one step: a failure or the end of the process leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from annotate_app.access import Actor
from annotate_app.design import Design
from annotate_app.importing_projects import import_project
from annotate_app.store import tables
from annotate_app.store.comparisons import Gold
from annotate_app.store.judgments import Decision
from annotate_app.store.projects import Project
from annotate_app.store.store import Store
from annotate_app.whole_project import export_project
from rewardkit.data import Judgment

ADMIN = Actor.command_line()


@pytest.fixture
def exported(store: Store, make_project: Callable[..., Project], tmp_path: Path) -> Path:
    """An export with a judgment, a gold answer, a priority and a decision, of the project `home` of `store`."""
    project = make_project(store, "home", design=Design(overlap=2, policy="priority"))
    vote = Judgment(comparison_id="c0", annotator="bea", choice="a", strength=2)
    store.judgments.import_many(ADMIN, project.id, [vote])
    store.comparisons.set_gold(ADMIN, project.id, "c4", Gold(choice="b"))
    store.comparisons.set_priorities(ADMIN, project.id, {"c1": 1.5})
    store.comparisons.set_overlap(ADMIN, project.id, "c2", 4)
    store.judgments.adjudicate(ADMIN, project.id, "c0", Decision(choice="b", strength=1))
    export_project(store, ADMIN, project.id, tmp_path / "home.zip")
    return tmp_path / "home.zip"


def row_counts(store: Store) -> dict[str, int]:
    """Of every table; a project that is read back adds to most of them."""
    with store.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }


@pytest.mark.parametrize("step", ["create", "set_priorities", "set_gold", "import_many", "adjudicate"])
def test_a_failure_at_any_step_leaves_nothing(
    store: Store, exported: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = row_counts(store)
    room = next(room for room in (store.projects, store.comparisons, store.judgments) if hasattr(room, step))
    real = getattr(room, step)

    def fail(*arguments: object, **named: object) -> None:
        real(*arguments, **named)
        raise OSError("no space left")

    monkeypatch.setattr(room, step, fail)
    with pytest.raises(OSError, match="no space left"):
        import_project(store, ADMIN, exported, "away")
    assert row_counts(store) == before
    monkeypatch.undo()
    assert import_project(store, ADMIN, exported, "away").num_comparisons == 5
    assert store.check() == []


def test_the_end_of_the_process_leaves_nothing(store: Store, exported: Path, database_url: str) -> None:
    before = row_counts(store)
    script = (
        "import os, sys\n"
        "from annotate_app.access import Actor\n"
        "from annotate_app.importing_projects import import_project\n"
        "from annotate_app.store.store import Store\n"
        "store = Store.open(sys.argv[1], migrate=False)\n"
        "store.judgments.adjudicate = lambda *_: os.kill(os.getpid(), 9)\n"
        "import_project(store, Actor.command_line(), sys.argv[2], 'away')\n"
    )
    command = [sys.executable, "-c", script, database_url, str(exported)]
    assert subprocess.run(command, env=os.environ, check=False).returncode == -signal.SIGKILL
    assert row_counts(store) == before
    assert store.check() == []
    assert import_project(store, ADMIN, exported, "away").num_judgments == 1


def test_overlap_and_priority_come_back(store: Store, exported: Path) -> None:
    made = import_project(store, ADMIN, exported, "away")
    found = {each.comparison.id: each for each in store.browsing.find(ADMIN, made.project.id)}
    assert [found[key].overlap for key in ("c1", "c2")] == [None, 4]
    assert [found[key].priority for key in ("c1", "c2")] == [1.5, 0.0]
