"""Making projects, changing their settings, and looking through what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.pages import projects
from annotate_app.pages.design_form import read_groups
from annotate_app.pages.overview import projected_end
from annotate_app.pages.projects import OWN_RUBRIC
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import list_protocols, load_protocol
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.progress import Progress
from annotate_app.store.store import Store

pytestmark = pytest.mark.slow

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
    assert not [button for button in test.button if button.key == f"archive-{project.id}"]
    test.toggle(key="projects-archived").set_value(True).run()
    assert test.button(key=f"archive-{project.id}").label == "Restore"
    test.button(key=f"archive-{project.id}").click().run()
    assert not pages_store.projects.get(ADMIN, EMPTY).archived


def test_a_project_is_archived_from_its_settings(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = open_page("settings", project=EMPTY)
    test.button(key=f"settings-archive-{project.id}").click().run()
    assert pages_store.projects.get(ADMIN, EMPTY).archived


def test_a_renamed_project_stays_chosen(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = open_page("settings", project=EMPTY)
    test.text_input(key=f"settings-{project.id}-name").input("Fuller project")
    next(button for button in test.button if button.label == "Save settings").click().run()
    assert test.session_state["project"] == "Fuller project"
    assert pages_store.projects.get(ADMIN, project.id).name == "Fuller project"


def test_a_qualification_without_enough_items_is_said(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    keys = [comparison.id for comparison in pages_store.comparisons.iterate(ADMIN, project.id)][:2]
    for key in keys:
        pages_store.comparisons.set_gold(ADMIN, project.id, key, Gold(choice="a", use="qualification"))
    test = open_page("settings")
    assert not test.warning
    for wanted, words in ((5, "5 items with a known answer, and only 2 are marked"), (2, "")):
        test.number_input(key=f"settings-{project.id}-qualification_items").set_value(wanted)
        next(button for button in test.button if button.label == "Save settings").click().run()
        assert pages_store.projects.get(ADMIN, DEMO).design.qualification_items == wanted
        assert [words in warning.value for warning in test.warning] == [True] * bool(words)


def test_three_hundred_projects_are_searched_sorted_and_paged(open_page: OpenPage, pages_store: Store) -> None:
    for number in range(45):
        pages_store.projects.create(ADMIN, f"Round {number:02}", rubric_text=OWN_RUBRIC, design=Design())
    for name in ("lea",):
        pages_store.people.set_role(ADMIN, pages_store.people.by_name(ADMIN, name).id, "admin")  # type: ignore[union-attr]

    def shown(test: AppTest) -> list[str]:
        return [found for item in test.get("html") for found in re.findall("<strong>(.*)</strong>", item.proto.body)]

    test = open_page("projects")
    assert shown(test) == [f"Round {number:02}" for number in range(44, 24, -1)]
    test.session_state["projects-page"] = 3
    test.run()
    assert shown(test) == ["Round 04", "Round 03", "Round 02", "Round 01", "Round 00", EMPTY, DEMO]
    test.selectbox(key="projects-order").select("name").run()
    test.text_input(key="projects-search").input("round 1").run()
    assert shown(test) == [f"Round {number}" for number in range(10, 20)]
    test.text_input(key="projects-search").input("no such words").run()
    assert [item.value for item in test.info] == ["No project is like that."]


def test_settings_are_saved_and_nothing_else_changes(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    key = f"settings-{project.id}"
    test = open_page("settings", project=EMPTY)
    test.text_input(key=f"{key}-groups").input("crowd: 2, expert: 1")
    test.slider(key=f"{key}-gold_rate").set_value(0.1)
    next(button for button in test.button if button.label == "Save settings").click().run()
    assert not test.error
    design = pages_store.projects.get(ADMIN, EMPTY).design
    assert design == Design(groups={"crowd": 2, "expert": 1}, gold_rate=0.1)


def test_settings_that_make_no_design_are_refused_in_one_line(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = open_page("settings", project=EMPTY)
    test.text_input(key=f"settings-{project.id}-groups").input("crowd two")
    next(button for button in test.button if button.label == "Save settings").click().run()
    assert any("'crowd two' is not a name, a colon and a number" in text.value for text in test.text)
    assert pages_store.projects.get(ADMIN, EMPTY).design == Design()


def test_new_priorities_are_asked_for_and_need_work_in_their_order(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = open_page("settings", project=EMPTY)
    test.number_input(key=f"settings-{project.id}-refresh_every").set_value(50)
    save = next(button for button in test.button if button.label == "Save settings")
    save.click().run()
    assert any("refresh_every is 50 with policy 'sequential'" in text.value for text in test.text)
    assert pages_store.projects.get(ADMIN, EMPTY).design == Design()
    test.selectbox(key=f"settings-{project.id}-policy").select("priority")
    next(button for button in test.button if button.label == "Save settings").click().run()
    assert pages_store.projects.get(ADMIN, EMPTY).design == Design(policy="priority", refresh_every=50)


def steps(test: AppTest) -> list[tuple[str, str]]:
    """The first steps, each with its state."""
    words = [element.value for element in test.markdown]
    titles = [word for word in words if re.match(r"\*\*\d\. ", word)]
    states = {}
    for at, word in enumerate(words):
        if word in titles:
            after = words[at + 1] if at + 1 < len(words) else ""
            states[word] = next((state for state in ("done", "next") if f" {state}]" in after), "later")
    return [(word.strip("*").partition(". ")[2], states[word]) for word in titles]


def test_a_new_project_shows_its_way_until_somebody_has_judged(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    for name in ("addy", "anna"):
        pages_store.projects.remove_member(ADMIN, project.id, pages_store.people.by_name(ADMIN, name).id)  # type: ignore[union-attr]
    titles = [
        "Read and adapt the rubric",
        "Import prompts with two or more responses",
        "Invite people, or label yourself",
        "Watch",
    ]

    def states() -> list[str]:
        way = steps(open_page("overview", project=EMPTY))
        assert [title for title, _ in way] == titles
        return [state for _, state in way]

    assert states() == ["next", "later", "later", "later"]
    open_page("overview", project=EMPTY).button(key="keep-rubric").click().run()
    assert states() == ["done", "next", "later", "later"]
    pair = next(iter(pages_store.comparisons.iterate(ADMIN, pages_store.projects.get(ADMIN, DEMO).id)))
    pages_store.comparisons.add(ADMIN, project.id, [pair])
    assert states() == ["done", "done", "next", "later"]
    pages_store.people.create_invite(ADMIN, role="annotator", project_id=project.id)
    assert states() == ["done", "done", "done", "next"]
    assert steps(open_page("overview", project=DEMO)) == []


def test_without_an_open_project_a_lead_finds_one_card_and_an_admin_two(
    open_page: OpenPage, pages_store: Store
) -> None:
    pages_store.people.add(ADMIN, "ada", role="admin")
    for project in pages_store.projects.list(ADMIN):
        pages_store.projects.update(ADMIN, project.id, archived=True)

    def offered(test: AppTest) -> list[str]:
        return [button.label for button in test.button if button.key and button.key.startswith("card-")]

    assert offered(open_page("overview", "lea", project=None)) == ["Start an empty project"]
    for module in ("projects", "overview"):
        test = open_page(module, "ada", project=None)
        assert offered(test) == ["Start an empty project", "Make the demo project"]
    test.button(key="card-demo-make").click().run()
    demo = pages_store.projects.get(ADMIN, DEMO)
    assert not demo.archived
    assert "ada" in [member.name for member in pages_store.projects.members(ADMIN, demo.id)]
    test = open_page("overview", "lea", project=None)
    assert offered(test) == []


def test_the_form_and_the_button_open_what_they_made(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(projects, "open_project", lambda project: opened.append(project.name))
    test = open_page("projects")
    test.button(key="projects-empty").click().run()
    name = list_protocols()[0]
    test.text_input(key=f"new-{name}-name").input("Made here")
    create(test).click().run()
    assert opened == ["Project 1", "Made here"]
    create(test).click().run()  # the name is taken now: that is said here
    assert opened == ["Project 1", "Made here"]
    assert [error.value for error in test.error] == ["That was not done:"]


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
