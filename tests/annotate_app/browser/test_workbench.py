"""The workbench in a real browser: from a mark of Agreement to the comparisons behind it, and on from there."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.records import Judgment

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "correct horse battery"
ADMIN = Actor.command_line()
WAIT = 90_000


def fill(store: Store, make_project: Callable[..., Project], lead: Actor) -> Project:
    """Sixty comparisons on which anna and bob judge; they disagree on every fourth."""
    project = make_project(store, "desk", num_comparisons=60, design=Design(overlap=2))
    store.projects.add_member(ADMIN, project.id, lead.user_id)
    votes = [
        Judgment(
            comparison_id=f"c{number}",
            annotator=name,
            choice="b" if name == "bob" and number % 4 == 0 else "a",
            strength=1,
            created_at=1_700_000_000.0 + number,
        )
        for number in range(60)
        for name in ("anna", "bob")
    ]
    store.judgments.import_many(ADMIN, project.id, votes)
    return project


def test_a_cell_of_agreement_leads_to_a_view_that_is_tagged_saved_and_opened_by_its_link(
    start_server: Callable,
    sqlite_url: str,
    add_account: Callable[..., Actor],
    make_project: Callable[..., Project],
    chromium: Browser,
) -> None:
    lead = add_account("lea", "lead")
    store = Store.open(sqlite_url, migrate=False)
    project = fill(store, make_project, lead)
    server = start_server(sqlite_url, "--no-worker")
    context = chromium.new_context(viewport={"width": 1400, "height": 1400})
    page = context.new_page()
    page.goto(f"{server.url}/sign-in")
    page.get_by_label("Name").fill("lea")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(r"^(?!.*sign-in)"))
    page.goto(f"{server.url}/agreement?project=desk")

    # The link of anna and bob, who are three quarters alike, below the matrix.
    behind = page.get_by_text("Where two people disagree, the lowest first")
    expect(behind).to_be_visible(timeout=WAIT)
    behind.click()
    page.get_by_role("link", name="anna and bob: 75").click()
    expect(page).to_have_url(re.compile(r"/comparisons\?.*disagree=anna&disagree=bob"), timeout=WAIT)
    expect(page.get_by_text("15 of 60 comparisons")).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("button", name="anna and bob disagree")).to_be_visible()

    # A tag on all of them, also those beyond the table.
    page.get_by_label("With all 15 comparisons of this view").click()
    page.get_by_role("option", name="Put a tag on").click()
    tag = page.get_by_label("Tag", exact=True)
    tag.fill("talk about")
    tag.press("Enter")
    page.get_by_role("button", name="Put a tag on: 15 comparisons").click()
    expect(page.get_by_text("15 comparisons tagged.")).to_be_visible(timeout=WAIT)
    assert store.browsing.count(ADMIN, project.id, ComparisonFilter(tags=("talk about",))) == 15

    # The view under a name, then all, then the view again.
    page.get_by_role("button", name="Views").click()
    page.get_by_label("Save this filter as").fill("anna against bob")
    page.get_by_role("button", name="Save view").click()
    expect(page.get_by_text("View saved.")).to_be_visible(timeout=WAIT)
    link = page.url
    page.keyboard.press("Escape")
    page.get_by_role("button", name="anna and bob disagree").click()
    expect(page.get_by_text("60 comparisons", exact=True)).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Views").click()
    opens = page.get_by_role("button", name="Open", exact=True)  # fields open too
    opens.and_(page.get_by_test_id("stBaseButton-secondary")).click()
    expect(page.get_by_text("15 of 60 comparisons")).to_be_visible(timeout=WAIT)

    # A colleague opens the link; page two of everything, and a search from there begins at page one.
    colleague = context.new_page()
    colleague.goto(link)
    expect(colleague.get_by_text("15 of 60 comparisons")).to_be_visible(timeout=WAIT)
    colleague.goto(f"{server.url}/comparisons?project=desk&page=2")
    expect(colleague.get_by_label("Page (of 2)")).to_have_value("2", timeout=WAIT)
    colleague.reload()
    expect(colleague.get_by_label("Page (of 2)")).to_have_value("2", timeout=WAIT)
    search = colleague.get_by_role("textbox", name="Search")
    search.fill("Question 3:")
    search.press("Enter")
    expect(colleague.get_by_text("2 of 60 comparisons")).to_be_visible(timeout=WAIT)
    assert "page=" not in colleague.url
    store.close()
    context.close()
