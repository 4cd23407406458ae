"""The front door in a real browser: coming in by keyboard, every page from this host alone, going out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.demo import create_demo
from annotate_app.pages.kit.page_list import LISTED
from annotate_app.store.store import Store

PASSWORD = "correct horse battery"
pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium: Browser) -> Page:
    """An empty tab of a new visitor."""
    return chromium.new_context(viewport={"width": 1280, "height": 860}).new_page()


def sign_in(page: Page, url: str, name: str) -> None:
    """Signs in with the keyboard alone: the name has the focus."""
    page.goto(url)
    expect(page).to_have_url(f"{url}/sign-in")
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("stSidebarNav")).to_be_visible(timeout=30_000)


@pytest.mark.slow
def test_every_page_comes_from_this_host_alone(
    start_server: Callable, sqlite_url: str, add_account: Callable[..., Actor], page: Page
) -> None:
    ada = add_account("ada", "admin")
    store = Store.open(sqlite_url, migrate=False)
    demo = create_demo(store)
    store.projects.add_member(Actor.command_line(), demo.id, ada.user_id or 0)
    store.close()
    server = start_server(sqlite_url, "--no-worker")
    hosts: set[str] = set()
    refused: list[str] = []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    page.on("pageerror", lambda error: refused.append(str(error)))
    sign_in(page, server.url, "ada")
    for _, _, module, title, _ in LISTED:
        page.goto(f"{server.url}/{module}")
        expect(page).to_have_title(f"{title} · Tiebreak")
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=30_000)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_text("This page cannot be drawn")).to_have_count(0)
    assert hosts - {""} == {urlsplit(server.url).netloc}  # data: and blob: have no host
    assert refused == []
    page.goto(f"{server.url}/overview")
    expect(page.get_by_text("Demo project.").first).to_be_visible()


@pytest.mark.slow
def test_a_session_survives_a_reload_and_ends_with_signing_out(
    start_server: Callable, sqlite_url: str, add_account: Callable[..., Actor], page: Page
) -> None:
    add_account("ada", "admin")
    server = start_server(sqlite_url, "--no-worker")
    sign_in(page, server.url, "ada")
    page.reload()
    expect(page.get_by_test_id("stSidebarNav")).to_be_visible()
    assert page.evaluate("document.cookie.includes('tiebreak_session')") is False  # no script can read it
    page.goto(f"{server.url}/account")
    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{server.url}/sign-in")
    page.goto(server.url)
    expect(page).to_have_url(f"{server.url}/sign-in")


@pytest.mark.slow
def test_an_open_page_says_so_once_its_session_has_ended(
    start_server: Callable, sqlite_url: str, add_account: Callable[..., Actor], page: Page
) -> None:
    ada = add_account("ada", "admin")
    server = start_server(sqlite_url, "--no-worker")
    sign_in(page, server.url, "ada")
    store = Store.open(sqlite_url, migrate=False)
    store.people.revoke_sessions(Actor.command_line(), ada.user_id or 0)
    store.close()
    page.wait_for_timeout(10_200)  # what the server takes a session for granted
    page.get_by_role("link", name="Account").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    expect(page.get_by_text("ada, admin")).to_have_count(0)


@pytest.mark.slow
def test_the_entrance_follows_a_dark_screen(start_server: Callable, sqlite_url: str, chromium: Browser) -> None:
    server = start_server(sqlite_url, "--no-worker")
    shades = {}
    for scheme in ("light", "dark"):
        page = chromium.new_context(color_scheme=scheme).new_page()  # type: ignore[arg-type]
        page.goto(f"{server.url}/sign-in")
        shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.context.close()
    assert shades == {"light": "rgb(251, 250, 247)", "dark": "rgb(21, 25, 26)"}


@pytest.mark.slow
def test_without_sign_in_a_project_of_the_command_line_is_labeled_watched_and_trained_on(
    start_server: Callable, sqlite_url: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    assert main(["project", "create", "desk"]) == 0
    assert main(["import", "desk", str(Path(__file__).parents[3] / "data" / "samples" / "comparisons.jsonl")]) == 0
    server = start_server(sqlite_url, "--no-worker", "--single-user")
    page.goto(f"{server.url}/label")
    expect(page.locator(".layer.shown")).to_be_visible(timeout=60_000)
    page.keyboard.press("Enter")  # the guidelines open by themselves
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator(".status")).to_have_text("Saved", timeout=30_000)
    for module, title in (("overview", "Overview"), ("train", "Train")):
        page.goto(f"{server.url}/{module}")
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible(timeout=60_000)
        expect(page.get_by_text("This page cannot be drawn")).to_have_count(0)
    with Store.open(sqlite_url, migrate=False) as store:
        [judgment] = store.judgments.iterate(Actor.command_line(), 1)
    assert judgment.annotator == "you"
