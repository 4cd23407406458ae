"""Comparisons on both databases: bulk adding, gold answers, reading back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects import comparisons, contents
from annotate_app.store.projects.comparisons import Added, Gold
from annotate_app.store.projects.contents import stage_contents
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()


def pair(number: int, **changes: object) -> Comparison:
    made = Comparison(
        id=f"p{number}",
        prompt=(Message(role="system", content="Be kind."), Message(role="user", content=f"Frage {number}: Größe?")),
        completion_a=f"first {number}",
        completion_b=f"second {number}",
        source_a="one",
        source_b="two",
        meta={"row": number, "tags": ["x", None]},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def rows(store: Store) -> dict[str, int]:
    with store.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.prompt, tables.response, tables.comparison, tables.slot)
        }


@pytest.fixture
def empty(store: Store, make_project: Callable[..., Project]) -> Project:
    return make_project(store, num_comparisons=0, design=Design(overlap=2))


def test_what_went_in_comes_out(store: Store, empty: Project) -> None:
    pairs = [pair(number) for number in range(2500)]
    assert store.comparisons.add(ADMIN, empty.id, iter(pairs)) == Added(num_added=2500, num_existing=0)
    assert list(store.comparisons.iterate(ADMIN, empty.id)) == pairs
    assert store.comparisons.get(ADMIN, empty.id, "p17") == pairs[17]
    assert store.comparisons.count(ADMIN, empty.id) == 2500
    assert store.comparisons.sources(ADMIN, empty.id) == {item.id: ("one", "two") for item in pairs}
    assert rows(store) == {"prompt": 2500, "response": 5000, "comparison": 2500, "slot": 5000}
    assert store.check() == []


def test_the_same_again_adds_nothing(store: Store, empty: Project) -> None:
    pairs = [pair(number) for number in range(3)]
    store.comparisons.add(ADMIN, empty.id, pairs)
    before = rows(store)
    again = [*pairs, pair(1), pair(3), pair(3)]
    assert store.comparisons.add(ADMIN, empty.id, again) == Added(num_added=1, num_existing=5)
    assert rows(store)["comparison"] == before["comparison"] + 1
    store.comparisons.add(ADMIN, empty.id, again)
    assert [entry.action for entry in store.audit.list(ADMIN)][:2] == ["comparisons add", "comparisons add"]
    assert len(store.audit.list(ADMIN, empty.id)) == 3


def test_equal_texts_are_stored_once(store: Store, empty: Project) -> None:
    shared = pair(0)
    swapped = replace(shared.swap(), id="swapped")
    third = replace(shared, id="third", completion_b="another")
    other_source = replace(shared, id="other source", source_a="three")
    store.comparisons.add(ADMIN, empty.id, [shared, swapped, third, other_source])
    assert rows(store) == {"prompt": 1, "response": 4, "comparison": 4, "slot": 8}
    assert list(store.comparisons.iterate(ADMIN, empty.id)) == [shared, swapped, third, other_source]


@pytest.mark.parametrize(
    "change",
    [
        {"completion_a": "changed"},
        {"completion_b": "changed"},
        {"source_b": "changed"},
        {"prompt": (Message(role="user", content="changed"),)},
    ],
)
def test_a_known_id_with_other_content_changes_nothing(store: Store, empty: Project, change: dict[str, object]) -> None:
    store.comparisons.add(ADMIN, empty.id, [pair(0)])
    before = rows(store)
    with pytest.raises(ValueError, match="comparison 'p0' is there already with another"):
        store.comparisons.add(ADMIN, empty.id, [pair(1), pair(0, **change)])
    with pytest.raises(ValueError, match="comparison 'p5' is there already with another"):
        store.comparisons.add(ADMIN, empty.id, [pair(5), pair(5, **change)])
    assert rows(store) == before


def test_meta_of_a_known_comparison_stays(store: Store, empty: Project) -> None:
    store.comparisons.add(ADMIN, empty.id, [pair(0), pair(0, meta={"row": 99})])
    assert store.comparisons.get(ADMIN, empty.id, "p0").meta == pair(0).meta


def test_an_error_while_reading_leaves_nothing(store: Store, empty: Project) -> None:
    def broken() -> Iterator[Comparison]:
        yield from (pair(number) for number in range(1500))
        raise ValueError("data.jsonl:1501: no prompt")

    with pytest.raises(ValueError, match=r"data\.jsonl:1501"):
        store.comparisons.add(ADMIN, empty.id, broken())
    assert rows(store) == {"prompt": 0, "response": 0, "comparison": 0, "slot": 0}
    assert len(store.audit.list(ADMIN)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"completion_a": "a\x00b"}, "'p0', completion a holds a NUL character at position 1"),
        ({"completion_b": "\ud800"}, "'p0', completion b is not valid Unicode at position 0"),
        ({"prompt": (Message(role="user", content="\udfff"),)}, "'p0', prompt is not valid Unicode"),
        ({"source_a": "s" * 201}, "'p0', source a has 201 characters, allowed are 200"),
        ({"id": "i" * 201}, "comparison id has 201 characters"),
        ({"id": ""}, "comparison id is empty"),
    ],
)
def test_texts_that_no_database_stores_are_refused(
    store: Store, empty: Project, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        store.comparisons.add(ADMIN, empty.id, [pair(0, **change)])


def test_a_text_is_searched_everywhere_whatever_its_case(store: Store, empty: Project) -> None:
    store.comparisons.add(ADMIN, empty.id, [pair(number) for number in range(12)])

    def found(text: str = "", **page: int) -> list[str]:
        return [
            each.comparison.id for each in store.browsing.find(ADMIN, empty.id, ComparisonFilter(text=text), **page)
        ]

    assert found("SECOND 7") == ["p7"]
    assert found("Frage 3: Größe") == ["p3"]
    assert found("p1") == ["p1", "p10", "p11"]
    assert found("first%") == []
    assert found(offset=3, limit=2) == ["p3", "p4"]


def test_gold_comparisons_have_no_work(store: Store, empty: Project) -> None:
    store.comparisons.add(ADMIN, empty.id, [pair(0), pair(1)])
    vote = Judgment(comparison_id="p0", annotator="w", choice="a", strength=1)
    store.judgments.import_many(ADMIN, empty.id, [vote])
    gold = Gold(choice="b", explanation="It answers.", use="qualification")
    for key in ("p0", "p1"):
        store.comparisons.set_gold(ADMIN, empty.id, key, gold)
    assert rows(store)["slot"] == 1
    assert store.comparisons.golds(ADMIN, empty.id) == {"p0": gold, "p1": gold}
    assert store.check() == []
    for key in ("p0", "p1"):
        store.comparisons.set_gold(ADMIN, empty.id, key, None)
    assert rows(store)["slot"] == 4
    assert store.comparisons.golds(ADMIN, empty.id) == {}
    assert store.check() == []
    with pytest.raises(ValueError, match="there is no comparison 'p9'"):
        store.comparisons.set_gold(ADMIN, empty.id, "p9", gold)
    with pytest.raises(ValueError, match="gold choice is 'skip'"):
        Gold(choice="skip")


def test_a_priority_of_an_unknown_comparison_changes_nothing(store: Store, empty: Project) -> None:
    store.comparisons.add(ADMIN, empty.id, [pair(0)])
    with pytest.raises(ValueError, match="there is no comparison 'p9'"):
        store.comparisons.set_priorities(ADMIN, empty.id, {"p0": 4.0, "p9": 1.0})
    with pytest.raises(ValueError, match="priority of comparison 'p0' is nan"):
        store.comparisons.set_priorities(ADMIN, empty.id, {"p0": float("nan")})
    with store.database.read() as connection:
        assert connection.execute(select(tables.comparison.c.priority)).scalars().all() == [0.0]


def test_the_same_comparison_lives_in_two_projects(store: Store, make_project: Callable[..., Project]) -> None:
    first, second = make_project(store, "first"), make_project(store, "second", num_comparisons=2)
    assert store.comparisons.count(ADMIN, first.id) == 5
    assert store.comparisons.count(ADMIN, second.id) == 2
    assert store.check() == []


def test_people_judge_while_an_import_is_read(
    store: Store, project: Project, annotator: Actor, answer: Callable[..., object]
) -> None:
    """Nothing is locked until all is read: the judgment would wait for the import, and the import for it."""

    def interrupted() -> Iterator[Comparison]:
        yield pair(0)
        yield from (pair(number) for number in range(1, 1500))
        (lease, *_) = store.work.lease(annotator, project.id)
        answer(store, annotator, project, lease)
        yield pair(1500)

    assert store.comparisons.add(ADMIN, project.id, interrupted()).num_added == 1501
    assert len(list(store.judgments.iterate(ADMIN, project.id))) == 1
    assert store.check() == []


def test_judgments_submitted_during_imports_all_arrive(
    database_url: str, store: Store, project: Project, annotator: Actor, answer: Callable[..., object]
) -> None:
    """The imports go through a store of their own, which waits for the lock as another process does."""
    work = store.projects.update(ADMIN, project.id, design=Design(overlap=1))
    store.comparisons.add(ADMIN, project.id, (pair(number) for number in range(500)))

    def bring_in(start: int) -> int:
        with Store.open(database_url, migrate=False) as other:
            added = [
                other.comparisons.add(ADMIN, project.id, (pair(number) for number in range(at, at + 400)))
                for at in range(start, start + 2000, 400)
            ]
        return sum(each.num_added for each in added)

    with ThreadPoolExecutor(2) as pool:
        imports = [pool.submit(bring_in, start) for start in (1000, 2000)]
        num_judged = 0
        while num_judged < 20 or not all(each.done() for each in imports):
            (lease, *_) = store.work.lease(annotator, project.id, count=1)
            answer(store, annotator, work, lease, lease_count=1)
            num_judged += 1
    # 2000 to 2999 come twice.
    assert sum(each.result() for each in imports) == 3000
    assert len(list(store.judgments.iterate(ADMIN, project.id))) == num_judged
    assert store.comparisons.count(ADMIN, project.id) == 5 + 500 + 3000
    assert store.check() == []


def test_an_import_overtaken_by_the_same_one_adds_nothing(store: Store, empty: Project) -> None:
    """What it looked up before it took the lock does not hold any more."""
    pairs = [pair(number) for number in range(3)]
    with stage_contents(pairs) as staged:
        found = contents.find_known

        def find_late(*arguments: object) -> contents.Known:
            known = found(*arguments)  # type: ignore[arg-type]
            if not known.keys:
                with pytest.MonkeyPatch.context() as undone:
                    undone.setattr(comparisons, "find_known", found)
                    store.comparisons.add(ADMIN, empty.id, pairs[:2])
            return known

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(comparisons, "find_known", find_late)
            added = store.comparisons.add_staged(ADMIN, empty.id, staged)
    assert added == Added(num_added=1, num_existing=2)
    assert rows(store) == {"prompt": 3, "response": 6, "comparison": 3, "slot": 6}


def test_overlaps_go_before_the_overlap(store: Store, empty: Project) -> None:
    with stage_contents([pair(0), pair(1)]) as staged:
        store.comparisons.add_staged(ADMIN, empty.id, staged, overlap=1, overlaps={"p1": 4})
    with stage_contents([pair(2)]) as staged, pytest.raises(ValueError, match="overlap is 0, allowed is 1 to 1000"):
        store.comparisons.add_staged(ADMIN, empty.id, staged, overlaps={"p2": 0})
    found = {each.comparison.id: each.overlap for each in store.browsing.find(ADMIN, empty.id)}
    assert found == {"p0": 1, "p1": 4}
    assert rows(store)["slot"] == 5


@pytest.mark.slow
def test_comparisons_are_added_at_more_than_a_hundred_thousand_a_minute(
    sqlite_store: Store, make_project: Callable[..., Project]
) -> None:
    project = make_project(sqlite_store, num_comparisons=0)
    started = time.process_time()
    added = sqlite_store.comparisons.add(ADMIN, project.id, (pair(number) for number in range(20_000)))
    assert added.num_added == 20_000
    assert time.process_time() - started < 8
