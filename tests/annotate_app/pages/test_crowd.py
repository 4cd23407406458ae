"""Crowd links: making one by the form, its address, its figures, switching it off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.store.store import Store

pytestmark = pytest.mark.slow

ADMIN = Actor.command_line()


def press(test: AppTest, label: str) -> AppTest:
    next(button for button in test.button if button.label == label).click().run()
    assert not test.exception, test.exception
    return test


def test_a_link_is_made_counted_and_switched_off(pages_store: Store, open_page: Callable[..., AppTest]) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    test = open_page("crowd")
    test.text_input(key="crowd-screen_out_code").set_value("OUT1")
    test.number_input(key="crowd-target").set_value(7)
    test.number_input(key="crowd-reward").set_value(3.0)
    code = test.text_input(key="crowd-completion_code").value
    press(test, "Make the link")
    (link,) = pages_store.crowd.links(ADMIN, project.id)
    assert (link.plan.target, link.plan.completion_code, link.plan.screen_out_code) == (7, code, "OUT1")
    assert link.plan.return_to("X") == "https://app.prolific.com/submissions/complete?cc=X"
    assert f"/crowd/{link.token}?PROLIFIC_PID={{{{%PROLIFIC_PID%}}}}&STUDY_ID=" in test.code[0].value
    pages_store.crowd.enter(link.token, "5f00", {"STUDY_ID": "s"}, "10.0.0.1")
    test.run()
    assert {item.label: item.value for item in test.metric}["Started"] == "1"
    assert test.dataframe[0].value.iloc[0]["id"] == "5f00"
    press(test, "Switch off")
    assert pages_store.crowd.open_link(link.token) is None


def test_a_wrong_plan_is_said_in_one_line(pages_store: Store, open_page: Callable[..., AppTest]) -> None:
    test = open_page("crowd")
    test.text_input(key="crowd-completion_code").set_value("two words")
    press(test, "Make the link")
    assert "code is 'two words'" in "\n".join(item.value for item in test.text)
    assert pages_store.crowd.links(ADMIN, pages_store.projects.get(ADMIN, DEMO).id) == []
