"""Labeling in a real browser: what the keys do, and that nothing is lost or counted twice whatever happens between."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from annotate_app.access import Actor
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.store import Store

pytestmark = pytest.mark.browser


def content(side: str, shown_left: str) -> str:
    """The completion that stood on a side."""
    return shown_left if side == "left" else {"a": "b", "b": "a"}[shown_left]


def test_ten_pairs_by_keyboard_one_undone_and_a_reload_are_exactly_what_is_stored(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    judgments_of: Callable,
    pairs: Callable,
) -> None:
    project = labeling_project(pairs(12))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    pressed: dict[str, tuple[str, int]] = {}  # by comparison, side and strength on the screen

    def label(key: str) -> None:
        number = re.search(r"Question (\d+)", desk.shown.inner_text())[1]  # type: ignore[index]
        left_is = re.search(r"completion ([ab])", desk.shown.locator(".pane.left").inner_text())[1]  # type: ignore[index]
        step = int(key) - 4
        side = "tie" if step == 0 else content("left" if step < 0 else "right", left_is)
        pressed[f"c{number}"] = (side, abs(step))
        desk.judge(key, "Enter")

    for key in ("1", "2", "3", "4"):
        label(key)
    desk.press("u")
    expect(desk.page.get_by_role("radio", name="Tie")).to_have_attribute("aria-checked", "true")
    label("7")  # the undone pair, differently
    desk.page.reload()
    desk.wait()
    for key in ("5", "6", "7", "1", "2", "3"):
        label(key)
    assert len(pressed) == 10
    stored = {judgment.comparison_id: (judgment.choice, judgment.strength) for judgment in judgments_of(project)}
    assert stored == pressed
    assert {judgment.shown_left for judgment in judgments_of(project)} == {"a", "b"}  # sides were shuffled
    assert all(0 < judgment.seconds < 60 for judgment in judgments_of(project))


def test_keys_typed_ahead_judge_the_two_pairs_they_were_typed_for(
    new_desk: Callable, judgments_of: Callable, pairs: Callable
) -> None:
    desk = new_desk(pairs(6))
    desk.press("2", "Enter", "6", "Enter")
    expect(desk.page.locator(".count")).to_have_text("2 of 20 judged")
    expect(desk.status).to_have_text("Saved")
    screen = [
        (-1 if judgment.choice == judgment.shown_left else 1) * judgment.strength
        for judgment in judgments_of(desk.project)
    ]
    assert screen == [-2, 2]


@pytest.mark.slow
def test_enter_three_times_submits_once(new_desk: Callable, judgments_of: Callable, pairs: Callable) -> None:
    desk = new_desk(pairs(6))
    desk.press("3", "Enter", "Enter", "Enter")
    expect(desk.status).to_have_text("Saved")
    desk.page.wait_for_timeout(600)
    desk.press("Enter")
    expect(desk.page.locator(".hint")).to_have_text("Choose an answer first.")
    assert len(judgments_of(desk.project)) == 1


@pytest.mark.slow
def test_a_reload_keeps_the_pair_and_what_was_answered_so_far(
    new_desk: Callable, judgments_of: Callable, pairs: Callable, aspects: Rubric
) -> None:
    desk = new_desk(pairs(6), rubric=aspects)
    desk.press("2", "3", "4", "n")
    desk.page.keyboard.type("left invents 2 refunds")
    desk.press("Escape", "f", "2", "Enter")
    before = (desk.token, desk.checked())
    assert len(before[1]) == 3
    desk.page.reload()
    desk.wait()
    assert (desk.token, desk.checked()) == before
    assert desk.page.locator("textarea").input_value() == "left invents 2 refunds"
    expect(desk.shown.locator(".pane.left .flag")).to_have_text("Made up")
    desk.press("q", "ArrowDown", "ArrowDown", "5")  # the right response's tone
    desk.judge("Enter")
    [judgment] = judgments_of(desk.project)
    turned = judgment.shown_left == "b"
    assert judgment.criteria == {"helpful": -1 if turned else 1, "tone": (5, 4) if turned else (4, 5)}
    assert judgment.flags == {judgment.shown_left: ("made_up",)}
    assert judgment.rationale == "left invents 2 refunds"


@pytest.mark.slow
def test_two_tabs_show_the_same_pair_and_count_it_once(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    judgments_of: Callable,
    pairs: Callable,
) -> None:
    project = labeling_project(pairs(6))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    second = type(desk)(page=desk.page.context.new_page())
    second.page.goto(f"{server.url}")
    second.wait()
    token = desk.token
    assert second.token == token
    desk.judge("1", "Enter")
    # The other tab hears of it and moves on by itself.
    expect(second.shown).not_to_have_attribute("data-token", token)
    assert second.token == desk.token
    assert len(judgments_of(project)) == 1


@pytest.mark.slow
def test_a_pair_judged_elsewhere_is_refused_and_what_was_answered_is_shown(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    judgments_of: Callable,
    pairs: Callable,
) -> None:
    project = labeling_project(pairs(6))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    other = open_desk(server.url)  # another browser: it hears nothing of this one
    assert other.token == desk.token
    desk.judge("1", "Enter")
    other.press("7", "Enter")
    refusal = other.page.locator(".refusal")
    expect(refusal).to_contain_text("A judgment was not accepted.")
    expect(refusal).to_contain_text("Right much better")
    assert other.token == desk.token
    [judgment] = judgments_of(project)
    assert judgment.choice == judgment.shown_left
    refusal.get_by_role("button", name="Dismiss").click()
    expect(refusal).to_have_count(0)


@pytest.mark.slow
def test_an_answer_given_while_the_server_is_down_arrives_when_it_is_back(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    judgments_of: Callable,
    pairs: Callable,
) -> None:
    project = labeling_project(pairs(6))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    desk.judge("1", "Enter")
    server.stop(signal.SIGKILL)
    desk.press("2", "Enter", "3", "Enter")
    expect(desk.status).to_have_text("Offline · 2 waiting, kept in this browser")
    expect(desk.page.locator(".nothing:visible")).to_contain_text("Saving")
    assert len(judgments_of(project)) == 1
    start_server(sqlite_url, "--no-worker", port=int(server.url.rpartition(":")[2]))
    expect(desk.status).to_have_text("Saved", timeout=30_000)
    assert [judgment.strength for judgment in judgments_of(project)] == [3, 2, 1]
    desk.judge("4", "Enter")


@pytest.mark.slow
def test_an_answer_on_its_way_when_the_browser_is_closed_arrives_with_the_next_visit(
    start_server: Callable,
    sqlite_url: str,
    labeling_project: Callable,
    open_desk: Callable,
    judgments_of: Callable,
    pairs: Callable,
) -> None:
    project = labeling_project(pairs(6))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    desk.page.context.set_offline(True)
    desk.page.evaluate("WebSocket.prototype.send = () => {}")
    desk.press("2", "Enter")
    expect(desk.status).to_contain_text("1 waiting")
    desk.page.context.set_offline(False)
    page = desk.page.context.new_page()
    desk.page.close()
    page.goto(f"{server.url}")
    again = type(desk)(page=page)
    again.wait()
    expect(again.page.locator(".count")).to_have_text("1 of 20 judged")
    assert [judgment.strength for judgment in judgments_of(project)] == [2]


@pytest.mark.slow
def test_skip_edit_and_leaving_an_edit(new_desk: Callable, judgments_of: Callable, pairs: Callable) -> None:
    desk = new_desk(pairs(6))
    desk.judge("1", "Enter")
    desk.judge("s", "2")
    desk.press("e")
    history = desk.page.get_by_role("dialog")
    expect(history).to_contain_text("Skipped: broken or empty text")
    history.get_by_role("button", name="Left much better").click()
    expect(desk.page.locator(".banner")).to_be_visible()
    desk.press("Escape")
    expect(desk.page.locator(".banner")).to_be_hidden()
    desk.press("e")
    history.get_by_role("button", name="Left much better").click()
    expect(desk.page.locator(".banner")).to_be_visible()
    assert desk.checked() == ["Left much better"]
    desk.press("6", "Enter")
    expect(desk.page.locator(".banner")).to_be_hidden()
    expect(desk.status).to_have_text("Saved")
    desk.press("e")
    expect(history).to_contain_text("Right better")
    edited, skipped = sorted(judgments_of(desk.project), key=lambda judgment: judgment.choice == "skip")
    assert (edited.strength, edited.choice == edited.shown_left) == (2, False)
    assert (skipped.choice, skipped.reason) == ("skip", "broken or empty text")


@pytest.mark.slow
def test_letters_typed_into_the_rationale_are_text_and_streamlit_does_not_rerun_on_r(
    new_desk: Callable, judgments_of: Callable, pairs: Callable
) -> None:
    desk = new_desk(pairs(6))
    token = desk.token
    desk.press("5", "n")
    desk.page.keyboard.type("1 robot struck")
    assert desk.page.locator("textarea").input_value() == "1 robot struck"
    desk.press("Escape", "r")
    assert desk.page.locator("[data-testid=stStatusWidget]").count() == 0
    desk.press("n", "Control+Enter")
    expect(desk.shown).not_to_have_attribute("data-token", token)
    expect(desk.status).to_have_text("Saved")
    assert desk.page.locator("textarea").input_value() == ""
    assert [judgment.rationale for judgment in judgments_of(desk.project)] == ["1 robot struck"]


@pytest.mark.slow
def test_no_source_reaches_the_browser(
    start_server: Callable, sqlite_url: str, labeling_project: Callable, open_desk: Callable, pairs: Callable
) -> None:
    labeling_project(pairs(6))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url)
    frames: list[bytes] = []
    desk.page.on(
        "websocket",
        lambda socket: socket.on(
            "framereceived", lambda data: frames.append(data if isinstance(data, bytes) else data.encode())
        ),
    )
    desk.page.reload()
    desk.wait()
    desk.judge("1", "Enter")
    received = b"".join(frames)
    assert b"completion" in received
    assert b"secret-" not in received


@pytest.mark.slow
def test_an_empty_queue_says_so_and_finds_new_pairs(new_desk: Callable, sqlite_url: str, pairs: Callable) -> None:
    desk = new_desk(pairs(1))
    desk.press("1", "Enter")
    expect(desk.page.locator(".nothing:visible")).to_contain_text("Nothing to judge right now")
    store = Store.open(sqlite_url, migrate=False)
    store.comparisons.add(Actor.command_line(), desk.project, pairs(2))
    store.close()
    desk.page.get_by_role("button", name="Look again").click()
    expect(desk.shown).to_contain_text("Question 1")


@pytest.mark.slow
def test_the_page_speaks_the_browsers_language_until_the_person_chooses_one(
    start_server: Callable, sqlite_url: str, labeling_project: Callable, open_desk: Callable, pairs: Callable
) -> None:
    labeling_project(pairs(6))
    server = start_server(sqlite_url, "--no-worker")
    desk = open_desk(server.url, locale="de-DE")
    expect(desk.page.get_by_role("button", name="Absenden")).to_be_visible()
    expect(desk.shown.locator(".pane h2")).to_have_text(["Links", "Rechts"])
    expect(desk.shown.get_by_role("region", name="Text der linken Antwort")).to_be_visible()
    desk.page.wait_for_timeout(500)  # an Enter as soon as a pair comes is taken for a double press
    desk.press("Control+Enter")
    expect(desk.page.locator(".hint")).to_have_text("Wählen Sie zuerst eine Antwort.")
    desk.press("1", "Enter")
    expect(desk.status).to_have_text("Gespeichert")
    expect(desk.page.locator(".count")).to_have_text("1 von 20 beurteilt")
    desk.page.goto(f"{server.url}/my_work")
    expect(desk.page.get_by_role("heading", name="Meine Arbeit")).to_be_visible()
    expect(desk.page.get_by_text("Links viel besser")).to_be_visible()
    desk.page.goto(f"{server.url}/account")
    desk.page.get_by_role("combobox", name="Sprache").click()
    desk.page.get_by_role("option", name="English").click()
    expect(desk.page.get_by_role("heading", name="New password")).to_be_visible()
    desk.page.goto(f"{server.url}/label")
    desk.wait()
    expect(desk.page.locator(".count")).to_have_text("1 of 20 judged")
    desk.judge("2", "Enter")
