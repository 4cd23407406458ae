"""Fields of people: whose they are, what is refused, and what the audit log keeps to itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.store.people.crowd import LinkPlan
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


def test_fields_are_merged_and_taken_away(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]
) -> None:
    project = make_project(store)
    anna = make_actor(store, "annotator", "anna", project)
    make_actor(store, "annotator", "elsewhere")
    assert anna.user_id is not None
    store.projects.add_member(ADMIN, project.id, anna.user_id, "expert")
    store.judgments.import_many(ADMIN, project.id, [Judgment(comparison_id="c0", annotator="file", choice="tie")])
    assert store.fields.people(ADMIN, project.id) == {"anna": {"group": "expert"}, "file": {}}
    assert store.fields.set(ADMIN, project.id, {"anna": {"country": "KE", "age": "30"}, "file": {"country": "NZ"}}) == 2
    assert store.fields.set(ADMIN, project.id, {"anna": {"age": ""}, "file": {"country": "NZ"}}) == 1
    expected = {"anna": {"country": "KE", "group": "expert"}, "file": {"country": "NZ"}}
    assert store.fields.people(ADMIN, project.id) == expected
    entry = store.audit.list(ADMIN, project.id)[0]
    assert (entry.action, dict(entry.detail)) == ("person fields", {"fields": ["age", "country"], "num_people": 1})


def test_what_cannot_be_set_changes_nothing(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]
) -> None:
    project = make_project(store)
    anna, eve = make_actor(store, "annotator", "anna", project), make_actor(store, "lead", "eve")
    for values, words in (
        ({"anna": {"country": "KE"}, "nobody": {"country": "KE"}}, "'nobody' is nobody of this project"),
        ({"anna": {"group": "x"}}, "annotator group"),
        ({"anna": {"x": "y" * 201}}, "field x has 201 characters"),
        ({"anna": {"": "y"}}, "name of a field is empty"),
        ({"anna": {"x": "\x00"}}, "NUL"),
        ({"anna": {f"f{number}": "y" for number in range(61)}}, "61 fields"),
    ):
        with pytest.raises(ValueError, match=words):
            store.fields.set(ADMIN, project.id, values)
    assert store.fields.people(ADMIN, project.id) == {"anna": {}}
    for actor in (anna, eve):
        for call in (store.fields.people, store.fields.platform_names):
            with pytest.raises(AccessError):
                call(actor, project.id)
        with pytest.raises(AccessError):
            store.fields.set(actor, project.id, {"anna": {"country": "KE"}})


def test_people_of_a_platform_are_known_by_their_id(store: Store, make_project: Callable[..., Project]) -> None:
    project = make_project(store)
    plan = LinkPlan(name="s", id_parameter="PROLIFIC_PID", target=1, completion_code="X")
    link = store.crowd.add_link(ADMIN, project.id, plan)
    store.crowd.enter(link.token, "5f00", {}, "10.0.0.1")
    assert store.fields.platform_names(ADMIN, project.id) == {"5f00": f"prolific-5f00@{project.id}"}
