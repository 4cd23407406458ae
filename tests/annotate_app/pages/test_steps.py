"""Pages of a project that judges steps: import, the list with its division, agreement, adjudication."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
NAME = "Steps"
STEPS = ("2 + 3 = 5", "5 * 2 = 11", "So 11.")


@pytest.fixture
def project(pages_store: Store) -> Project:
    """Two answers in three steps; of the first, two people name another first error."""
    text = rubric_text(Rubric(title="T", guidelines="G", question="Is each step right?", task="steps"))
    project = pages_store.projects.create(ADMIN, NAME, rubric_text=text, design=Design(overlap=2))
    for name in ("lea", "addy"):
        (user,) = [user for user in pages_store.people.list(ADMIN) if user.name == name]
        pages_store.projects.add_member(ADMIN, project.id, user.id)
    prompt = (Message(role="user", content="2 + 3, twice?"),)
    whole = {"prompt": prompt, "completion_a": "\n".join(STEPS), "completion_b": "\n".join(STEPS), "steps": STEPS}
    pages_store.comparisons.add(ADMIN, project.id, [Comparison(id=key, **whole) for key in ("judged", "open")])
    votes = {"anna": (1.0, 0.0, 0.0), "ben": (1.0, 1.0, 0.0)}
    pages_store.judgments.import_many(
        ADMIN,
        project.id,
        [
            Judgment(comparison_id="judged", annotator=name, choice="b", strength=1, step_labels=labels)
            for name, labels in votes.items()
        ],
    )
    return project


def test_a_step_that_people_differ_on_is_adjudicated(
    open_page: Callable[..., AppTest], pages_store: Store, project: Project
) -> None:
    test = open_page("adjudicate", "addy", project=NAME)
    assert any(text.value == "1 of 1: judged#s2" for text in test.text)
    (said,) = (frame.value for frame in test.dataframe if "text of the step" in frame.value.columns)
    assert said["text of the step"].tolist() == list(STEPS)
    assert said[["Person 1", "Person 2"]].iloc[1].tolist() in (["wrong", "right"], ["right", "wrong"])
    assert [button.label for button in test.button if str(button.key).startswith("decide-")][:3] == [
        *("right", "neutral", "wrong")
    ]
    test.button(key=f"decide-{key_of('judged#s2')}-b-1").click().run()
    assert not test.exception
    assert pages_store.judgments.adjudications(ADMIN, project.id)["judged#s2"].choice == "b"


def test_agreement_on_steps_and_on_the_first_error_is_on_the_page(
    open_page: Callable[..., AppTest], project: Project
) -> None:
    test = open_page("agreement", "lea", project=NAME)
    figures = {metric.label: metric.value for metric in test.metric}
    assert (figures["Agreement on steps"], figures["Agreement on the first error"]) == ("67%", "0%")


def test_a_lead_divides_an_answer_that_nobody_judged(
    open_page: Callable[..., AppTest], pages_store: Store, project: Project
) -> None:
    judged = open_page("comparisons", "lea", project=NAME, query={"item": "judged"})
    assert not [area for area in judged.text_area if area.label.startswith("Steps")]
    test = open_page("comparisons", "lea", project=NAME, query={"item": "open"})
    test.text_area(key=f"divide-{key_of('open')}-steps").input("2 + 3 = 5\n5 * 2 = 11\n\nSo 11.")
    next(button for button in test.button if button.label == "Save steps").click().run()
    assert not test.exception
    assert pages_store.comparisons.get(ADMIN, project.id, "open").steps == ("2 + 3 = 5\n5 * 2 = 11", "So 11.")


def test_answers_are_split_and_imported_on_the_page(
    open_page: Callable[..., AppTest], pages_store: Store, project: Project
) -> None:
    test = open_page("import_data", "lea", project=NAME)
    row = {"id": "new", "prompt": "How much?", "response": "It is 5. So 10."}
    test.file_uploader[0].set_value(("rows.jsonl", json.dumps(row).encode(), "application/jsonl")).run()
    next(field for field in test.text_input if field.label == "Whole answers are split by").input("sentence").run()
    assert any(text.value.startswith("A prompt and a whole answer, or a list of them") for text in test.text)
    next(button for button in test.button if button.label == "Import comparisons").click().run()
    assert not test.exception
    assert pages_store.comparisons.get(ADMIN, project.id, "new").steps == ("It is 5.", "So 10.")
