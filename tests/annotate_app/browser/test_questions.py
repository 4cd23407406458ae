"""Guidelines that are acknowledged, and a question from the desk to the lead and back, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.store.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ADMIN = Actor.command_line()


@pytest.fixture
def lead_of(add_account: Callable[..., Actor], sqlite_url: str) -> Callable[[int], Actor]:
    """Makes lea a lead of a project."""

    def make(project: int) -> Actor:
        lea = add_account("lea", "lead")
        with Store.open(sqlite_url, migrate=False) as store:
            store.projects.add_member(ADMIN, project, lea.user_id)
        return lea

    return make


def test_guidelines_are_read_on_start_by_a_person_and_not_by_a_browser(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    pairs: Callable,
    lead_of: Callable[[int], Actor],
    aspects: Rubric,
) -> None:
    project = labeling_project(pairs(6), rubric=aspects)
    lea = lead_of(project)
    server = start_server(sqlite_url, "--no-worker")

    def versions() -> list[int | None]:
        with Store.open(sqlite_url, migrate=False) as store:
            return [each.version for each in store.readings.list(lea, project) if each.name == "anna"]

    desk = open_desk(server.url)
    expect(desk.status).to_have_text("")
    desk.page.wait_for_timeout(1000)
    assert versions() == [1]
    changed = replace(aspects, guidelines="Read them **again**.")
    with Store.open(sqlite_url, migrate=False) as store:
        store.projects.save_rubric(ADMIN, project, rubric_text(changed))
    dialog = desk.page.get_by_role("dialog")
    desk.page.reload()
    expect(dialog).to_contain_text("Read them again.")
    desk.press("Escape")
    expect(dialog).to_be_visible()  # not by the way out
    assert versions() == [1]
    desk.page.reload()
    expect(dialog).to_contain_text("Read them again.")  # opening was no reading
    dialog.get_by_role("button", name="Start").click()
    expect(dialog).to_have_count(0)
    desk.page.wait_for_timeout(1000)
    assert versions() == [2]
    other = open_desk(server.url)  # another browser, the same person
    other.page.reload()
    expect(other.shown).to_be_visible()
    other.page.wait_for_timeout(500)
    expect(other.page.get_by_role("dialog")).to_have_count(0)


def test_a_question_written_offline_reaches_the_lead_and_its_answer_all_who_meet_the_pair(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    pairs: Callable,
    judgments_of: Callable,
    lead_of: Callable[[int], Actor],
) -> None:
    project = labeling_project(pairs(1), design=Design(overlap=2, target=20), others=("ben",))
    lea = lead_of(project)
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    desk.page.context.set_offline(True)
    desk.page.evaluate("window.send = WebSocket.prototype.send; WebSocket.prototype.send = () => {}")
    asked = desk.page.locator("dialog[open] textarea")
    desk.page.get_by_role("button", name="Ask").click()
    expect(asked).to_be_focused()
    desk.page.keyboard.type("is a refund")
    desk.press("Escape")
    expect(asked).to_have_count(0)
    desk.press("c")  # what was written is still there
    expect(asked).to_be_focused()
    expect(asked).to_have_value("is a refund")
    desk.page.keyboard.type(" meant?")
    desk.press("Control+Enter")
    expect(desk.page.locator(".hint")).to_contain_text("on its way to the lead")
    expect(desk.status).to_contain_text("1 waiting")
    desk.page.context.set_offline(False)
    desk.page.reload()
    desk.wait()
    with Store.open(sqlite_url, migrate=False) as store:
        deadline = 50
        while not (asked := store.questions.list(lea, project)) and deadline:
            desk.page.wait_for_timeout(100)
            deadline -= 1
    assert [each.text for each in asked] == ["is a refund meant?"]
    assert desk.shown.is_visible()
    desk.press("3", "Enter")
    expect(desk.page.locator(".count")).to_have_text("1 of 20 judged")

    lead = desk.page.context.browser.new_context(viewport={"width": 1280, "height": 900}).new_page()  # type: ignore[union-attr]
    lead.goto(f"{server.url}/sign-in")
    lead.get_by_label("Name").fill("lea")
    lead.get_by_label("Password").fill("correct horse battery")
    lead.get_by_role("button", name="Sign in").click()
    expect(lead.get_by_text("anna asks about a pair: see Questions.").first).to_be_attached(timeout=20_000)
    lead.get_by_role("link", name="Questions").click()
    expect(lead.get_by_text("1 of 1 wait.")).to_be_visible()
    expect(lead.get_by_text("is a refund meant?")).to_be_visible()
    expect(lead.get_by_text("where is my parcel?").first).to_be_visible(timeout=20_000)
    expect(lead.locator(".reader .role")).to_have_text("User")
    expect(lead.get_by_text("1 of 3 have read version 1, the present one.")).to_be_visible()
    lead.get_by_role("textbox", name="Answer").fill("Yes, a refund.")
    lead.get_by_role("button", name="Answer").click()
    expect(lead.get_by_text("0 of 1 wait.")).to_be_visible()
    expect(lead.get_by_role("button", name="Correct the answer")).to_be_visible()
    lead.context.close()

    ben = open_desk(server.url, "ben")
    asked_about = ben.page.locator(".asked")
    expect(asked_about).to_contain_text("A question about this pair was answered")
    expect(asked_about.get_by_text("Yes, a refund.")).to_be_hidden()
    asked_about.locator("summary").click()
    expect(asked_about.get_by_text("Yes, a refund.")).to_be_visible()
    expect(asked_about).not_to_contain_text("anna")
    desk.page.goto(f"{server.url}/my_work")
    expect(desk.page.get_by_text("Yes, a refund.")).to_be_visible()
    expect(desk.page.get_by_role("heading", name="My day")).to_be_visible()
    assert len(judgments_of(project)) == 1
