"""Guidelines are acknowledged once for each person and version."""

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.store.work.readings import Reading

ADMIN = Actor.command_line()
CHANGED = "title: T\nguidelines: Read them again.\n"


def test_a_person_acknowledges_each_version_once_and_the_lead_sees_it(store, make_project, make_actor):
    project = make_project(store)
    anna, lea = make_actor(store, "annotator", "anna", project), make_actor(store, "lead", "lea", project)
    present = store.projects.rubric(anna, project.id).version
    assert store.readings.newest(anna, project.id) == 0
    assert store.readings.acknowledge(anna, project.id, present) is False
    assert store.readings.acknowledge(anna, project.id, present) is True
    assert store.readings.newest(anna, project.id) == present
    nobody, read = store.readings.list(lea, project.id)
    assert nobody == Reading(user_id=lea.user_id, name="lea", version=None, read_at=None)
    assert (read.name, read.version) == ("anna", present)
    assert read.read_at
    store.projects.save_rubric(ADMIN, project.id, CHANGED)
    assert store.readings.newest(anna, project.id) == present  # the present version is another one now
    store.readings.acknowledge(anna, project.id, present + 1)
    assert [(each.name, each.version) for each in store.readings.list(lea, project.id)] == [
        ("lea", None),
        ("anna", present + 1),
    ]
    entries = store.audit.list(lea, project.id)
    assert [entry.detail for entry in entries if entry.action == "guidelines read"] == [
        {"version": present + 1},
        {"version": present},
    ]


def test_a_version_that_there_is_not_and_a_stranger_are_refused(store, make_project, make_actor):
    project = make_project(store)
    anna, eve = make_actor(store, "annotator", "anna", project), make_actor(store, "annotator", "eve")
    for version in (0, 2):
        with pytest.raises(ValueError, match=f"version is {version}, allowed is 1 to 1"):
            store.readings.acknowledge(anna, project.id, version)
    for actor in (eve, ADMIN):
        with pytest.raises(AccessError):
            store.readings.acknowledge(actor, project.id, 1)
