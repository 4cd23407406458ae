"""A project of which every figure is known: c0 to c9, judged by people, checked, flagged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import insert, select, update

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()
DAY = 86_400.0


@pytest.fixture
def judged(store: Store, judged_in: Callable[[Store], Project]) -> Project:
    """The project in `store`."""
    return judged_in(store)


@pytest.fixture
def judged_in(make_project: Callable[..., Project]) -> Callable[[Store], Project]:
    """Makes the project in a store; see `make_judged`."""
    return lambda store: make_judged(store, make_project)


def make_judged(store: Store, make_project: Callable[..., Project]) -> Project:
    """Ten comparisons, two judgments wanted of each.

    c0 anna a, bob a, cleo a; c1 anna a, bob b, cleo b; c2 anna tie, bob a; c3 anna b; c4 a check (a): anna b, bob a;
    c5 anna a and, repeated, b; c6 anna a in 0.1 s with a flag; c7 to c9 nobody.
    """
    project = make_project(store, num_comparisons=10, design=Design(overlap=2))
    answers = [
        ("c0", "anna", "a", {"tone": -1, "facts": (1, 4)}, 1),
        ("c0", "bob", "a", {"tone": -1, "facts": (2, 3)}, 2),
        ("c0", "cleo", "a", {}, 3),
        ("c1", "anna", "a", {"tone": -1, "facts": (4, 1)}, 4),
        ("c1", "bob", "b", {"tone": 1, "facts": (1, 4)}, 5),
        ("c1", "cleo", "b", {"tone": 1}, 6),
        ("c2", "anna", "tie", {"tone": 0}, 7),
        ("c2", "bob", "a", {"tone": -1}, 8),
        ("c3", "anna", "b", {}, 9),
        ("c4", "anna", "b", {}, 10),
        ("c4", "bob", "a", {}, 11),
        ("c5", "anna", "a", {}, 12),
        ("c6", "anna", "a", {}, 13),
    ]
    store.judgments.import_many(
        ADMIN,
        project.id,
        [
            Judgment(
                comparison_id=key,
                annotator=name,
                choice=choice,  # type: ignore[arg-type]
                strength=int(choice in ("a", "b")),
                criteria=criteria,  # type: ignore[arg-type]
                flags={"a": ("unsafe",)} if key == "c6" else {},
                seconds=0.1 if key == "c6" else 30.0,
                created_at=day * DAY + 3600,
            )
            for key, name, choice, criteria, day in answers
        ],
    )
    store.comparisons.set_gold(ADMIN, project.id, "c4", Gold(choice="a"))
    with store.database.write() as connection:
        c4, c5 = (_id(connection, project, key) for key in ("c4", "c5"))
        check = update(tables.judgment).where(tables.judgment.c.comparison_id == c4).values(kind="gold")
        connection.execute(check)
        first = connection.execute(select(tables.judgment).where(tables.judgment.c.comparison_id == c5)).one()
        again = {
            "project_id": project.id,
            "comparison_id": c5,
            "user_id": first.user_id,
            "kind": "repeat",
            "event_id": "again",
            "choice": "b",
            "strength": 1,
            "criteria": {},
            "flags": {},
            "created_at": 14 * DAY,
        }
        connection.execute(insert(tables.judgment).values(**again))
    return project


def _id(connection, project: Project, key: str) -> int:
    columns = tables.comparison.c
    return connection.execute(
        select(columns.id).where(columns.key == key, columns.project_id == project.id)
    ).scalar_one()
