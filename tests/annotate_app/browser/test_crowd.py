"""A person of a crowd platform, in a real browser: from the platform's link to its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.people.crowd import CrowdLink, LinkPlan
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Message

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ADMIN = Actor.command_line()
PLAN = LinkPlan(
    name="Which answer helps more?",
    id_parameter="PROLIFIC_PID",
    target=2,
    completion_code="DONE1",
    screen_out_code="OUT1",
    over_quota_code="FULL1",
    return_url="https://app.prolific.com/submissions/complete?cc={code}",
    text="Read both answers.\n<b>No hurry.</b>",
)
PAIRS = [
    Comparison(
        id=f"c{number}",
        prompt=(Message(role="user", content=f"Question {number}?"),),
        completion_a=f"Yes, {number}.",
        completion_b=f"No, {number}, and here is why.",
    )
    for number in range(8)
]


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens an address in a browser of its own: `visit(url, locale="de-DE")`."""
    contexts = []

    def visit(url: str, **options: object) -> Page:
        contexts.append(chromium.new_context(**({"viewport": {"width": 1280, "height": 720}} | options)))
        page = contexts[-1].new_page()
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def make_link(sqlite_url: str, labeling_project: Callable[..., int]) -> Callable[..., CrowdLink]:
    """Makes a project with pairs, and a link to it."""

    def make(design: Design | None = None, **plan: object) -> CrowdLink:
        project_id = labeling_project(PAIRS, design=design or Design(overlap=3))
        store = Store.open(sqlite_url, migrate=False)
        if design is not None:
            for number in range(2):
                store.comparisons.set_gold(ADMIN, project_id, f"c{number}", Gold(choice="a", use="qualification"))
        link = store.crowd.add_link(ADMIN, project_id, replace(PLAN, **plan))
        store.close()
        return link

    return make


def address(server, link: CrowdLink, platform_id: str) -> str:
    return f"{server.url}/crowd/{link.token}?PROLIFIC_PID={platform_id}&STUDY_ID=s1&SESSION_ID=t1"


def begin(page: Page, word: str = "Start") -> None:
    """Presses the start button, and closes the guidelines."""
    page.get_by_role("button", name=word, exact=True).click()
    expect(page.locator(".layer.shown")).to_be_visible(timeout=30_000)
    if page.locator("dialog[open]").count():
        page.keyboard.press("Enter")
        expect(page.locator("dialog[open]")).to_have_count(0)


def judge(page: Page) -> None:
    token = page.locator(".layer.shown").get_attribute("data-token") or ""
    page.keyboard.press("1")
    page.wait_for_timeout(500)
    page.keyboard.press("Enter")
    expect(page.locator(f".layer.shown[data-token='{token}']")).to_have_count(0)


def outcomes(url: str, link: CrowdLink) -> dict[str, tuple[str, int]]:
    store = Store.open(url, migrate=False)
    visits = store.crowd.visits(ADMIN, link.project_id)
    store.close()
    return {visit.platform_id: (visit.outcome, visit.judgments) for visit in visits}


def test_from_the_link_through_the_work_to_the_code(start_server, sqlite_url, make_link, visit) -> None:
    link = make_link(quota=1)
    server = start_server(sqlite_url, "--no-worker")
    page = visit(address(server, link, "5f00"))
    expect(page.get_by_role("heading", name="Which answer helps more?")).to_be_visible()
    expect(page.get_by_text("<b>No hurry.</b>")).to_be_visible()  # text, not HTML
    assert outcomes(sqlite_url, link) == {}  # opening the address changes nothing
    begin(page)
    judge(page)
    expect(page.locator(".status")).to_have_text("Saved")
    expect(page.get_by_text("DONE1")).to_have_count(0)

    again = visit(address(server, link, "5f00"))  # on another computer: the same person, and the same pair
    begin(again)
    assert again.locator(".layer.shown").inner_text() == page.locator(".layer.shown").inner_text()

    full = visit(address(server, link, "6a11"), locale="de-DE")
    full.get_by_role("button", name="Beginnen").click()
    expect(full.get_by_role("heading", name="Alle Plätze sind vergeben")).to_be_visible()
    expect(full.locator("#code")).to_have_text("FULL1")

    judge(page)
    expect(page.get_by_text("DONE1")).to_be_visible(timeout=20_000)
    back = page.get_by_role("link", name="Back to the platform")
    expect(back).to_have_attribute("href", "https://app.prolific.com/submissions/complete?cc=DONE1")
    page.reload()
    expect(page.get_by_text("DONE1")).to_be_visible(timeout=20_000)
    assert outcomes(sqlite_url, link) == {"5f00": ("completed", 2), "6a11": ("over_quota", 0)}
    # a session of a crowd person opens nothing else
    page.goto(f"{server.url}/people")
    expect(page.get_by_text("Accounts")).to_have_count(0)


def test_who_fails_the_qualification_is_sent_back_in_their_language(start_server, sqlite_url, make_link, visit) -> None:
    link = make_link(Design(overlap=3, qualification_items=2, qualification_pass=1.0))
    server = start_server(sqlite_url, "--no-worker")
    page = visit(address(server, link, "5f00"), locale="de-DE")
    begin(page, "Beginnen")
    judge(page)
    left_is_a = page.locator(".layer.shown").inner_text()
    wrong = "1" if left_is_a.find("No,") < left_is_a.find("Yes,") else "7"
    page.keyboard.press(wrong)
    page.wait_for_timeout(500)
    page.keyboard.press("Enter")
    expect(page.get_by_text("OUT1")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Diese Studie ist für Sie zu Ende")).to_be_visible()
    assert outcomes(sqlite_url, link)["5f00"][0] == "screened_out"
