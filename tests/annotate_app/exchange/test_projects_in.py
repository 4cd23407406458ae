"""Reading a whole project back is one step: a failure or the end of the process leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from annotate_app.access import Actor
from annotate_app.exchange.project_out import export_project
from annotate_app.exchange.projects_in import import_project
from annotate_app.exchange.rows.rows_out import Pseudonyms
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables, whole_schema
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment
from rewardkit.data.tables import lines

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
            for table in whole_schema.metadata.sorted_tables
        }


@pytest.mark.parametrize(
    "step", ["create", "set_priorities", "set_gold", "import_members", "import_staged", "adjudicate"]
)
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
        "from annotate_app.exchange.projects_in import import_project\n"
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


def members_of(store: Store, project: Project) -> list[tuple[str, str, str, str]]:
    return [(each.name, each.role, each.group, each.state) for each in store.projects.members(ADMIN, project.id)]


def people_of(store: Store) -> dict[str, tuple[str, str, bool, bool]]:
    return {each.name: (each.role, each.origin, each.active, each.has_password) for each in store.people.list(ADMIN)}


@pytest.fixture
def home(store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]) -> Project:
    """A project for two groups with a lead and two annotators, one of them paused, the other with a judgment."""
    project = make_project(store, "home", design=Design(groups={"crowd": 1, "expert": 1}))
    make_actor(store, "lead", "lea", project)
    make_actor(store, "annotator", "anna", project, "expert")
    paused = make_actor(store, "annotator", "paul", project, "crowd")
    assert paused.user_id is not None
    store.projects.set_member_state(ADMIN, project.id, paused.user_id, "paused")
    store.judgments.import_many(ADMIN, project.id, [Judgment(comparison_id="c0", annotator="anna", choice="tie")])
    return project


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Store]:
    """Another installation."""
    with Store.open(f"sqlite:///{tmp_path / 'away' / 'tiebreak.db'}") as store:
        yield store


def test_members_come_back_under_their_pseudonyms_and_never_sign_in(
    store: Store, home: Project, away: Store, tmp_path: Path
) -> None:
    export_project(store, ADMIN, home.id, tmp_path / "home.zip")
    made = import_project(away, ADMIN, tmp_path / "home.zip")
    assert (made.num_members, made.num_accounts) == (3, 3)
    names = {name: Pseudonyms.of(store, ADMIN, home.id).of_name(name) for name in ("anna", "lea", "paul")}
    expected = [
        (names["anna"], "annotator", "expert", "active"),
        (names["lea"], "adjudicator", "", "active"),
        (names["paul"], "annotator", "crowd", "paused"),
    ]
    assert members_of(away, made.project) == sorted(expected)
    assert people_of(away) == {name: (role, "imported", True, False) for name, role, *_ in expected}
    (vote,) = away.judgments.iterate(ADMIN, made.project.id)
    assert vote.annotator == names["anna"]
    with away.database.read() as connection:
        query = select(tables.slot.c.kind, tables.slot.c.group_name).where(tables.slot.c.state == 2)
        assert connection.execute(query).all() == [("work", "expert")]


def test_names_join_as_the_accounts_they_are_and_new_ones_stay_closed(
    store: Store, home: Project, away: Store, tmp_path: Path
) -> None:
    export_project(store, ADMIN, home.id, tmp_path / "home", names=True)
    away.people.add(ADMIN, "anna", role="lead", password="correct horse")
    made = import_project(away, ADMIN, tmp_path / "home")
    assert (made.num_members, made.num_accounts) == (3, 2)
    assert members_of(away, made.project) == [
        ("anna", "lead", "expert", "active"),
        ("lea", "adjudicator", "", "active"),
        ("paul", "annotator", "crowd", "paused"),
    ]
    assert people_of(away) == {
        "anna": ("lead", "local", True, True),
        "lea": ("adjudicator", "local", False, False),
        "paul": ("annotator", "local", False, False),
    }


def test_a_lead_who_reads_a_project_back_stays_its_member(store: Store, home: Project, tmp_path: Path) -> None:
    export_project(store, ADMIN, home.id, tmp_path / "home", names=True)
    user = store.people.by_name(ADMIN, "lea")
    assert user is not None
    made = import_project(store, store.people.actor_of(user), tmp_path / "home", "again")
    assert [name for name, *_ in members_of(store, made.project)] == ["anna", "lea", "paul"]
    assert made.num_accounts == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("state", "gone", r"members\.jsonl:1: state is 'gone', allowed are qualifying"),
        ("role", "king", r"members\.jsonl:1: role is 'king', allowed are"),
        ("name", "", r"members\.jsonl:1: name is empty"),
    ],
)
def test_a_bad_member_makes_no_project(
    store: Store, home: Project, tmp_path: Path, field: str, value: str, message: str
) -> None:
    export_project(store, ADMIN, home.id, tmp_path / "home")
    part = tmp_path / "home" / "members.jsonl"
    first, *others = part.read_text().splitlines()
    part.write_text("\n".join([json.dumps({**json.loads(first), field: value}), *others]))
    with pytest.raises(ValueError, match=message):
        import_project(store, ADMIN, tmp_path / "home", "away")
    assert [each.name for each in store.projects.list(ADMIN)] == ["home"]


def test_a_zip_that_unpacks_to_much_more_than_texts_do_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MOST_UNPACKED", 1_000_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("p/project.json", "{}")
        packed.writestr("p/comparisons.jsonl", " " * 2_000_000)
    with pytest.raises(ValueError, match=r"bomb\.zip: the archive unpacks to more than"):
        import_project(store, ADMIN, tmp_path / "bomb.zip")
