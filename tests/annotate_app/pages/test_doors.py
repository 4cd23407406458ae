"""Tokens on the page Account, and the page Webhooks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor

pytestmark = pytest.mark.slow

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()
EMPTY = "Empty project"


def test_a_token_is_made_shown_once_and_revoked(open_page: OpenPage, pages_store) -> None:
    test = open_page("account", "lea")
    assert test.selectbox(key="token-role").options == ["annotator", "adjudicator", "lead"]
    test.text_input(key="token-name").input("nightly import")
    test.selectbox(key="token-role").select("lead")
    test.selectbox(key="token-project").select_index(2)
    test.button(key="FormSubmitter:token-Make token").click().run()
    (secret,) = [code.value for code in test.code]
    found = pages_store.api_tokens.use(secret)
    assert found is not None
    actor, token = found
    assert (actor.name, actor.role, token.name, token.project) == ("lea", "lead", "nightly import", EMPTY)
    test.run()
    assert [code.value for code in test.code] == []
    test.button(key=f"token-revoke-{token.id}").click().run()
    assert pages_store.api_tokens.use(secret) is None
    assert not [button for button in test.button if button.key == f"token-revoke-{token.id}"]


def test_an_annotator_makes_an_annotators_token(open_page: OpenPage) -> None:
    test = open_page("account", "anna")
    assert test.selectbox(key="token-role").options == ["annotator"]
    test.button(key="FormSubmitter:token-Make token").click().run()
    assert "token name is empty" in [text.value for text in test.text]


def test_a_webhook_is_made_tested_switched_and_removed(open_page: OpenPage, pages_store) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    project = pages_store.projects.get(ADMIN, EMPTY)
    pages_store.people.add(ADMIN, "ada", role="admin")
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        test = open_page("webhooks", "ada", project=EMPTY)
        test.text_input(key="webhook-url").input(f"http://127.0.0.1:{server.server_port}/hook")
        test.toggle(key="webhook-private").set_value(True)
        test.button(key="FormSubmitter:webhook-Make webhook").click().run()
        (hook,) = pages_store.webhooks.list(ADMIN, project.id)
        assert (hook.private, hook.active, len(hook.events)) == (True, True, 4)
        assert [code.value[:6] for code in test.code] == ["whsec_"]
        test.button(key=f"webhook-test-{hook.id}").click().run()
        assert [toast.value for toast in test.toast] == ["The test has arrived."]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    test.button(key=f"webhook-test-{hook.id}").click().run()
    assert any("ConnectError" in text.value for text in test.text)
    test.button(key=f"webhook-switch-{hook.id}").click().run()
    assert pages_store.webhooks.list(ADMIN, project.id)[0].active is False
    test.button(key=f"webhook-remove-{hook.id}").click().run()
    assert pages_store.webhooks.list(ADMIN, project.id) == []


def test_a_lead_is_offered_no_way_into_the_own_network(open_page: OpenPage) -> None:
    test = open_page("webhooks", "lea", project=EMPTY)
    assert not test.toggle
    test.text_input(key="webhook-url").input("http://10.0.0.1/")
    test.button(key="FormSubmitter:webhook-Make webhook").click().run()
    assert any("allowed is https://HOST/PATH" in text.value for text in test.text)


def test_the_page_of_webhooks_is_for_leads(open_page: OpenPage) -> None:
    test = open_page("webhooks", "anna", project=EMPTY)
    assert test.error[0].value == "This page is not yours to see."
