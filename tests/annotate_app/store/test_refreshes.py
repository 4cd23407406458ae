"""When new priorities are due, on both databases."""

from __future__ import annotations

import pytest

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.store import Store

ADMIN = Actor.command_line()


def queue(store: Store, project_id: int):
    return store.jobs.add(ADMIN, "rank", "New priorities", ["annotate_app"], project_id, alone=True)


def test_due_after_every_so_many_judgments(store: Store, make_project, make_actor, work_through) -> None:
    project = make_project(store, num_comparisons=12, design=Design(policy="priority", overlap=1, refresh_every=3))
    other = make_project(store, "another", design=Design(overlap=1))
    anna = make_actor(store, "annotator", "anna", project)
    store.projects.add_member(ADMIN, other.id, anna.user_id)
    work_through(store, anna, other, 4)
    work_through(store, anna, project, 2)
    assert store.refreshes.due() == []
    work_through(store, anna, project, 1)
    assert store.refreshes.due() == [project.id]
    job = queue(store, project.id)
    work_through(store, anna, project, 3)
    assert store.refreshes.due() == []  # one waits already
    assert store.jobs.claim().id == job.id
    assert store.refreshes.due() == []
    store.jobs.finish(job.id, "failed", "too little")
    assert store.refreshes.due() == [project.id]  # three came since it was queued
    job = queue(store, project.id)
    store.jobs.cancel(ADMIN, job.id)
    assert store.refreshes.due() == []
    work_through(store, anna, project, 2)
    assert store.refreshes.due() == []
    work_through(store, anna, project, 1)
    assert store.refreshes.due() == [project.id]
    store.projects.update(ADMIN, project.id, archived=True)
    assert store.refreshes.due() == []


def test_skips_do_not_count(store: Store, make_project, make_actor, answer) -> None:
    project = make_project(store, num_comparisons=4, design=Design(policy="priority", overlap=1, refresh_every=2))
    anna = make_actor(store, "annotator", "anna", project)
    for choice in ("a", "skip", "skip"):
        (lease,) = store.work.lease(anna, project.id, count=1)
        answer(store, anna, project, lease, choice, lease_count=0)
    assert store.refreshes.due() == []


def test_a_job_that_is_to_be_alone_is(store: Store, make_project) -> None:
    project, other = make_project(store), make_project(store, "another")
    first = queue(store, project.id)
    queue(store, other.id)
    with pytest.raises(ValueError, match="a job of the kind rank waits or runs already"):
        queue(store, project.id)
    store.jobs.add(ADMIN, "export", "Export", ["annotate_app"], project.id, alone=True)
    store.jobs.cancel(ADMIN, first.id)
    queue(store, project.id)


def test_a_design_that_wants_new_priorities_hands_out_by_them() -> None:
    with pytest.raises(ValueError, match="refresh_every is 5 with policy 'random'"):
        Design(policy="random", refresh_every=5)
    with pytest.raises(ValueError, match="refresh_every is -1"):
        Design(policy="priority", refresh_every=-1)
    assert Design.from_dict(Design(policy="priority", refresh_every=5).as_dict()).refresh_every == 5
    old = {name: value for name, value in Design().as_dict().items() if name != "refresh_every"}
    assert Design.from_dict(old).refresh_every == 0  # as stored before there was such a setting
