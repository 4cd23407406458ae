"""Once around the wheel in a real browser: a turn from the page's form to its blind win rate, judged by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from annotate_app.access import Actor
from annotate_app.demo import desk_comparisons
from annotate_app.jobs.worker import keep
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, Scale, rubric_text
from annotate_app.store.store import Store
from annotate_app.trainings.options import make_config
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.trainings.training_jobs import start
from rewardkit.data.records import Judgment

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ADMIN = Actor.command_line()
A_STAGE = 240_000  # ms
NUM_PAIRS = 5
SIZES = {"wide": (1440, 900), "laptop": (1280, 720), "phone": (390, 844)}


@pytest.fixture
def loop_page(chromium: Browser, start_server: Callable, sqlite_url: str, monkeypatch) -> Iterator[Page]:
    """The Loop page of a project with judged pairs and a policy; the test fails on an uncaught error in it."""
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    make_project(sqlite_url)
    server = start_server(sqlite_url, "--single-user")
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/loop")
    expect(page.get_by_role("button", name="Start the first turn")).to_be_enabled(timeout=60_000)
    yield page
    context.close()
    assert not errors


def make_project(url: str) -> None:
    """A project whose pairs are all judged, and a tiny policy taught by them: run 1."""
    with Store.open(url) as store:
        rubric = rubric_text(Rubric(title="Which reply?", guidelines="Read both.", scale=Scale(steps=7)))
        design = Design(overlap=1, policy="priority")
        project = store.projects.create(ADMIN, "wheel", rubric_text=rubric, design=design)
        items = [item.gold for item in desk_comparisons()[::3]]
        store.comparisons.add(ADMIN, project.id, [item.comparison for item in items])
        judgments = [
            Judgment(
                comparison_id=item.comparison.id,
                annotator="ben",
                choice=item.choice,
                strength=int(item.choice in ("a", "b")),
            )
            for item in items
        ]
        store.judgments.import_many(ADMIN, project.id, judgments)
        options = {"model": "tiny", "max_steps": 40, "batch_size": 8, "learning_rate": 3e-3, "sample_every": 0}
        job = start(store, ADMIN, TrainingPlan(project="wheel", config=make_config("sft", options)))
        store.jobs.claim()
        keep(store, job.id)
        assert store.jobs.get(ADMIN, job.id).state == "done"


def fill_number(page: Page, label: str, value: int) -> None:
    field = page.get_by_role("spinbutton", name=label, exact=True)
    field.fill(str(value))
    field.press("Enter")


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label, exact=True).click()
    page.keyboard.press("ArrowDown")  # opens the list where the click only scrolled to it
    page.get_by_role("option", name=re.compile(option)).click()


def stage(page: Page, name: str, number: int = 1):
    return page.locator(f".st-key-stage-{number}-{name}")


def judge_all(page: Page, url: str) -> int:
    """Judges by keyboard what the project wants judged; the number of judgments."""
    with Store.open(url, migrate=False) as store:
        progress = store.projects.progress(ADMIN, 1)
    shown = page.locator(".layer.shown")
    expect(page.locator(".labeler")).to_be_visible(timeout=60_000)
    expect(shown).to_be_visible(timeout=60_000)
    if page.locator("dialog[open]").count():
        page.keyboard.press("Enter")
        expect(page.locator("dialog[open]")).to_have_count(0)
    num_wanted = progress.slots_wanted - progress.slots_judged
    for number in range(num_wanted):
        expect(shown).to_be_visible(timeout=60_000)
        token = str(shown.get_attribute("data-token"))
        page.keyboard.press("1" if number % 2 else "7")
        page.keyboard.press("Enter")
        expect(page.locator(f".layer.shown[data-token='{token}']")).to_have_count(0, timeout=60_000)
        expect(page.locator(".status")).to_have_text("Saved", timeout=60_000)
    return num_wanted


def pictures(page: Page, folder: Path, name: str) -> None:
    """Pictures of the page at three sizes, light and dark; nothing sticks out to the side."""
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(600)
            page.screenshot(path=folder / f"{name}-{size}-{scheme}.png")
            main = page.get_by_test_id("stMain")
            assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 1
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.timeout(1500)
def test_a_turn_from_the_form_to_its_blind_win_rate(loop_page: Page, screenshots: Path, sqlite_url: str) -> None:
    pytest.importorskip("transformers")
    page = loop_page
    address = page.url
    choose(page, "Turn 0's policy, which writes the first answers", "^Run 1")
    choose(page, "Policy is aligned by", "^SFT")
    for label in ("Prompts", "Pairs to judge", "Blind pairs"):
        fill_number(page, label, NUM_PAIRS)
    page.get_by_text("More", exact=True).click()
    more = page.locator(".st-key-loop-more textarea")
    more.fill(
        "write: {candidates: 2, temperature: 0.8, max_new_tokens: 24}\nchoose: {cut: keep}\n"
        "learn: {config: {mode: head}}\n"
        "align: {config: {max_steps: 30, batch_size: 8, learning_rate: 3e-3, sample_every: 0}}\n"
        "check: {against: [previous]}"
    )
    more.press("Control+Enter")
    pictures(page, screenshots, "form")
    page.get_by_role("button", name="Start the first turn").click()
    expect(stage(page, "judge").get_by_text("Waits for people")).to_be_visible(timeout=A_STAGE)
    expect(stage(page, "choose").get_by_text(re.compile(r"^\d pairs: \d by random"))).to_be_visible()
    pictures(page, screenshots, "people")
    stage(page, "judge").get_by_role("button", name="Go to labeling").click()
    num_judged = judge_all(page, sqlite_url)
    assert 0 < num_judged <= NUM_PAIRS  # pairs of empty answers are left out
    page.goto(address)
    expect(stage(page, "check").get_by_text("Waits for people")).to_be_visible(timeout=A_STAGE)
    expect(stage(page, "learn").get_by_role("link", name=re.compile("^Run"))).to_be_visible()
    stage(page, "check").get_by_role("button", name="Go to labeling").click()
    num_blind = judge_all(page, sqlite_url)
    assert 0 < num_blind <= NUM_PAIRS
    page.goto(f"{address.partition('?')[0]}?turn=1")
    expect(
        stage(page, "check").get_by_text(re.compile(r"^Blind votes won against the turn before: \d+%"))
    ).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="Start turn 2")).to_be_visible()
    expect(page.get_by_role("heading", name="Where this policy comes from")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(f"{num_judged} judgments by you"))).to_be_visible()
    pictures(page, screenshots, "done")
    with Store.open(sqlite_url, migrate=False) as store:
        (turn,) = store.turns.list(ADMIN, 1)
        assert turn.state == "done"
        assert [record.state for record in turn.stages] == ["done"] * 6
    page.get_by_role("button", name="Start turn 2").click()
    expect(page.get_by_role("combobox", name="Turn", exact=True)).to_have_value(re.compile("^Turn 2"), timeout=60_000)
    assert "turn=2" in page.url or "turn=" not in page.url
