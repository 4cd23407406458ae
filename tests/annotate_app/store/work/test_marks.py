"""Marked words and edits in the store, on both databases: as given, back through undo, and within their texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from annotate_app.access import Actor
from annotate_app.protocol.leases import Submission
from annotate_app.protocol.rubric import Flag, Rubric, rubric_text
from annotate_app.store.projects.comparisons import Added
from rewardkit.data.records import Judgment, Span

ADMIN = Actor.command_line()
RUBRIC = rubric_text(
    Rubric(title="T", guidelines="G", flags=(Flag(name="wrong", label="Wrong", spans=True),), edit="optional")
)
SPANS = (Span(side="a", start=0, end=2, flag="wrong"), Span(side="b", start=3, end=9, flag="wrong"))
MARKED = Judgment(
    comparison_id="c0",
    annotator="anna",
    choice="b",
    strength=1,
    flags={"a": ("wrong",), "b": ("wrong",)},
    spans=SPANS,
    edited={"b": "  anew\r\n😀 "},
    created_at=5.0,
)


def test_marks_are_stored_as_given_and_come_back_with_undo_and_edit(store, make_project, make_actor):
    project = make_project(store)
    store.projects.save_rubric(ADMIN, project.id, RUBRIC)
    anna = make_actor(store, "annotator", "anna", project)
    lease = store.work.lease(anna, project.id)[0]
    store.work.submit(anna, project.id, Submission(token=lease.token, event_id="e1", judgment=MARKED))
    (stored,) = store.judgments.iterate(ADMIN, project.id)
    assert (stored.spans, stored.edited, stored.flags) == (SPANS, MARKED.edited, MARKED.flags)
    assert store.judgments.spans(ADMIN, project.id) == {("c0", "anna"): SPANS}
    undone = store.work.undo(anna, project.id)
    assert (undone.previous.spans, undone.previous.edited) == (SPANS, MARKED.edited)
    assert store.judgments.spans(ADMIN, project.id) == {}


def test_marks_outside_of_the_text_change_nothing(store, make_project, make_actor):
    project = make_project(store)
    store.projects.save_rubric(ADMIN, project.id, RUBRIC)
    anna = make_actor(store, "annotator", "anna", project)
    lease = store.work.lease(anna, project.id)[0]
    size = len(lease.comparison.completion_a)
    far = replace(MARKED, spans=(Span(side="a", start=size - 1, end=size + 1, flag="wrong"),))
    with pytest.raises(ValueError, match=f"span {size - 1} to {size + 1} of 'wrong' ends behind its text"):
        store.work.submit(anna, project.id, Submission(token=lease.token, event_id="e1", judgment=far))
    assert list(store.judgments.iterate(ADMIN, project.id)) == []
    with pytest.raises(ValueError, match=f"judgment of 'c0' by 'anna': span {size - 1} to {size + 1}"):
        store.judgments.import_many(ADMIN, project.id, [far])
    assert list(store.judgments.iterate(ADMIN, project.id)) == []


def test_imported_marks_are_known_again_and_new_ones_supersede(store, make_project):
    project = make_project(store)
    plain = replace(MARKED, spans=(), edited={})
    assert store.judgments.import_many(ADMIN, project.id, [plain]).num_added == 1
    assert store.judgments.import_many(ADMIN, project.id, [MARKED]) == Added(num_added=1, num_existing=0)
    assert store.judgments.import_many(ADMIN, project.id, [MARKED]) == Added(num_added=0, num_existing=1)
    (stored,) = store.judgments.iterate(ADMIN, project.id)
    assert (stored.spans, stored.edited) == (SPANS, MARKED.edited)
