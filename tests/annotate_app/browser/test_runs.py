"""The page Runs in a real browser: a link through the sign-in, a click on a row, a reload."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from toy_scores import make_words_run

from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"
LINE = 35  # pixels of a row of a table


@pytest.mark.slow
def test_a_link_survives_signing_in_a_click_opens_a_run_and_a_reload_keeps_it(
    start_server: Callable,
    sqlite_url: str,
    add_account: Callable[..., Actor],
    make_project: Callable[..., Project],
    chromium: Browser,
    tmp_path: Path,
) -> None:
    lead = add_account("lea", "lead")
    store = Store.open(sqlite_url, migrate=False)
    project = make_project(store, "desk")
    store.projects.add_member(Actor.command_line(), project.id, lead.user_id)
    first, second = (make_words_run(store, project, tmp_path / f"run-{n}", seed=n) for n in (1, 2))
    store.close()
    server = start_server(sqlite_url, "--no-worker")
    page = chromium.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.goto(f"{server.url}/runs?project=desk&run={first.number}")
    page.get_by_label("Name").fill("lea")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    chosen = page.get_by_role("group", name="Selected values")
    expect(chosen.last).to_contain_text(f"{first.number}: Reward model", timeout=30_000)
    assert re.search(rf"/runs\?.*run={first.number}\b", page.url)
    table = page.get_by_test_id("stDataFrame").first
    table.click(position={"x": 150, "y": LINE + LINE // 2})  # the newest run stands first
    expect(chosen.last).to_contain_text(f"{second.number}: Reward model")
    expect(page).to_have_url(re.compile(rf"run={second.number}\b"))
    page.reload()
    expect(chosen.last).to_contain_text(f"{second.number}: Reward model", timeout=30_000)
    for line in (1, 2):
        table.click(position={"x": 14, "y": LINE * line + LINE // 2})
    expect(page.get_by_role("heading", name="On the same held-out pairs")).to_be_visible()
    expect(page).to_have_url(re.compile(rf"runs={second.number}(%2C|,){first.number}\b"))
    page.context.close()
