"""The labeling page and the own work, as far as AppTest sees them; what the component does is tested in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.labeling.desk import Desk
from annotate_app.pages import label, my_work, navigation
from annotate_app.protocol.leases import Submission
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from annotate_app.words import say
from rewardkit.data.records import Comparison, Judgment, Message

pytestmark = pytest.mark.slow

ADMIN = Actor.command_line()
EMPTY = "Empty project"
OpenPage = Callable[..., AppTest]
HOSTILE = "**bold** :red[x] <script>alert(1)</script>"


def start_work(store: Store, name: str, count: int) -> tuple[Actor, int]:
    """Somebody in the empty project, with `count` pairs judged there."""
    actor = store.people.actor_of(store.people.by_name(ADMIN, name))
    project = store.projects.get(ADMIN, EMPTY)
    prompt = (Message(role="user", content=HOSTILE),)
    store.comparisons.add(
        ADMIN,
        project.id,
        [Comparison(id=f"c{n}", prompt=prompt, completion_a=f"a{n}", completion_b=f"b{n}") for n in range(count + 3)],
    )
    for number in range(count):
        lease = store.work.lease(actor, project.id)[0]
        judgment = Judgment(comparison_id=lease.comparison.id, annotator=name, choice="skip", reason=f"reason {number}")
        submission = Submission(token=lease.token, event_id=f"{name}-{number}", judgment=judgment)
        store.work.submit(actor, project.id, submission)
    return actor, project.id


def test_the_labeling_page_holds_two_pairs(open_page: OpenPage, pages_store: Store) -> None:
    _, project_id = start_work(pages_store, "anna", 0)
    test = open_page("label", "anna", project=EMPTY)
    desk: Desk = test.session_state["desk"]
    assert desk.project_id == project_id
    assert len(desk.leases) == 2
    test.run()
    assert test.session_state["desk"] is desk  # another run of the page keeps what is open


def test_somebody_who_is_no_member_is_told_so(open_page: OpenPage, pages_store: Store) -> None:
    pages_store.people.add(ADMIN, "root", role="admin")
    test = open_page("label", "root", project=EMPTY)
    assert "not a member" in test.info[0].value
    assert ".stSidebar" not in "".join(element.proto.body for element in test.get("html"))  # the way out stays
    assert ".stSidebar" in "".join(
        element.proto.body for element in open_page("label", "anna", project=EMPTY).get("html")
    )
    test = open_page("my_work", "root", project=EMPTY)
    assert "not a member" in test.info[0].value


def test_own_work_lists_own_judgments_as_text_page_by_page(open_page: OpenPage, pages_store: Store) -> None:
    start_work(pages_store, "anna", my_work.PER_PAGE + 2)
    start_work(pages_store, "lea", 1)
    test = open_page("my_work", "anna", project=EMPTY)
    texts = [item.value for item in test.text]
    assert texts[0].startswith(f"Skipped: reason {my_work.PER_PAGE + 1}")
    assert HOSTILE in texts  # as written, by st.text
    assert len([item for item in test.button if item.label == "Change"]) == my_work.PER_PAGE
    test.number_input[0].set_value(2).run()
    assert len([item for item in test.button if item.label == "Change"]) == 2


def test_nothing_judged_yet_is_said(open_page: OpenPage) -> None:
    assert "not judged anything" in open_page("my_work", "anna", project=EMPTY).info[0].value


def test_a_judgment_that_another_page_asked_to_change_is_on_the_desk(open_page: OpenPage, pages_store: Store) -> None:
    actor, project_id = start_work(pages_store, "anna", 0)
    lease = pages_store.work.lease(actor, project_id)[0]
    judgment = Judgment(comparison_id=lease.comparison.id, annotator="anna", choice="a", strength=1)
    pages_store.work.submit(actor, project_id, Submission(token=lease.token, event_id="event-1", judgment=judgment))
    [own] = pages_store.work.history(actor, project_id)
    test = open_page("label", "anna", project=EMPTY, reopen=own.judgment_id)
    told = test.session_state["desk"].data(None)
    assert told["queue"][0] == told["edit"] != ""
    assert abs(told["given"][told["edit"]]["overall"]) == 1
    assert "reopen" not in test.session_state


def test_a_judgment_that_cannot_be_changed_leaves_a_notice(open_page: OpenPage, pages_store: Store) -> None:
    start_work(pages_store, "anna", 0)
    test = open_page("label", "anna", project=EMPTY, reopen=10**6)
    assert test.session_state["desk"].notice


def test_every_module_of_the_component_is_there() -> None:
    folder = Path(label.__file__).parents[1] / "frontend"
    for path in folder.glob("*.js"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("import "):
                assert (folder / json.loads(line.split(" from ")[1].rstrip(";"))).is_file(), line


def test_the_day_says_what_it_comes_to_where_the_design_pays(open_page: OpenPage, pages_store: Store) -> None:
    """90 seconds at 10 euros an hour."""
    _, project_id = start_work(pages_store, "anna", 1)
    with pages_store.database.write() as connection:
        connection.execute(update(tables.judgment).where(tables.judgment.c.project_id == project_id).values(seconds=90))
    assert "Earned" not in [metric.label for metric in open_page("my_work", "anna", project=EMPTY).metric]
    project = pages_store.projects.get(ADMIN, EMPTY)
    paid = replace(project.design, hourly_rate=10.0, currency="EUR")
    pages_store.projects.update(ADMIN, project_id, design=paid)
    shown = {metric.label: metric.value for metric in open_page("my_work", "anna", project=EMPTY).metric}
    assert shown["Earned"] == "0.25 EUR"


def test_who_cannot_work_reads_why_in_their_language(open_page: OpenPage, pages_store: Store) -> None:
    user = pages_store.people.add(ADMIN, "root", role="admin")
    pages_store.people.set_language(pages_store.people.actor_of(user), "de")
    for module in ("label", "my_work"):
        assert open_page(module, "root", project=EMPTY).info[0].value.startswith("Sie sind kein Mitglied")


def test_titles_of_the_navigation_are_in_the_readers_language(
    pages_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(navigation, "say", lambda key: say("de", key))
    monkeypatch.setattr(navigation, "page_at", lambda module, title: title)
    titles = {}
    for name in ("anna", "lea"):
        actor = pages_store.people.actor_of(pages_store.people.by_name(ADMIN, name))
        titles[name] = navigation.pages_of(actor)
    _, *first = titles["anna"].pop("")
    assert (first, titles["anna"]) == (["Urteilen", "Meine Arbeit"], {"Arbeitsbereich": ["Lernen", "Konto"]})
    assert "Overview" in titles["lea"][""]
    assert titles["lea"]["Workspace"][-1] == "Konto"
