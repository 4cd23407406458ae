"""Lessons on their page: moved, asked and answered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.lessons.catalogue.catalogue import LESSONS, find

OpenPage = Callable[..., AppTest]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["agreement", "ppo-clip", "kl-penalty"])
def test_an_annotator_moves_a_lesson_and_answers_its_question(open_page: OpenPage, key: str) -> None:
    """A number is asked, without torch and with it; a choice is asked. The browser's test goes through all lessons."""
    lesson = find(key)
    if lesson.needs_torch:
        pytest.importorskip("torch", reason="THIS LESSON NEEDS TORCH")  # imported before the page's clock runs
    test = open_page("learn", "anna", query={"lesson": key})
    assert [header.value for header in test.header] == [lesson.title]
    before = [table.value.to_string() for table in test.table]
    first = lesson.sliders[0]
    test.slider(key=f"learn-{key}-{first.name}").set_value(99 if key == "agreement" else 2.0).run()
    assert not test.exception
    after = [table.value.to_string() for table in test.table]
    assert before[0] != after[0]
    assert before[1:] == after[1:]  # the claims stay as they are
    answer = lesson.question.answer()
    widget = (test.radio if lesson.question.choices else test.number_input)(key=f"learn-answer-{key}")
    widget.set_value(answer)
    test.button(key=f"FormSubmitter:learn-question-{key}-Check").click().run()
    assert [message.value for message in test.success] == ["Right."]


@pytest.mark.slow
def test_ways_lead_through_the_lessons(open_page: OpenPage) -> None:
    pytest.importorskip("torch")
    test = open_page("learn", "anna", query={"lesson": "no-such-lesson"})
    assert "no-such-lesson" in test.info[0].value
    assert test.button(key="learn-previous").disabled
    test.selectbox(key="learn-lesson").select(LESSONS[-1].key).run()
    assert test.query_params["lesson"] == LESSONS[-1].key
    assert test.button(key="learn-next").disabled
