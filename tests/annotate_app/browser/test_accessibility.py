"""Every page of the app under axe-core: no violation of our own, by day and by night."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect

from annotate_app.demo import create_demo
from annotate_app.pages.kit.page_list import LISTED
from annotate_app.store.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
# Streamlit's own elements, which a page cannot change: what is in them is not looked at.
OF_STREAMLIT = (
    "[data-testid=stFileUploaderDropzone]",  # a section with the role of a presentation
    "[data-testid=stDataFrame]",  # a canvas with a table for screen readers behind it
    "[data-testid=stCode]",  # a block that scrolls cannot be focused
    "[data-testid=stSidebarNav]",  # sections are no items of its list
    "[data-testid=stHeader]",
    "[data-testid=stSidebarHeader]",
)
STILL = """() => document.getAnimations().every((one) =>
  one.playState !== 'running' || one.effect.getComputedTiming().endTime === Infinity)"""
VIOLATIONS = """async (left_out) => {
  const found = await axe.run({ exclude: left_out.map((one) => [one]) }, { resultTypes: ['violations'] });
  return found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 160)}`));
}"""


def settle(page: Page) -> None:
    """Waits until the page has drawn everything, and nothing of it still fades in: until then texts are paler."""
    expect(page.get_by_test_id("stMainBlockContainer")).to_be_visible(timeout=30_000)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=30_000)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=30_000)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=30_000)
    expect(page.locator("[data-stale=true]")).to_have_count(0, timeout=30_000)
    page.wait_for_timeout(700)  # charts draw themselves after the page is there
    page.wait_for_function(STILL)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_violation_of_its_own(
    chromium: Browser, start_server: Callable, sqlite_url: str, scheme: str
) -> None:
    with Store.open(sqlite_url, migrate=False) as store:
        create_demo(store)
    server = start_server(sqlite_url, "--no-worker", "--single-user")
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme, bypass_csp=True)  # type: ignore[arg-type]
    page = context.new_page()
    found: dict[str, list[str]] = {}
    for _, _, module, _, _ in LISTED:
        page.goto(f"{server.url}/{module}")
        settle(page)
        page.evaluate(AXE)
        violations = page.evaluate(VIOLATIONS, list(OF_STREAMLIT))
        if violations:
            found[module] = violations
    context.close()
    assert found == {}
