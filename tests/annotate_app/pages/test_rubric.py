"""The rubric page: mistakes at their line, saving, protocols, versions, and who may come here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.pages.kit import context
from annotate_app.pages.views.rubric_form import TASK_QUESTIONS, YAML_ONLY
from annotate_app.protocol.protocol import list_protocols, load_protocol
from annotate_app.protocol.rubric import Criterion, Flag, Rubric, Scale, parse_rubric
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store

pytestmark = pytest.mark.slow

EDITED = "title: Edited\nguidelines: Read both.\nscale:\n  steps: 5\n"


def draw() -> None:
    from annotate_app.pages import rubric

    rubric.page()


@pytest.fixture
def open_page(
    sqlite_store: Store,
    sqlite_url: str,
    make_project: Callable[..., Project],
    make_actor: Callable[..., Actor],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., AppTest]:
    """Opens the page as a member of a new project: `open_page("lead")`."""
    project = make_project(sqlite_store)
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    st.cache_resource.clear()  # every AppTest has a component registry of its own, which the cached mounts do not know

    def open_as(role: str, view: str = "yaml") -> AppTest:
        actor = make_actor(sqlite_store, role, f"the {role}", project)
        user = sqlite_store.people.by_name(Actor.command_line(), actor.name)
        assert user is not None
        token = sqlite_store.people.start_session(user)
        monkeypatch.setattr(context, "session_token", lambda: token)
        page = AppTest.from_function(draw, default_timeout=20)
        page.session_state["project"] = project.name
        page.session_state["rubric-view"] = view
        return page.run()

    return open_as


def button(page: AppTest, label: str):
    return next(each for each in page.button if each.label.startswith(label))


def test_a_mistake_is_shown_at_its_line_and_cannot_be_saved(open_page: Callable[..., AppTest]) -> None:
    page = open_page("lead")
    assert not page.exception
    page.text_area[0].set_value(EDITED.replace("5", "6")).run()
    assert not page.exception
    assert "line 4" in page.error[0].value
    assert page.text[0].value == "rubric.yaml:4: scale.steps is 6, allowed are 2, 3, 4, 5, 7, 8"
    assert any(">    4    steps: 6" in each.value for each in page.code)
    assert button(page, "Save").disabled


def test_saving_makes_the_next_version(open_page: Callable[..., AppTest], sqlite_store: Store) -> None:
    page = open_page("lead")
    assert button(page, "Save as version 2").disabled, "nothing to save yet"
    page.text_area[0].set_value(EDITED).run()
    changes = [each.value for each in page.code if "+title: Edited" in each.value]
    assert changes, "the change is shown before it is saved"
    button(page, "Save as version 2").click().run()
    assert not page.exception
    newest = sqlite_store.projects.rubric(Actor.command_line(), 1)
    assert (newest.version, newest.text, newest.created_by) == (2, EDITED, "the lead")
    assert button(page, "Save as version 3").disabled


def test_a_protocol_is_put_into_the_editor_and_nothing_is_saved(
    open_page: Callable[..., AppTest], sqlite_store: Store
) -> None:
    page = open_page("lead")
    page.selectbox[0].set_value("multipref").run()
    button(page, "Put into the editor").click().run()
    assert page.text_area[0].value == load_protocol("multipref").rubric_text
    assert sqlite_store.projects.rubric(Actor.command_line(), 1).version == 1
    button(page, "Back to the version in use").click().run()
    assert page.text_area[0].value == sqlite_store.projects.rubric(Actor.command_line(), 1).text


def test_an_old_version_can_be_taken_up_again(open_page: Callable[..., AppTest], sqlite_store: Store) -> None:
    first = sqlite_store.projects.rubric(Actor.command_line(), 1).text
    sqlite_store.projects.save_rubric(Actor.command_line(), 1, EDITED)
    page = open_page("lead")
    assert page.text_area[0].value == EDITED
    assert any("+title: Edited" in each.value for each in page.code), "what version 2 changed"
    page.selectbox[1].set_value(1).run()
    button(page, "Put version 1 into the editor").click().run()
    assert page.text_area[0].value == first


def field(elements: Any, label: str) -> Any:
    return next(each for each in elements if each.label == label)


def test_fields_write_the_rubric(open_page: Callable[..., AppTest], sqlite_store: Store) -> None:
    page = open_page("lead", "form")
    before = sqlite_store.projects.rubric(Actor.command_line(), 1)
    assert not page.exception
    assert button(page, "Save as version 2").disabled, "looking at the fields changes nothing"
    field(page.text_input, "Title").set_value("Which is clearer?").run()
    field(page.selectbox, "Steps of the scale").set_value(4).run()
    field(page.checkbox, "A tie may be given").uncheck().run()
    button(page, "Add a criterion").click().run()
    field(page.text_input, "Name").set_value("tone").run()
    field(page.text_input, "Its question").set_value("Which is kinder?").run()
    assert not page.exception
    for view in ("yaml", "form"):
        page.session_state["rubric-view"] = view
        page.run()
    button(page, "Save as version 2").click().run()
    assert not page.exception
    saved = sqlite_store.projects.rubric(Actor.command_line(), 1)
    assert saved.version == 2
    expected = Criterion(name="tone", question="Which is kinder?")
    assert saved.rubric == replace(
        before.rubric,
        title="Which is clearer?",
        scale=Scale(steps=4, tie=False),
        criteria=(*before.rubric.criteria, expected),
    )


def test_a_field_that_no_rubric_takes_is_said_and_the_rest_stays(open_page: Callable[..., AppTest]) -> None:
    page = open_page("lead", "form")
    field(page.text_input, "Title").set_value("Kept").run()
    button(page, "Add a criterion").click().run()
    field(page.text_input, "Name").set_value("Überzeugend").run()
    field(page.text_input, "Its question").set_value("Which convinces?").run()
    assert "Überzeugend" in page.text[0].value
    assert "a lower-case letter" in page.text[0].value
    field(page.text_input, "Name").set_value("convincing").run()
    assert not page.error
    rubric = parse_rubric(page.session_state["rubric-text-1-draft"])
    assert (rubric.title, rubric.criteria[-1].name) == ("Kept", "convincing")


def test_fields_follow_what_the_yaml_says_and_wait_while_it_is_wrong(open_page: Callable[..., AppTest]) -> None:
    page = open_page("lead")
    page.text_area[0].set_value(EDITED).run()
    page.session_state["rubric-view"] = "form"
    page.run()
    assert field(page.text_input, "Title").value == "Edited"
    assert field(page.selectbox, "Steps of the scale").value == 5
    button(page, "Back to the version in use").click().run()
    assert field(page.text_input, "Title").value != "Edited"
    page.session_state["rubric-view"] = "yaml"
    page.run()
    page.text_area[0].set_value("title: only\n").run()
    page.session_state["rubric-view"] = "form"
    page.run()
    assert not page.exception
    assert "once the YAML has no mistake" in page.warning[0].value


def test_every_key_of_a_rubric_has_a_field(
    open_page: Callable[..., AppTest], sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = st.data_editor  # AppTest cannot type into it
    marked = {"name": "wrong", "label": "", "help": "Not so", "spans": True}
    monkeypatch.setattr(st, "data_editor", lambda *data, **options: [*drawn(*data, **options), marked])
    page = open_page("lead", "form")
    before = sqlite_store.projects.rubric(Actor.command_line(), 1).rubric
    field(page.text_input, "Title").set_value("Which is clearer?")
    field(page.text_input, "The question").set_value("Which one?")
    field(page.text_area, "Guidelines").set_value("Read both.")
    field(page.text_area, "Reasons to skip, a line each").set_value("other")
    field(page.selectbox, "Steps of the scale").set_value(5)
    field(page.checkbox, "“Both bad” is an answer").set_value(not before.both_bad)
    field(page.checkbox, "A response may be written anew").check()
    field(page.segmented_control, "A reason in own words").set_value("required")
    button(page, "Add a criterion").click().run()
    field(page.text_input, "Name").set_value("tone")
    field(page.text_input, "Its question").set_value("Which is kinder?").run()
    assert not page.exception
    written = parse_rubric(page.session_state["rubric-text-1"])
    assert written.flags[-1] == Flag(name="wrong", label="wrong", help="Not so", spans=True)
    changed = {key for key in Rubric.__dataclass_fields__ if getattr(written, key) != getattr(before, key)}
    field(page.segmented_control, "What annotators do").set_value("rank").run()
    ranking = parse_rubric(page.session_state["rubric-text-1"])
    assert (ranking.task, ranking.criteria, ranking.edit) == ("rank", (), "optional")
    assert changed | {"task"} | set(YAML_ONLY) == set(Rubric.__dataclass_fields__)


def test_the_question_follows_the_task_unless_it_is_ones_own(open_page: Callable[..., AppTest]) -> None:
    page = open_page("lead", "form")
    field(page.text_input, "The question").set_value(TASK_QUESTIONS["compare"]).run()
    for task in ("best", "rank", "compare"):
        field(page.segmented_control, "What annotators do").set_value(task).run()
        assert not page.exception
        assert not page.error
        assert not page.warning
        rubric = parse_rubric(page.session_state["rubric-text-1"])
        assert (rubric.task, rubric.question) == (task, TASK_QUESTIONS[task])
    field(page.text_input, "The question").set_value("Mine?").run()
    field(page.segmented_control, "What annotators do").set_value("best").run()
    assert parse_rubric(page.session_state["rubric-text-1"]).question == "Mine?"


@pytest.mark.parametrize("name", list_protocols())
def test_every_shipped_rubric_passes_through_the_fields_unchanged(open_page: Callable[..., AppTest], name: str) -> None:
    page = open_page("lead", "form")
    page.session_state["rubric-text-1"] = load_protocol(name).rubric_text
    page.run()
    assert not page.exception
    assert page.session_state["rubric-text-1"] == load_protocol(name).rubric_text


@pytest.mark.parametrize("role", ["annotator", "adjudicator"])
def test_only_leads_come_here(open_page: Callable[..., AppTest], role: str) -> None:
    page = open_page(role)
    assert not page.text_area
    assert "not yours to see" in page.error[0].value
