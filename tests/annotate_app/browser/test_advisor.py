"""The advisor in a browser: a question of a lead asked by the form, its recommendation, and the same by its address."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"
A_LONG_TIME = 600_000
"""Milliseconds; a 13B is counted by a process of its own, on a busy machine in minutes."""


@pytest.mark.slow
def test_a_lead_asks_and_passes_the_answer_on(
    start_server: Callable,
    sqlite_url: str,
    add_account: Callable[..., Actor],
    make_project: Callable[..., Project],
    chromium: Browser,
) -> None:
    pytest.importorskip("torch")
    lead = add_account("lea", "lead")
    store = Store.open(sqlite_url, migrate=False)
    project = make_project(store, "desk")
    store.projects.add_member(Actor.command_line(), project.id, lead.user_id)
    store.close()
    server = start_server(sqlite_url, "--no-worker")
    page = chromium.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.goto(f"{server.url}/advisor?project=desk")
    page.get_by_label("Name").fill("lea")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    form = page.get_by_test_id("stForm")
    expect(form).to_be_visible(timeout=60_000)
    for label, value in (("Preference pairs", "100000"), ("Model", "13B"), ("GPUs", "4xA100-80"), ("Days", "14")):
        field = form.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Tab")
    form.get_by_role("button", name="Ask").click()
    answer = page.locator(".st-key-advisor-recommendation")
    expect(answer).to_contain_text("Recommended: SFT + DPO", timeout=A_LONG_TIME)
    expect(answer).to_contain_text("uses the 100,000 pairs directly")
    expect(page.get_by_text("alignment plan --pairs=100000 --model=13B --gpus=4xA100-80")).to_be_visible()
    assert "pairs=100000" in page.url

    page.goto(page.url)  # as whoever gets the link
    expect(answer).to_contain_text("Recommended: SFT + DPO", timeout=A_LONG_TIME)
    page.get_by_text("How much labeling", exact=True).click()
    expect(page.locator(".st-key-advisor-power")).to_contain_text("For a win rate within ±5 points at 95 %")
    page.context.close()
