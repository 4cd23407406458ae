"""Imports in parts: nothing of one is seen before its end, and nothing remains of one that fails or is killed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.base import pending
from annotate_app.store.judgments import judgments as judgments_module
from annotate_app.store.judgments import staged as staged_judgments
from annotate_app.store.projects import comparisons as comparisons_module
from annotate_app.store.projects import contents
from annotate_app.store.projects.comparisons import Added
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables, whole_schema
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a part, without pauses."""
    for module in (staged_judgments, contents, comparisons_module):
        monkeypatch.setattr(module, "IMPORTED_AT_ONCE", 2)
    monkeypatch.setattr(pending, "PART", 2)
    for name in ("PAUSE_S", "WAIT_S"):
        monkeypatch.setattr(pending, name, 0.001)


@pytest.fixture
def project(sqlite_store: Store, make_project: Callable[..., Project]) -> Project:
    """Five comparisons, two judgments wanted of each, two judged by an imported annotator."""
    project = make_project(sqlite_store, design=Design(overlap=2))
    votes = [Judgment(comparison_id=f"c{n}", annotator="old", choice="tie", created_at=5.0) for n in range(2)]
    sqlite_store.judgments.import_many(ADMIN, project.id, votes)
    return project


def votes(*names: str) -> list[Judgment]:
    """A judgment of each comparison by each of them, at time 9."""
    return [
        Judgment(comparison_id=f"c{number}", annotator=name, choice="a", strength=1, created_at=9.0)
        for name in names
        for number in range(5)
    ]


def more_comparisons(count: int = 6) -> list[Comparison]:
    return [
        Comparison(
            id=f"n{number}",
            prompt=(Message(role="user", content=f"new {number // 2}"),),
            completion_a=f"a {number}",
            completion_b="b",
        )
        for number in range(count)
    ]


def seen(store: Store, project: Project) -> dict[str, object]:
    """All that readers are told of a project."""
    progress = store.projects.progress(ADMIN, project.id)
    found = store.judgments.votes(ADMIN, project.id)
    return {
        "judgments": list(store.judgments.iterate(ADMIN, project.id)),
        "votes": (len(found), found.items),
        "progress": progress,
        "comparisons": [each.id for each in store.comparisons.iterate(ADMIN, project.id)],
        "sources": store.comparisons.sources(ADMIN, project.id),
        "count": store.comparisons.count(ADMIN, project.id),
        "listed": store.browsing.find(ADMIN, project.id),
        "open": [each.comparison.id for each in store.browsing.find(ADMIN, project.id, ComparisonFilter(state="open"))],
        "problems": store.check(),
    }


def rows(store: Store) -> dict[str, int]:
    """Rows by table, but for texts, which stay for the next try, the count of returns, and the audit log."""
    with store.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in whole_schema.metadata.sorted_tables
            if table.name not in ("prompt", "response", "slot_return", "audit")
        }


