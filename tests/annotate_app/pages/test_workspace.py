"""People, jobs, the audit log, the own account, and which pages a role finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.jobs import jobs
from annotate_app.pages import account, navigation
from annotate_app.pages.kit import context
from annotate_app.server.sessions import open_sessions
from annotate_app.store.store import Store

pytestmark = pytest.mark.slow

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()
APP = Path(navigation.__file__).parents[1] / "app.py"
PASSWORD = "correct horse battery"


@pytest.fixture
def ada(pages_store: Store) -> Actor:
    """An admin."""
    return Store.open(pages_store.database.url).people.actor_of(
        pages_store.people.add(ADMIN, "ada", role="admin", password=PASSWORD)
    )


def button(test: AppTest, label: str):
    return next(item for item in test.button if item.label == label)


def texts(test: AppTest) -> str:
    return "\n".join(item.value for item in [*test.text, *test.caption, *test.markdown])


def open_app(pages_store: Store, monkeypatch: pytest.MonkeyPatch, name: str) -> AppTest:
    token = open_sessions(pages_store.database.url).start(name)
    monkeypatch.setattr(context, "session_token", lambda: token)
    test = AppTest.from_file(APP, default_timeout=30).run()
    assert not test.exception, test.exception
    return test


@pytest.mark.parametrize(
    ("name", "some", "none"),
    [
        ("anna", {"label", "my_work", "learn", "account"}, {"adjudicate", "agreement", "people", "overview", "audit"}),
        ("addy", {"label", "adjudicate"}, {"agreement", "people", "export"}),
        ("lea", {"overview", "agreement", "people", "export"}, set()),
    ],
)
def test_a_role_finds_its_pages_and_no_other(pages_store, monkeypatch, name, some, none):
    token = open_sessions(pages_store.database.url).start(name)
    monkeypatch.setattr(context, "session_token", lambda: token)
    test = AppTest.from_string(
        """
