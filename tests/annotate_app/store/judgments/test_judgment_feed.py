"""A reader of the feed passes nothing over, whoever writes meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import text

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.base import settled
from annotate_app.store.base.pending import import_in_parts
from annotate_app.store.judgments.imported_judgments import import_batch
from annotate_app.store.judgments.staged import stage_judgments, staged_batches
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


def vote(number: int, name: str = "x") -> Judgment:
    return Judgment(comparison_id=f"c{number}", annotator=name, choice="tie")


def test_rows_of_an_import_under_way_hold_the_feed_back(
    sqlite_store: Store, make_project: Callable[..., Project]
) -> None:
    store, project = sqlite_store, make_project(sqlite_store)
    store.judgments.import_many(ADMIN, project.id, [vote(0)])
    with import_in_parts(store.database, project.id) as parts, stage_judgments([vote(1)]) as staged:
        with parts.part() as connection:
            (batch,) = staged_batches(staged)
            import_batch(connection, project.id, batch, parts.id, [])
        other = make_project(store, "other")
        store.judgments.import_many(ADMIN, other.id, [vote(2)])  # a larger number than the hidden one
        assert store.judgments.feed(ADMIN, other.id).judgments == []
        page = store.judgments.feed(ADMIN, project.id)
        assert ([each.comparison_id for each in page.judgments], page.after) == (["c0"], 1)
        with parts.part(last=True):
            pass
    assert [each.comparison_id for each in store.judgments.feed(ADMIN, project.id, after=1).judgments] == ["c1"]
    assert [each.comparison_id for each in store.judgments.feed(ADMIN, other.id).judgments] == ["c2"]


def test_a_transaction_that_ends_late_holds_the_feed_back(postgresql_url: str, make_project, monkeypatch) -> None:
    monkeypatch.setattr(settled, "WAIT_S", 0.05)
    with Store.open(postgresql_url, migrate=False) as store:
        project = make_project(store)
        store.judgments.import_many(ADMIN, project.id, [vote(0)])
        assert store.judgments.feed(ADMIN, project.id).after == 1
        with store.database.engine.connect() as late, late.begin():
            late.execute(text("UPDATE judgment SET newest = newest WHERE id = 1"))
            late.execute(text("SELECT nextval(pg_get_serial_sequence('judgment', 'id'))"))  # takes number 2
            store.judgments.import_many(ADMIN, project.id, [vote(1)])  # number 3, on disk first
            page = store.judgments.feed(ADMIN, project.id, after=1)
            assert (page.judgments, page.after) == ([], 1)
        page = store.judgments.feed(ADMIN, project.id, after=1)
        assert ([each.id for each in page.judgments], page.after) == ([3], 3)


def test_a_reader_among_writers_sees_every_judgment_once(store: Store, make_project, make_actor, answer) -> None:
    project = make_project(store, num_comparisons=12, design=Design(overlap=6))
    people = [make_actor(store, "annotator", f"p{number}", project) for number in range(6)]

    def judge(actor: Actor) -> None:
        leases = store.work.lease(actor, project.id, count=1)
        while leases:
            leases = answer(store, actor, project, leases[0], lease_count=1).leases

    threads = [threading.Thread(target=judge, args=(actor,)) for actor in people]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    after = 0
    while any(thread.is_alive() for thread in threads):
        page = store.judgments.feed(ADMIN, project.id, after=after, limit=5)
        seen += [each.id for each in page.judgments]
        after = page.after
    for thread in threads:
        thread.join()
    while (page := store.judgments.feed(ADMIN, project.id, after=after)).judgments:
        seen += [each.id for each in page.judgments]
        after = page.after
    assert len(seen) == len(set(seen)) == 72
    assert seen == sorted(seen)


def test_the_cursor_passes_over_what_other_projects_have(store: Store, make_project) -> None:
    project, other = make_project(store), make_project(store, "other")
    store.judgments.import_many(ADMIN, other.id, [vote(number) for number in range(3)])
    page = store.judgments.feed(ADMIN, project.id)
    assert (page.judgments, page.more, page.after) == ([], False, 3)
    assert store.judgments.feed(ADMIN, project.id, after=99).after == 99
