"""Every filter by the comparisons that it chooses, on both databases."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import select

from annotate_app.access import Actor
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter

ADMIN = Actor.command_line()


def keys(store: Store, project: Project, **fields: object) -> str:
    """The ids that a filter chooses, in its order, as their numbers: `c0` and `c3` are `03`."""
    chosen = ComparisonFilter(**fields)  # type: ignore[arg-type]
    listed = store.browsing.keys(ADMIN, project.id, chosen)
    found = store.browsing.page(ADMIN, project.id, chosen, size=3)
    assert found.total == len(listed) == store.browsing.count(ADMIN, project.id, chosen)
    assert [item.comparison.id for item in found.page] == listed[:3]
    return "".join(key.removeprefix("c") for key in listed)


EXPECTED: dict[str, tuple[dict[str, object], str]] = {
    "all": ({}, "0123456789"),
    "words of a prompt": ({"text": "question 1"}, "23"),
    "words of a response, case aside": ({"text": "THE ORDER NUMBER, THEN WE LOOK IT UP AT ONCE. (7)"}, "7"),
    "an id": ({"text": "c9"}, "9"),
    "a percent sign is no wildcard": ({"text": "%"}, ""),
    "two ids": ({"keys": ("c8", "c1")}, "18"),
    "unjudged": ({"state": "unjudged"}, "789"),
    "open": ({"state": "open"}, "356789"),
    "complete": ({"state": "complete"}, "0124"),
    "gold": ({"state": "gold"}, "4"),
    "judged by one": ({"persons": ("bob",)}, "0124"),
    "judged by both": ({"persons": ("bob", "cleo")}, "01"),
    "apart from the others": ({"disagree": ("anna",)}, "12"),
    "the one who is with the majority is not apart": ({"disagree": ("cleo",)}, ""),
    "bob is apart where anna alone answered otherwise": ({"disagree": ("bob",)}, "2"),
    "two disagree": ({"disagree": ("anna", "bob")}, "12"),
    "two disagree, either way round": ({"disagree": ("bob", "anna")}, "12"),
    "a flag": ({"flag": "unsafe"}, "6"),
    "part of a flag is none": ({"flag": "safe"}, ""),
    "differ on a comparison": ({"criterion": "tone"}, "12"),
    "differ on a rating": ({"criterion": "facts"}, "1"),
    "differ on nothing of the kind": ({"criterion": "style"}, ""),
    "unanimous": ({"agreement": "unanimous"}, "0"),
    "split": ({"agreement": "split"}, "12"),
    "two thirds": ({"agreement": "0.6-0.7"}, "1"),
    "half": ({"agreement": "0.5-0.5"}, "2"),
    "missed by anybody": ({"missed": "*"}, "4"),
    "missed by anna": ({"missed": "anna"}, "4"),
    "missed by bob": ({"missed": "bob"}, ""),
    "changed by anybody": ({"changed": "*"}, "5"),
    "changed by bob": ({"changed": "bob"}, ""),
    "too fast": ({"fast": "*"}, "6"),
    "too fast by bob": ({"fast": "bob"}, ""),
    "since a day": ({"since": date(1970, 1, 13)}, "56"),
    "until a day, with it": ({"until": date(1970, 1, 3)}, "0"),
    "between days": ({"since": date(1970, 1, 8), "until": date(1970, 1, 9)}, "2"),
    "no tag": ({"tags": ("hard",)}, ""),
    "nothing is excluded": ({"excluded": "only"}, ""),
    "no turn": ({"turn": 1}, ""),
    "no round": ({"round": 1}, ""),
    "no question": ({"asked": True}, ""),
    "nobody assigned": ({"assigned": "*"}, ""),
    "several at once": ({"persons": ("anna",), "agreement": "split", "criterion": "tone", "text": "Question 0"}, "1"),
    "most votes first": ({"sort": "votes"}, "0123564789"),
    "newest first": ({"sort": "newest", "persons": ("anna",)}, "6532104"),
    "least agreement first": ({"sort": "agreement", "persons": ("bob",)}, "2104"),
}


def test_every_filter_chooses_the_same_on_both_databases(store: Store, judged: Project) -> None:
    assert {name: keys(store, judged, **fields) for name, (fields, _) in EXPECTED.items()} == {
        name: expected for name, (_, expected) in EXPECTED.items()
    }


def test_models_tags_priorities_and_lengths(store: Store, judged: Project) -> None:
    assert keys(store, judged, models=("short model",)) == "0123456789"
    assert keys(store, judged, models=("polite model", "short model")) == "0123456789"
    assert keys(store, judged, models=("short model", "another")) == ""
    assert store.browsing.vocabulary(ADMIN, judged.id).models == ("polite model", "short model")
    assert store.browsing.vocabulary(ADMIN, judged.id).people == ("anna", "bob", "cleo")
    store.comparisons.set_priorities(ADMIN, judged.id, {"c7": 2.0, "c2": 5.0})
    assert keys(store, judged, sort="priority")[:3] == "270"
    assert store.bulk.tag(ADMIN, judged.id, ComparisonFilter(persons=("bob",)), "hard") == 4
    assert store.bulk.tag(ADMIN, judged.id, ComparisonFilter(state="unjudged"), "new") == 3
    assert store.bulk.tag(ADMIN, judged.id, ComparisonFilter(keys=("c7",)), "hard") == 1
    assert keys(store, judged, tags=("hard",)) == "01247"
    assert keys(store, judged, tags=("hard", "new")) == "7"
    assert store.browsing.vocabulary(ADMIN, judged.id).tags == ("hard", "new")
    assert store.bulk.untag(ADMIN, judged.id, ComparisonFilter(persons=("cleo",)), "hard") == 2
    assert keys(store, judged, tags=("hard",)) == "247"
    (first,) = store.browsing.find(ADMIN, judged.id, ComparisonFilter(keys=("c0",)))
    length = len(first.comparison.completion_a) + len(first.comparison.completion_b)
    assert first.length == length
    assert keys(store, judged, shortest=length, longest=length) == "0123456789"
    assert keys(store, judged, shortest=length + 1) == ""


def test_a_row_says_its_votes_and_how_far_they_agree(store: Store, judged: Project) -> None:
    listed = store.browsing.find(ADMIN, judged.id, ComparisonFilter(text="c"), limit=10)
    rows = {item.comparison.id: item for item in listed}
    assert [(rows[key].num_votes, rows[key].agreement) for key in ("c0", "c1", "c2", "c3", "c4", "c7")] == [
        (3, 1.0),
        (3, 2 / 3),
        (2, 0.5),
        (1, None),
        (0, None),
        (0, None),
    ]


def test_lengths_are_those_of_the_texts(store: Store, judged: Project) -> None:
    a, b = tables.response.alias("a"), tables.response.alias("b")
    query = (
        select(tables.comparison.c.length, a.c.text, b.c.text)
        .join(a, a.c.id == tables.comparison.c.response_a)
        .join(b, b.c.id == tables.comparison.c.response_b)
    )
    with store.database.read() as connection:
        rows = connection.execute(query).all()
    assert [row[0] for row in rows] == [len(row[1]) + len(row[2]) for row in rows]


def test_pages_are_cut_from_one_order(store: Store, judged: Project) -> None:
    pages = [store.browsing.page(ADMIN, judged.id, number=number, size=4) for number in (1, 2, 3, 4)]
    assert [[item.comparison.id for item in found.page] for found in pages] == [
        ["c0", "c1", "c2", "c3"],
        ["c4", "c5", "c6", "c7"],
        ["c8", "c9"],
        [],
    ]
    assert [found.total for found in pages] == [10, 10, 10, 10]


def test_nobody_of_the_name_is_said(store: Store, judged: Project) -> None:
    with pytest.raises(ValueError, match="there is nobody named 'dora'"):
        store.browsing.page(ADMIN, judged.id, ComparisonFilter(persons=("dora",)))


def test_a_person_judgments_beside_those_of_the_others(store: Store, judged: Project) -> None:
    def listed(kind: str) -> list[tuple[str, str, dict[str, int], str, str]]:
        page, total = store.person_judgments.page(ADMIN, judged.id, "anna", kind)  # type: ignore[arg-type]
        assert total == len(page)
        return [(one.key, one.choice, one.others, one.gold, one.before) for one in page]

    assert [row[0] for row in listed("all")] == ["c5", "c6", "c5", "c4", "c3", "c2", "c1", "c0"]
    assert listed("missed") == [("c4", "b", {}, "a", "")]
    assert listed("changed") == [("c5", "b", {}, "", "a")]
    assert listed("apart") == [("c2", "tie", {"a": 1}, "", ""), ("c1", "a", {"b": 2}, "", "")]
    assert listed("fast") == [("c6", "a", {}, "", "")]
    page, total = store.person_judgments.page(ADMIN, judged.id, "anna", number=2, size=3)
    assert ([one.key for one in page], total) == (["c4", "c3", "c2"], 8)
    store.comparisons.set_gold(ADMIN, judged.id, "c0", Gold(choice="b"))
    assert [row[0] for row in listed("missed")] == ["c4", "c0"]