import streamlit as st
from annotate_app.pages.kit.context import current_actor
from annotate_app.pages.navigation import pages_of
sections = pages_of(current_actor())
st.session_state["listed"] = {page._url_path for pages in sections.values() for page in pages}
"""
    ).run()
    assert not test.exception, test.exception
    listed = test.session_state["listed"]
    assert some <= listed
    assert not none & listed


def test_a_lead_sees_the_banner_and_an_annotator_their_project(pages_store, monkeypatch):
    lead = open_app(pages_store, monkeypatch, "lea")
    assert "simulated" in texts(lead)
    assert button(lead, "Start an empty project")
    annotator = open_app(pages_store, monkeypatch, "anna")
    assert DEMO in annotator.sidebar.selectbox(key="project").options


def test_somebody_whose_session_ended_sees_nothing(pages_store, monkeypatch):
    token = open_sessions(pages_store.database.url).start("lea")
    pages_store.people.end_session(token)
    monkeypatch.setattr(context, "session_token", lambda: token)
    test = AppTest.from_file(APP, default_timeout=30).run()
    (way_in,) = [item.proto.body for item in test.get("html") if "signed-out" in item.proto.body]
    assert "You are signed out." in way_in
    assert '<a href="" target="_self">' in way_in  # this very address
    assert not test.selectbox
    assert not test.button


def test_an_invitation_is_shown_until_the_reader_has_it_and_works(open_page: OpenPage, pages_store, ada):
    test = open_page("people", "ada")
    test.text_area(key="invite-names-0").input("nora")
    test.selectbox(key="invite-role").select("lead")
    assert test.selectbox(key="invite-project-1").value.name == DEMO  # type: ignore[union-attr]
    button(test, "Make links").click().run()
    assert not test.exception
    token = test.code[0].value.rpartition("/invite/")[2]
    made = pages_store.people.redeem_invite(token, "nora", PASSWORD)
    assert made.role == "lead"
    assert "nora" in [member.name for member in pages_store.projects.members(ADMIN, 1)]
    test.run()
    assert test.code[0].value.endswith(token)  # nothing else holds it
    button(test, "Make links").click().run()  # one whose reader chooses a name, beside the first
    assert [name for name in test.dataframe[0].value["name"]] == ["nora", "(chosen by who opens it)"]
    test.button(key="invite-forget").click().run()
    assert not test.code


def test_a_lead_invites_to_the_project_only(open_page: OpenPage, pages_store):
    test = open_page("people", "lea")
    assert list(test.selectbox(key="invite-role").options) == ["annotator", "adjudicator"]
    button(test, "Make links").click().run()
    token = test.code[0].value.rpartition("/invite/")[2]
    made = pages_store.people.redeem_invite(token, "paul", PASSWORD)
    assert made.name in [project.name for project in pages_store.projects.members(ADMIN, 1)]
    assert not [item for item in test.header if item.value == "Accounts"]


def test_many_are_invited_at_once_or_nobody(open_page: OpenPage, pages_store):
    test = open_page("people", "lea")
    test.text_area(key="invite-names-0").input("nora\nben, adjudicator\ncleo; annotator; experts")
    button(test, "Make links").click().run()
    assert "line 2: 'ben, adjudicator' holds ','" in texts(test)  # semicolons below
    assert pages_store.people.invites(ADMIN) == []
    test.text_area(key="invite-names-0").input("nora\nben, adjudicator\ncleo, annotator, experts")
    test.number_input(key="invite-nameless-0").set_value(2)
    button(test, "Make links").click().run()
    links = test.dataframe[0].value
    assert list(links["role"]) == ["annotator", "adjudicator", "annotator", "annotator", "annotator"]
    assert set(links["project"]) == {DEMO}
    made = [
        pages_store.people.redeem_invite(link.rpartition("/invite/")[2], name, PASSWORD)
        for link, name in zip(links["link"], ("nora", "ben", "cleo", "x1", "x2"), strict=True)
    ]
    groups = {member.name: (member.role, member.group) for member in pages_store.projects.members(ADMIN, 1)}
    assert groups["ben"] == ("adjudicator", "")
    assert groups["cleo"] == ("annotator", "experts")
    assert {"x1", "x2"} <= set(groups)
    assert len(made) == 5


def test_open_invitations_are_listed_and_ended(open_page: OpenPage, pages_store):
    project = pages_store.projects.get(ADMIN, DEMO)
    token = pages_store.people.create_invite(ADMIN, role="adjudicator", name="paul", project_id=project.id, group="g")
    pages_store.people.create_invite(ADMIN, role="admin")
    test = open_page("people", "lea")
    (expander,) = [item for item in test.expander if item.label.startswith("Open invitations")]
    assert expander.label == "Open invitations: 1"  # an admin's is not a lead's to see
    assert f"For paul: the role adjudicator, {DEMO}, group g" in texts(test)
    button(test, "End").click().run()
    assert pages_store.people.invite(token) is None
    assert not [item for item in test.expander if item.label.startswith("Open invitations")]


def test_a_member_is_paused_resumed_and_removed(open_page: OpenPage, pages_store):
    project = pages_store.projects.get(ADMIN, DEMO)
    anna = pages_store.people.by_name(ADMIN, "anna").id

    def state() -> str:
        members = pages_store.projects.members(ADMIN, project.id)
        return next((member.state for member in members if member.user_id == anna), "gone")

    test = open_page("people", "lea")
    key = f"{project.id}-{anna}"
    test.button(key=f"pause-{key}").click().run()
    assert state() == "paused"
    test.button(key=f"pause-{key}").click().run()
    assert state() == "active"
    test.button(key=f"remove-{key}").click().run()
    assert state() == "gone"


def test_an_admin_changes_roles_ends_sessions_and_closes_accounts(open_page: OpenPage, pages_store, ada):
    anna = pages_store.people.by_name(ADMIN, "anna")
    token = pages_store.people.start_session(anna)
    test = open_page("people", "ada")
    test.selectbox(key=f"role-{anna.id}").select("adjudicator").run()
    assert pages_store.people.get(ADMIN, anna.id).role == "adjudicator"
    test.button(key=f"revoke-{anna.id}").click().run()
    assert pages_store.people.session_user(token) is None
    test.button(key=f"active-{anna.id}").click().run()
    assert not pages_store.people.get(ADMIN, anna.id).active
    assert test.button(key=f"active-{ada.user_id}").disabled  # nobody locks themselves out


def test_many_people_are_found_by_name(open_page: OpenPage, pages_store, ada):
    for number in range(25):
        pages_store.people.add(ADMIN, f"worker {number}", role="annotator")
    test = open_page("people", "ada")
    names = [item.value for item in test.text]
    assert sum(name.startswith("worker") for name in names) < 20
    simulated = pages_store.people.by_name(ADMIN, "sim-ada")
    assert f"role-{simulated.id}" not in {item.key for item in test.selectbox}
    test.session_state["accounts-page"] = 2
    test.run()
    assert "worker 9" in [item.value for item in test.text]
    test.text_input(key="accounts-find").input("Worker 24").run()
    names = [item.value for item in test.text]
    assert "worker 24" in names
    assert "worker 3" not in names


def test_who_never_signs_in_is_offered_only_where_asked_for(open_page: OpenPage, pages_store, ada):
    pages_store.people.add(ADMIN, "w-8812", role="annotator", origin="imported")
    pages_store.people.add(ADMIN, "nora", role="annotator")
    test = open_page("people", "ada")
    assert test.multiselect(key="add-users").options == ["ada", "nora"]
    test.toggle(key="add-all").set_value(True).run()
    assert "w-8812" in test.multiselect(key="add-users").options
    test.toggle(key="add-all").set_value(False).run()
    test.multiselect(key="add-users").set_value(test.multiselect(key="add-users").options and ["nora"])
    button(test, "Add to project").click().run()
    assert "nora" in [member.name for member in pages_store.projects.members(ADMIN, 1)]


def test_all_open_invitations_of_a_project_end_at_once(open_page: OpenPage, pages_store, ada):
    for number in range(3):
        pages_store.people.create_invite(ADMIN, role="annotator", name=f"p{number}", project_id=1)
    pages_store.people.create_invite(ADMIN, role="admin")
    test = open_page("people", "ada")
    test.button(key="end-invites-here").click().run()
    assert [invite.role for invite in pages_store.people.invites(ADMIN)] == ["admin"]


@pytest.mark.parametrize(("name", "words"), [("ines", "Make the first one"), ("jo", "Whoever invited you")])
def test_who_is_in_no_project_reads_what_fits_them(pages_store, monkeypatch, open_page, name, words):
    pages_store.people.add(ADMIN, name, role="lead" if name == "ines" else "annotator")
    test = open_page("label", name, project=None)
    shown = texts(test) + "".join(item.proto.label for item in test.get("page_link"))
    assert words in shown


def test_an_address_of_a_project_that_is_not_the_readers_opens_no_other(pages_store, monkeypatch):
    token = open_sessions(pages_store.database.url).start("lea")
    monkeypatch.setattr(context, "session_token", lambda: token)
    test = AppTest.from_file(APP, default_timeout=30)
    test.query_params["project"] = "Somebody else's"
    test.run()
    assert not test.exception
    assert test.sidebar.selectbox(key="project").value is None
    assert "There is no project “Somebody else's” for you" in " ".join(
        item.value.replace("\\", "") for item in test.info
    )
    test.sidebar.selectbox(key="project").select(DEMO).run()
    assert not test.info


def test_the_password_is_changed_only_by_who_knows_it(open_page: OpenPage, pages_store, ada, monkeypatch):
    monkeypatch.setattr(account, "client_address", lambda: "192.0.2.1")
    test = open_page("account", "ada")
    for old, said in (("a wrong guess", "the password now is wrong"), (PASSWORD, "")):
        test.text_input(key="password-old").input(old)
        test.text_input(key="password-new").input("another long password")
        test.text_input(key="password-again").input("another long password")
        button(test, "Set password").click().run()
        assert said in texts(test)
    assert pages_store.people.check_password("ada", "another long password", "") is not None


def test_jobs_are_shown_with_progress_and_cancelled(open_page: OpenPage, pages_store):
    lead = pages_store.people.actor_of(pages_store.people.by_name(ADMIN, "lea"))
    project = pages_store.projects.get(ADMIN, DEMO)
    command = ["annotate_app", "import", DEMO, "rows.jsonl"]
    job = jobs.start(
        pages_store, lead, kind="import", title="Import rows.jsonl", command=command, project_id=project.id
    )
    test = open_page("jobs_page", "lea")
    assert "Import rows.jsonl" in texts(test)
    test.button(key=f"cancel-{job.id}").click().run()
    assert pages_store.jobs.get(ADMIN, job.id).state == "cancelled"
    assert not [item for item in open_page("jobs_page", "lea").button if item.key == f"cancel-{job.id}"]


def test_the_audit_log_is_read_by_leads_of_their_project_and_by_admins(open_page: OpenPage, ada):
    lead = open_page("audit", "lea")
    assert "everything" not in lead.selectbox(key="audit-of").options
    assert "member add" in set(lead.dataframe[0].value["did"])
    admin = open_page("audit", "ada")
    assert "user add" in set(admin.dataframe[0].value["did"])
    assert [item.value for item in open_page("audit", "anna").error] == ["This page is not yours to see."] or (
        not open_page("audit", "anna").dataframe
    )
