"""An app without sign-in on projects that were made on the command line: its one user works in each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.commands.serve import SINGLE_USER
from annotate_app.pages.kit import context
from annotate_app.server.server import Serving, prepare
from annotate_app.server.sessions import Sessions, open_sessions

ADMIN = Actor.command_line()
SAMPLES = Path(__file__).parents[3] / "data" / "samples"
PAGE = """
from annotate_app.pages import {0}
from annotate_app.pages.kit import context
context.choose_project()
{0}.page()
"""


@pytest.fixture
def made_by_commands(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database of a project that was created and filled by commands."""
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    assert main(["project", "create", "desk", "--protocol", "support_desk", "--qualification-items", "3"]) == 0
    assert main(["import", "desk", str(SAMPLES / "comparisons.jsonl")]) == 0
    return sqlite_url


@pytest.fixture
def sessions(made_by_commands: str) -> Iterator[Sessions]:
    prepare(Serving(url=made_by_commands, open_as=SINGLE_USER), ADMIN)
    yield open_sessions(made_by_commands)
    open_sessions(made_by_commands).store.close()


def open_page(module: str, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, name: str = SINGLE_USER) -> AppTest:
    token = sessions.start(name)
    monkeypatch.setattr(context, "session_token", lambda: token)
    test = AppTest.from_string(PAGE.format(module), default_timeout=60).run()
    assert not test.exception, test.exception
    return test


def test_label_overview_and_train_open_on_a_project_of_the_command_line(sessions, monkeypatch):
    label = open_page("label", sessions, monkeypatch)
    assert label.session_state["desk"].leases, "pairs to judge, without a qualification"
    assert not label.info
    assert open_page("overview", sessions, monkeypatch).metric
    assert open_page("train", sessions, monkeypatch).title[0].value == "Train"
    [member] = sessions.store.projects.members(ADMIN, 1)
    assert (member.name, member.state) == (SINGLE_USER, "active")


def test_a_project_made_while_the_app_is_open_lets_its_user_in_too(sessions, monkeypatch):
    open_page("label", sessions, monkeypatch)
    assert main(["project", "create", "later"]) == 0
    test = open_page("my_work", sessions, monkeypatch)
    test.selectbox(key="project").set_value("later").run()
    assert "not judged anything" in test.info[0].value


def test_who_is_a_member_already_stays_as_they_are(sessions, monkeypatch):
    user = sessions.store.people.by_name(ADMIN, SINGLE_USER)
    assert user is not None
    sessions.store.projects.add_member(ADMIN, 1, user.id, "experts")
    sessions.store.projects.set_member_state(ADMIN, 1, user.id, "paused")
    open_page("overview", sessions, monkeypatch)
    [member] = sessions.store.projects.members(ADMIN, 1)
    assert (member.group, member.state) == ("experts", "paused")


def test_other_accounts_are_let_in_by_nobody_but_a_lead(sessions, monkeypatch):
    sessions.store.people.add(ADMIN, "root", role="admin")
    assert "not a member" in open_page("label", sessions, monkeypatch, "root").info[0].value
    sessions.single_user = ""  # as in an app with sign-in
    assert "not a member" in open_page("label", sessions, monkeypatch).info[0].value