@pytest.fixture
def between_parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Calls a function before each part of judgments and of comparisons, with its number."""

    def set_call(call: Callable[[int], None]) -> None:
        numbers = iter(range(1000))
        for module, name in ((judgments_module, "import_batch"), (comparisons_module, "insert_batch")):
            real = getattr(module, name)

            def before(*arguments: object, real: Callable = real, **named: object) -> object:
                call(next(numbers))
                return real(*arguments, **named)

            monkeypatch.setattr(module, name, before)

    return set_call


def do_import(store: Store, project: Project, what: str) -> Added:
    if what == "comparisons":
        return store.comparisons.add(ADMIN, project.id, more_comparisons())
    return store.judgments.import_many(ADMIN, project.id, votes("old", "new"))


@pytest.mark.parametrize("what", ["judgments", "comparisons"])
def test_nothing_is_seen_before_the_end_and_all_of_it_then(
    sqlite_store: Store, project: Project, between_parts: Callable, what: str
) -> None:
    before, looks = seen(sqlite_store, project), []
    between_parts(lambda _: looks.append(seen(sqlite_store, project)))
    added = do_import(sqlite_store, project, what)
    assert len(looks) == (5 if what == "judgments" else 3)
    assert looks == [before] * len(looks)
    after = seen(sqlite_store, project)
    assert after["problems"] == before["problems"] == []
    if what == "judgments":
        assert added == Added(num_added=10, num_existing=0)
        # The old answers are superseded, by later ones of the same annotator.
        assert sorted((j.comparison_id, j.annotator, j.choice) for j in after["judgments"]) == [  # type: ignore[attr-defined]
            (f"c{n}", name, "a") for n in range(5) for name in ("new", "old")
        ]
        assert sqlite_store.projects.progress(ADMIN, project.id).slots_judged == 10
    else:
        assert added == Added(num_added=6, num_existing=0)
        assert after["count"] == 11
        assert sqlite_store.projects.progress(ADMIN, project.id).slots_wanted == 22
    assert do_import(sqlite_store, project, what).num_added == 0


@pytest.mark.parametrize("what", ["judgments", "comparisons"])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_nothing_remains_of_an_import_that_fails(
    sqlite_store: Store, project: Project, between_parts: Callable, what: str, part: int
) -> None:
    before, counted = seen(sqlite_store, project), rows(sqlite_store)

    def fail(number: int) -> None:
        if number == part:
            raise KeyboardInterrupt

    between_parts(fail)
    with pytest.raises(KeyboardInterrupt):
        do_import(sqlite_store, project, what)
    assert seen(sqlite_store, project) == before
    assert rows(sqlite_store) == counted
    assert do_import(sqlite_store, project, what).num_existing == 0
    assert sqlite_store.check() == []


@pytest.mark.parametrize("what", ["judgments", "comparisons"])
def test_what_a_killed_import_has_left_is_taken_back_by_who_opens_next(
    sqlite_store: Store, sqlite_url: str, project: Project, between_parts: Callable, monkeypatch, what: str
) -> None:
    before, counted = seen(sqlite_store, project), rows(sqlite_store)

    def die(number: int) -> None:
        if number == 2:
            raise SystemExit

    between_parts(die)
    with monkeypatch.context() as killed:
        killed.setattr(pending, "take_back", lambda *_: None)  # nothing of it runs after a kill
        with pytest.raises(SystemExit):
            do_import(sqlite_store, project, what)
    assert seen(sqlite_store, project) == before
    Store.open(sqlite_url).close()
    assert rows(sqlite_store) != counted  # it may still be alive
    with sqlite_store.database.write() as connection:
        connection.execute(update(tables.pending_import).values(heartbeat_at=1.0))
    Store.open(sqlite_url).close()
    assert rows(sqlite_store) == counted
    assert seen(sqlite_store, project) == before


def test_pairs_that_an_import_fills_or_brings_are_handed_to_nobody_meanwhile(
    sqlite_store: Store, project: Project, make_actor: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = make_actor(sqlite_store, "annotator", "anna", project)
    handed: set[str] = set()

    def work(_: float) -> None:
        handed.update(lease.comparison.id for lease in sqlite_store.work.lease(anna, project.id, count=50))
        sqlite_store.work.release(anna, project.id)

    with monkeypatch.context() as pauses:
        pauses.setattr(pending.time, "sleep", work)  # between two parts, where others have their turn
        do_import(sqlite_store, project, "comparisons")
    assert handed == {f"c{n}" for n in range(5)}
    assert len(sqlite_store.work.lease(anna, project.id, count=50)) == 11
    assert sqlite_store.check() == []


def test_a_second_import_into_the_project_waits_for_the_first(
    sqlite_store: Store, project: Project, between_parts: Callable
) -> None:
    second: list[Added] = []
    thread = threading.Thread(target=lambda: second.append(do_import(sqlite_store, project, "judgments")))

    def start(number: int) -> None:
        if number == 1:
            thread.start()

    between_parts(start)
    first = do_import(sqlite_store, project, "judgments")
    thread.join(timeout=20)
    assert (first.num_added, second[0].num_added) == (10, 0)
    assert sqlite_store.check() == []


def test_an_import_taken_for_dead_stops(sqlite_store: Store, project: Project) -> None:
    with pending.import_in_parts(sqlite_store.database, project.id) as parts:
        pending.take_back(sqlite_store.database, parts.id)
        with pytest.raises(ValueError, match="stood still for so long"), parts.part():
            pytest.fail("a part of an import that was taken back")


@pytest.mark.parametrize("what", ["judgments", "comparisons"])
def test_an_import_taken_back_is_audited_once_and_leaves_another_state(
    sqlite_store: Store, project: Project, between_parts: Callable, what: str
) -> None:
    """SQLite uses ids of deleted rows again, so the newest id alone does not tell states apart."""
    stamps = [sqlite_store.browsing.stamp(ADMIN, project.id)]

    def look_and_fail(number: int) -> None:
        stamps.append(sqlite_store.browsing.stamp(ADMIN, project.id))
        if number == 2:
            raise KeyboardInterrupt

    between_parts(look_and_fail)
    with pytest.raises(KeyboardInterrupt):
        do_import(sqlite_store, project, what)
    [entry, *earlier] = sqlite_store.audit.list(ADMIN, project.id)
    assert entry.action == "import taken back"
    assert "import taken back" not in [line.action for line in earlier]
    assert sqlite_store.browsing.stamp(ADMIN, project.id)[1] not in [change for _, change in stamps]
    pending.take_back(sqlite_store.database, 0)  # of no import: another process was faster
    assert len(sqlite_store.audit.list(ADMIN, project.id)) == 1 + len(earlier)
