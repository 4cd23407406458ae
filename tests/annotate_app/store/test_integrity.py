"""The check finds each kind of damage, and names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import TextClause, text

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()


@pytest.fixture
def damaged(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]
) -> Callable[[str], list[str]]:
    """Runs a statement beside the rules of the store on a sound database; the problems found then."""
    project = make_project(store, design=Design(overlap=2))
    make_project(store, "other", num_comparisons=1)
    anna = make_actor(store, "annotator", "anna", project)
    votes = [Judgment(comparison_id="c0", annotator=name, choice="b", strength=1) for name in "uv"]
    store.judgments.import_many(ADMIN, project.id, votes)
    store.work.lease(anna, project.id)
    assert store.check() == []

    def damage(statement: str) -> list[str]:
        with store.database.write() as connection:
            connection.execute(TextClause(statement))
        return store.check()

    return damage


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE judgment SET newest = false WHERE id = 1", "judged slots without exactly one judgment"),
        ("UPDATE slot SET state = 0, user_id = NULL WHERE state = 2", "judgments that count without a judged slot"),
        ("UPDATE judgment SET user_id = 3 WHERE id = 1", "judgments that count without a judged slot of their own"),
        (
            "INSERT INTO judgment (project_id, comparison_id, user_id, slot_id, kind, event_id, choice, strength, "
            "criteria, flags, rationale, reason, seconds, shown_left, rubric_version, newest, created_at) "
            "SELECT project_id, comparison_id, user_id, slot_id, kind, 'again', choice, strength, criteria, flags, "
            "rationale, reason, seconds, shown_left, rubric_version, newest, created_at FROM judgment WHERE id = 1",
            "judgments that count twice for one person and comparison: 3",
        ),
        ("UPDATE slot SET token = NULL WHERE state = 1", "leased slots without a holder, a token or an end"),
        ("UPDATE slot SET user_id = 1 WHERE state = 0 AND comparison_id = 5 AND id = 9", "open slots with a holder"),
        ("UPDATE slot SET kind = 'gold' WHERE state = 0 AND comparison_id = 5", "open slots that are no work"),
        ("UPDATE slot SET project_id = 2 WHERE state = 0 AND id = 9", "slots in another project"),
        ("UPDATE judgment SET project_id = 2 WHERE id = 1", "judgments in another project"),
        ("UPDATE comparison SET project_id = 2 WHERE id = 5", "comparisons in another project than their prompt"),
        ("UPDATE comparison SET response_a = 1 WHERE id = 5", "comparisons of responses to another prompt"),
        ("DELETE FROM slot WHERE id = 9", "too many or too few open work slots: 'c4'"),
        ("UPDATE comparison SET overlap = 1 WHERE id = 5", "too many or too few open work slots: 'c4'"),
        ("UPDATE response SET text = text || '.' WHERE id = 4", "texts that do not match their hash: response 4"),
        ("UPDATE prompt SET messages = '[]' WHERE id = 2", "texts that do not match their hash: prompt 2"),
        ("DELETE FROM rubric WHERE project_id = 2", "projects whose rubric versions have gaps: 'other'"),
        ("UPDATE rubric SET version = 3 WHERE project_id = 2", "projects whose rubric versions have gaps: 'other'"),
        ("UPDATE place SET cursor_rank = 1e200", "open slots that a member would never be handed"),
        ("UPDATE place SET num_judged = 7", "members whose count of judgments is wrong"),
        ("UPDATE judgment SET directions = ';x<' WHERE id = 1", "whose directions are not those of their criteria"),
        (
            "UPDATE judgment SET step_labels = '[1, 0]' WHERE id = 1",
            "labels are not one for each step of their answer: 1",
        ),
        (
            """INSERT INTO answer_steps (comparison_id, steps) VALUES (1, '["a", "b"]')""",
            "2 judgments whose labels are not one for each step of their answer: 1, 2",
        ),
        (
            """INSERT INTO answer_steps (comparison_id, steps, scores) VALUES (5, '["a", "b"]', '[0.5]')""",
            "answers whose scores are not one for each step: 'c4'",
        ),
    ],
)
def test_damage_is_found(damaged: Callable[[str], list[str]], statement: str, found: str) -> None:
    problems = damaged(statement)
    assert any(found in problem for problem in problems), problems


def test_answers_in_steps_with_their_labels_are_sound(store: Store) -> None:
    rubric = "title: T\nguidelines: G\ntask: steps"
    project = store.projects.create(ADMIN, "steps", rubric_text=rubric, design=Design(overlap=2))
    prompt, steps = (Message(role="user", content="q"),), ("a", "b")
    whole = Comparison(id="s", prompt=prompt, completion_a="a\nb", completion_b="a\nb", steps=steps)
    store.comparisons.add(ADMIN, project.id, [replace(whole, step_scores=(0.5, None))])
    judged = Judgment(comparison_id="s", annotator="u", choice="b", strength=1, step_labels=(0.0, None))
    skipped = Judgment(comparison_id="s", annotator="v", choice="skip", reason="tired")
    store.judgments.import_many(ADMIN, project.id, [judged, skipped])
    assert store.check() == []


def test_lines_missing_from_the_audit_log_are_found(sqlite_store: Store, make_project: Callable[..., Project]) -> None:
    make_project(sqlite_store)
    with sqlite_store.database.write() as connection:
        connection.execute(text("DROP TRIGGER audit_no_delete"))
        connection.execute(text("DELETE FROM audit WHERE id = 1"))
    assert sqlite_store.check() == ["the audit log has 1 lines numbered 2 to 2: lines are missing"]


def test_rows_that_refer_to_nothing_are_found(sqlite_store: Store, make_project: Callable[..., Project]) -> None:
    make_project(sqlite_store)
    connection = sqlite_store.database.engine.raw_connection()
    connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[attr-defined]
    connection.execute("UPDATE slot SET comparison_id = 99 WHERE id = 1")  # type: ignore[attr-defined]
    connection.close()
    assert any("rows that refer to nothing: slot 1 -> comparison" in problem for problem in sqlite_store.check())
