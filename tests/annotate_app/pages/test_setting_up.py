"""Making projects, changing their settings, and looking through what they hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.pages.design_form import read_groups
from annotate_app.pages.overview import projected_end
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import list_protocols, load_protocol
from annotate_app.store.projects.progress import Progress
from annotate_app.store.store import Store

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()
EMPTY = "Empty project"


@pytest.mark.parametrize("name", list_protocols())
def test_a_protocol_makes_a_project_with_its_rubric_and_design(
    open_page: OpenPage, pages_store: Store, name: str
) -> None:
    test = open_page("projects")
    test.selectbox(key="new-source").select(name).run()
    test.text_input(key=f"new-{name}-name").input("Made here")
    create(test).click().run()
    assert not test.error
    project = pages_store.projects.get(ADMIN, "Made here")
    assert project.design == load_protocol(name).design
    assert pages_store.projects.rubric(ADMIN, project.id).rubric.protocol == name
    assert test.session_state["project"] == "Made here"


def create(test: AppTest):
    return next(button for button in test.button if button.label == "Create project")


def test_a_mistake_in_an_own_rubric_is_said_with_its_line_and_makes_nothing(
    open_page: OpenPage, pages_store: Store
) -> None:
    test = open_page("projects")
    test.selectbox(key="new-source").select("own").run()
    test.text_input(key="new-own-name").input("Wrong")
    test.text_area(key="new-own-rubric").input("title: x\nguidelines: y\nscale:\n  steps: 6\n")
    create(test).click().run()
    assert [error.value for error in test.error] == ["That was not done:"]
    assert any("rubric of Wrong:4" in text.value for text in test.text)
    assert "Wrong" not in [project.name for project in pages_store.projects.list(ADMIN)]


def test_one_click_makes_an_empty_project_and_chooses_it(open_page: OpenPage, pages_store: Store) -> None:
    test = open_page("projects")
    known = {project.name for project in pages_store.projects.list(ADMIN)}
    test.button(key="projects-empty").click().run()
    made = {project.name for project in pages_store.projects.list(ADMIN)} - known
    assert made == {"Project 1"}
    assert test.session_state["project"] == "Project 1"


def test_an_archived_project_can_be_restored(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = open_page("projects")
    test.button(key=f"archive-{project.id}").click().run()
    assert pages_store.projects.get(ADMIN, EMPTY).archived
    assert test.button(key=f"archive-{project.id}").label == "Restore"
    test.button(key=f"archive-{project.id}").click().run()
    assert not pages_store.projects.get(ADMIN, EMPTY).archived


def test_settings_are_saved_and_nothing_else_changes(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    key = f"settings-{project.id}"
    test = open_page("overview", project=EMPTY)
    test.text_input(key=f"{key}-groups").input("crowd: 2, expert: 1")
    test.slider(key=f"{key}-gold_rate").set_value(0.1)
    next(button for button in test.button if button.label == "Save settings").click().run()
    assert not test.error
    design = pages_store.projects.get(ADMIN, EMPTY).design
    assert design == Design(groups={"crowd": 2, "expert": 1}, gold_rate=0.1)


def test_settings_that_make_no_design_are_refused_in_one_line(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = open_page("overview", project=EMPTY)
    test.text_input(key=f"settings-{project.id}-groups").input("crowd two")
    next(button for button in test.button if button.label == "Save settings").click().run()
    assert any("'crowd two' is not a name, a colon and a number" in text.value for text in test.text)
    assert pages_store.projects.get(ADMIN, EMPTY).design == Design()


def test_new_priorities_are_asked_for_and_need_work_in_their_order(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = open_page("overview", project=EMPTY)
    test.number_input(key=f"settings-{project.id}-refresh_every").set_value(50)
    save = next(button for button in test.button if button.label == "Save settings")
    save.click().run()
    assert any("refresh_every is 50 with policy 'sequential'" in text.value for text in test.text)
    assert pages_store.projects.get(ADMIN, EMPTY).design == Design()
    test.selectbox(key=f"settings-{project.id}-policy").select("priority")
    next(button for button in test.button if button.label == "Save settings").click().run()
    assert pages_store.projects.get(ADMIN, EMPTY).design == Design(policy="priority", refresh_every=50)


def test_a_new_project_says_what_comes_next(open_page: OpenPage) -> None:
    words = [element.value for element in open_page("overview", project=EMPTY).markdown]
    assert any("Import prompts" in word for word in words)
    assert "First steps" not in [element.value for element in open_page("overview", project=DEMO).subheader]


def test_a_comparison_becomes_a_check(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    test = open_page("comparisons")
    test.selectbox(key="comparisons-state").select("gold").run()
    listed = test.dataframe[0].value
    assert set(listed["state"]) == {"known answer"}
    assert len(listed) == len(pages_store.comparisons.golds(ADMIN, project.id))


def test_a_search_without_a_hit_says_so(open_page: OpenPage) -> None:
    test = open_page("comparisons")
    test.text_input(key="comparisons-text").input("no such words anywhere").run()
    assert [info.value for info in test.info] == ["No comparison is like that."]


def test_groups_are_read_or_refused_with_what_is_wrong() -> None:
    assert read_groups(" crowd: 2, expert:1,") == {"crowd": 2, "expert": 1}
    assert read_groups("") == {}
    for wrong in ("crowd", "crowd: two", ": 2", "crowd 2"):
        with pytest.raises(ValueError, match="is not a name, a colon and a number"):
            read_groups(wrong)


def test_the_projected_end_follows_the_pace_of_the_last_days() -> None:
    def end(wanted: int, judged: int, days: list[tuple[date, int]]) -> str:
        progress = Progress(
            num_comparisons=1,
            num_complete=0,
            slots_wanted=wanted,
            slots_judged=judged,
            slots_leased=0,
            at_work=[],
            judgments_by_day=days,
            by_member=[],
        )
        return projected_end(progress, date(2026, 11, 20))

    # 70 judgments in the last 7 days are 10 a day: 50 left take 5 days. What came before does not count.
    assert end(150, 100, [(date(2026, 10, 1), 30), (date(2026, 11, 14), 35), (date(2026, 11, 20), 35)]) == "25 Nov"
    # Two days old: 20 judgments are 10 a day.
    assert end(120, 20, [(date(2026, 11, 19), 15), (date(2026, 11, 20), 5)]) == "30 Nov"
    assert end(520, 20, [(date(2026, 11, 19), 15), (date(2026, 11, 20), 5)]) == "9 Jan 2027"
    assert end(10, 5, [(date(2026, 11, 13), 5)]) == "no pace yet"
    assert end(10, 10, [(date(2026, 11, 20), 10)]) == "done"
