"""From an empty server to the first judgment, and back to the same page through every sign-in, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from annotate_app.access import Actor
from annotate_app.pages.kit.page_list import LISTED
from annotate_app.pages.projects import OWN_RUBRIC
from annotate_app.protocol.collection_design import Design
from annotate_app.store.store import Store

PASSWORD = "correct horse battery"
ADMIN = Actor.command_line()
SAMPLE = Path(__file__).parents[3] / "data" / "samples" / "comparisons.jsonl"
LONG = 60_000
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def context(chromium: Browser) -> BrowserContext:
    """A new visitor's browser, on a small laptop."""
    return chromium.new_context(viewport={"width": 1280, "height": 720})


def settle(page: Page) -> None:
    """Waits until the page is drawn."""
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning")


def go(page: Page, name: str) -> None:
    """Opens a page by its link in the navigation."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    expect(page).to_have_title(f"{name} · Tiebreak")
    settle(page)


def step(page: Page, number: int) -> Locator:
    """A step of the way, from 1."""
    return page.locator(f".st-key-first-step-{number - 1}")


def accept(page: Page, link: str, name: str = "") -> None:
    """Makes the account of an invitation."""
    page.goto(link)
    if name:
        page.get_by_label("Choose a name").fill(name)
    for label in ("Choose a password", "The same once more"):
        page.get_by_label(label).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_test_id("stSidebarNav")).to_be_visible()
    settle(page)


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fills the form that is open."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_the_admin_of_an_empty_server_is_led_to_the_first_judgment(
    start_server: Callable, sqlite_url: str, invite_in: Callable[[str], str], chromium: Browser, context: BrowserContext
) -> None:
    server = start_server(sqlite_url, "--no-worker")
    page = context.new_page()
    accept(page, server.url + invite_in(server.log.read_text()), "ada")
    expect(page.get_by_role("button", name="Make the demo project")).to_be_visible()
    go(page, "Agreement")  # no dead end either
    page.get_by_role("link", name="Make the first one").click()
    page.get_by_role("button", name="Start an empty project").click()
    expect(page.get_by_text("First steps")).to_be_visible()
    settle(page)
    expect(page).to_have_url(f"{server.url}/overview?project=Project+1")

    expect(step(page, 1)).to_contain_text("next")
    page.get_by_role("button", name="It is right as it is").click()
    expect(step(page, 1)).to_contain_text("done")
    step(page, 2).get_by_role("link", name="Import").click()
    page.locator("input[type=file]").set_input_files(str(SAMPLE))
    page.get_by_role("button", name="Import comparisons").click(timeout=LONG)
    expect(page.get_by_text("comparisons added")).to_be_visible()
    go(page, "Overview")
    expect(step(page, 2)).to_contain_text("done")

    step(page, 3).get_by_role("link", name="People").click()
    page.get_by_text("Invite people").click()
    names = page.get_by_role("textbox", name="Names, one a line")
    names.fill("anna\nben, adjudicator")
    names.press("Tab")
    page.get_by_role("button", name="Make links").click()
    expect(page.get_by_text("Send these 2 links")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download links").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert [line.rpartition(",")[0] for line in lines] == [
        "name,role,project,group",
        "anna,annotator,Project 1,",
        "ben,adjudicator,Project 1,",
    ]
    link = lines[1].rpartition(",")[2]
    assert link.startswith(f"{server.url}/invite/")
    page.get_by_role("button", name="I have them").click()
    expect(page.get_by_text("Open invitations: 2")).to_be_visible()

    anna = chromium.new_context(locale="de-DE").new_page()
    anna.goto(link)
    assert anna.evaluate("document.documentElement.lang") == "de"
    for label in ("Wählen Sie ein Passwort", "Dasselbe noch einmal"):
        anna.get_by_label(label).fill(PASSWORD)
    anna.get_by_role("button", name="Konto anlegen").click()
    expect(anna.locator(".layer.shown")).to_be_visible()
    anna.keyboard.press("Enter")  # the guidelines
    expect(anna.locator("dialog[open]")).to_have_count(0)
    anna.keyboard.press("1")
    anna.keyboard.press("Enter")
    with Store.open(sqlite_url, migrate=False) as store:
        project = store.projects.get(ADMIN, "Project 1")
        for _ in range(100):
            if store.projects.progress(ADMIN, project.id).slots_judged:
                break
            anna.wait_for_timeout(100)
    go(page, "Overview")
    expect(page.get_by_text("First steps")).to_have_count(0)
    page.get_by_text("Who", exact=True).click()
    expect(page.get_by_role("link", name="anna")).to_be_visible()


def test_every_page_keeps_its_address_through_sign_in_and_a_second_tab(
    start_server: Callable, sqlite_url: str, add_account: Callable[..., Actor], context: BrowserContext
) -> None:
    add_account("ada", "admin")
    with Store.open(sqlite_url, migrate=False) as store:
        for name in ("desk", "lab & co"):
            store.projects.create(ADMIN, name, rubric_text=OWN_RUBRIC, design=Design())
    server = start_server(sqlite_url, "--no-worker")
    page = context.new_page()
    failed: list[str] = []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(f"{server.url}/export?project=lab+%26+co&export-names=true")
    expect(page).to_have_url(f"{server.url}/sign-in")
    sign_in(page, "ada", "a wrong guess")
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, "ada")
    settle(page)
    address = re.compile(r"/export\?(?=.*project=lab(\+|%20)%26(\+|%20)co)(?=.*export-names=true)")
    expect(page).to_have_url(address)
    expect(page.get_by_role("switch", name="Real names of annotators")).to_be_checked()
    assert failed == [f"{server.url}/sign-in"]  # the wrong guess: no page asks for what is not there

    chooser = page.get_by_test_id("stSidebarUserContent").get_by_role("combobox")
    top, first = chooser.bounding_box(), page.get_by_role("link", name="Overview", exact=True).bounding_box()
    assert top is not None
    assert first is not None
    assert top["y"] < first["y"] < 720
    for _, _, module, title, _ in LISTED:
        go(page, title)
        expect(page).to_have_url(re.compile(rf"/{module}\?(.*&)?project=lab(\+|%20)%26(\+|%20)co(&|$)"))

    page.goto(f"{server.url}/export?project=desk&export-names=true")
    settle(page)
    other = context.new_page()
    other.goto(f"{server.url}/sign-out")
    other.get_by_role("button", name="Sign out").click()
    page.get_by_text("Real names of annotators").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.get_by_role("link", name="Sign in and come back").click()
    sign_in(page, "ada")
    settle(page)
    expect(page).to_have_url(re.compile(r"/export\?(.*&)?project=desk"))


def test_judgments_of_a_tab_that_was_signed_out_are_sent_after_signing_in_again(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    pairs: Callable,
    open_desk: Callable,
    judgments_of: Callable,
) -> None:
    project = labeling_project(pairs(8))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    desk.judge("1", "Enter")
    other = desk.page.context.new_page()
    other.goto(f"{server.url}/sign-out")
    other.get_by_role("button", name="Sign out").click()
    token = desk.token
    desk.press("7", "Enter")
    expect(desk.page.get_by_text("You are signed out.")).to_be_visible()
    assert len(judgments_of(project)) == 1
    desk.page.get_by_role("link", name="Sign in and come back").click()
    sign_in(desk.page, "anna")
    desk.wait()
    expect(desk.status).to_have_text("Saved")
    assert desk.token != token
    assert len(judgments_of(project)) == 2
