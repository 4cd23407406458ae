"""`/crowd/TOKEN` against a running server: what opens, what a browser of elsewhere can do, and hostile ids."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable

import pytest

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.people.crowd import LinkPlan
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
RUBRIC = "title: T\nguidelines: Read.\n"


@pytest.fixture
def link(shared_server) -> str:
    """The path of a link, with the parameter of the id still open."""
    store = Store.open(shared_server.database, migrate=False)
    name = f"study {len(store.projects.list(ADMIN))}"
    project = store.projects.create(ADMIN, name, rubric_text=RUBRIC, design=Design())
    plan = LinkPlan(name="Study <1>", id_parameter="PROLIFIC_PID", target=3, completion_code="DONE1")
    made = store.crowd.add_link(ADMIN, project.id, plan)
    store.close()
    return f"/crowd/{made.token}?PROLIFIC_PID="


def test_opening_the_address_changes_nothing_and_starting_gives_a_session(shared_server, link: str) -> None:
    answer = shared_server.ask(f"{link}5f00&STUDY_ID=1")
    assert answer.status == 200
    assert "Study &lt;1&gt;" in answer.text
    assert '<form method="post">' in answer.text
    assert answer.cookie == ""
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    answer = shared_server.ask(f"{link}5f00", form={})
    assert (answer.status, answer.headers["location"]) == (303, "/")
    (cookie,) = [one for one in answer.headers.get_all("set-cookie") if one.startswith("tiebreak_session=")]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert shared_server.ask("/label", cookie=answer.cookie).status == 200


def test_a_post_from_elsewhere_starts_nothing(shared_server, link: str) -> None:
    for origin in ("https://app.prolific.com", "null", "http://127.0.0.1:1"):
        answer = shared_server.ask(f"{link}5f00", form={}, headers={"Origin": origin})
        assert (answer.status, answer.cookie) == (403, "")


def test_who_is_signed_in_is_told_before_that_ends(shared_server, link: str) -> None:
    cookie = shared_server.sign_in("ada")
    assert "signed in as ada" in shared_server.ask(f"{link}5f00", cookie=cookie).text
    own = shared_server.ask(f"{link}5f00", form={}).cookie
    assert "signed in as" not in shared_server.ask(f"{link}5f00", cookie=own).text


@pytest.mark.parametrize(
    "platform_id",
    ["", "{{%PROLIFIC_PID%}}", "<script>alert(1)</script>", "a" * 65, "../ada", "a b", "\x00", "é", "x&PROLIFIC_PID=y"],
)
def test_hostile_ids_open_nothing(shared_server, link: str, platform_id: str) -> None:
    raw = platform_id if "&" in platform_id else urllib.parse.quote(platform_id, safe="")
    for form in (None, {}):
        answer = shared_server.ask(link + raw, form=form)
        assert (answer.status, answer.cookie) == (400, "")
        assert "<script>alert" not in answer.text


def test_unknown_links_are_not_open_in_the_readers_language(shared_server) -> None:
    for token in ("unknown", "%00", "a" * 500, "..%2F..%2Fpeople"):
        for form in (None, {}):
            answer = shared_server.ask(f"/crowd/{token}?PROLIFIC_PID=x", form=form)
            assert (answer.status in (404, 410), answer.cookie) == (True, "")
    answer = shared_server.ask("/crowd/unknown?PROLIFIC_PID=x", headers={"Accept-Language": "de-AT,de;q=0.9"})
    assert "Diese Studie ist nicht geöffnet" in answer.text
    assert '<html lang="de">' in answer.text


def test_nobody_comes_in_where_the_server_signs_everybody_in(start_server: Callable, sqlite_url: str) -> None:
    store = Store.open(sqlite_url, migrate=False)
    project = store.projects.create(ADMIN, "study", rubric_text=RUBRIC, design=Design())
    plan = LinkPlan(name="Study", id_parameter="PROLIFIC_PID", target=3, completion_code="DONE1")
    link = store.crowd.add_link(ADMIN, project.id, plan)
    store.close()
    server = start_server(sqlite_url, "--no-worker", "--single-user")
    assert server.ask(f"/crowd/{link.token}?PROLIFIC_PID=x", form={}).status == 410
