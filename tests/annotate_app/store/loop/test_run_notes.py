"""What is said of runs: kept a run, changed field by field, in the audit log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.store.jobs import Job
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store


def run_of(store: Store, actor: Actor, project: Project, run_dir: str = "jobs/one") -> Job:
    return store.jobs.add(actor, "train", "tiny", ["annotate_app", "train"], project.id, run_dir=run_dir)


def test_each_word_is_kept_and_the_others_stay(store: Store, project: Project, lead: Actor) -> None:
    run = run_of(store, lead, project)
    assert store.run_notes.list(lead, project.id) == {}
    first = store.run_notes.change(lead, project.id, run.run_dir, name="  Before \n holiday ", tags=["b", " a", "b"])
    assert (first.name, first.note, first.tags, first.archived) == ("Before holiday", "", ("a", "b"), False)
    store.run_notes.change(lead, project.id, run.run_dir, note="**why** it won\n")
    last = store.run_notes.change(lead, project.id, run.run_dir, archived=True)
    assert (last.name, last.note, last.tags, last.archived) == ("Before holiday", "**why** it won", ("a", "b"), True)
    assert store.run_notes.list(lead, project.id) == {run.run_dir: last}
    cleared = store.run_notes.change(lead, project.id, run.run_dir, name="", tags=[])
    assert (cleared.name, cleared.tags) == ("", ())


def test_a_run_keeps_its_name_when_it_goes_on(store: Store, project: Project, lead: Actor) -> None:
    run = run_of(store, lead, project)
    store.run_notes.change(lead, project.id, run.run_dir, name="kept")
    again = run_of(store, lead, project)
    assert again.id != run.id
    assert store.run_notes.list(lead, project.id)[again.run_dir].name == "kept"


def test_changes_are_audited_under_the_runs_number_and_nothing_new_is_not(
    store: Store, project: Project, lead: Actor
) -> None:
    run = run_of(store, lead, project)
    for _ in range(2):
        store.run_notes.change(lead, project.id, run.run_dir, name="new", note="a long story")
    entries = [entry for entry in store.audit.list(lead, project.id) if entry.action == "run note"]
    assert [(entry.actor, entry.subject, entry.detail) for entry in entries] == [
        ("lea", f"run {run.id}", {"name": "new", "note": 12})
    ]


def test_runs_of_other_projects_are_out_of_reach(
    store: Store, project: Project, lead: Actor, make_project: Callable[..., Project], make_actor: Callable[..., Actor]
) -> None:
    other = make_project(store, "other")
    stranger = make_actor(store, "lead", "otto", other)
    run = run_of(store, lead, project)
    with pytest.raises(ValueError, match=r"there is no run in 'jobs/one' in the project"):
        store.run_notes.change(stranger, other.id, run.run_dir, name="mine")
    with pytest.raises(AccessError):
        store.run_notes.change(stranger, project.id, run.run_dir, name="mine")
    store.run_notes.change(lead, project.id, run.run_dir, name="ours")
    assert store.run_notes.list(stranger, other.id) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x" * 121}, "name of the run has 121 characters, allowed are 120"),
        ({"tags": ["a,b"]}, r"tag is 'a,b', allowed are 1 to 40 characters without comma"),
        ({"tags": [" "]}, "tag is '', allowed are 1 to 40"),
        ({"tags": ["x" * 41]}, "allowed are 1 to 40"),
        ({"tags": [str(n) for n in range(21)]}, "21 tags, allowed are 20"),
        ({"note": "a\x00"}, "note of the run holds a NUL character"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_changes_nothing(
    store: Store, project: Project, lead: Actor, values: dict[str, object], message: str
) -> None:
    run = run_of(store, lead, project)
    store.run_notes.change(lead, project.id, run.run_dir, name="before")
    with pytest.raises(ValueError, match=message):
        store.run_notes.change(lead, project.id, run.run_dir, archived=True, **values)  # type: ignore[arg-type]
    assert store.run_notes.list(lead, project.id)[run.run_dir].archived is False
