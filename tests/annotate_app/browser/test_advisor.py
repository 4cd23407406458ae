"""The advisor in a browser: a question of a lead asked by the form, its recommendation, and the same by its address."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
A_LONG_TIME = 600_000
"""Milliseconds; a 13B is counted by a process of its own, on a busy machine in minutes."""


@pytest.mark.slow
def test_a_lead_asks_and_passes_the_answer_on(
    start_server: Callable, sqlite_url: str, labeling_project: Callable, open_desk: Callable, pairs: Callable
) -> None:
    pytest.importorskip("torch")
    labeling_project(pairs(4))
    server = start_server(sqlite_url, "--no-worker")
    page = open_desk(server.url).page
    page.goto(f"{server.url}/advisor")
    form = page.locator("[data-testid=stForm]")
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
    page.get_by_role("radio", name="How much labeling").or_(page.get_by_text("How much labeling")).first.click()
    expect(page.locator(".st-key-advisor-power")).to_contain_text("For a win rate within ±5 points at 95 %")
