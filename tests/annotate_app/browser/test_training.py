"""A training in a real browser: from the button to the curve and the report, and still there after coming back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]
A_TRAINING = 300_000  # ms; the demo's takes under two minutes on two idle cores


@pytest.fixture
def train_page(chromium: Browser, start_server: Callable, sqlite_url: str) -> Iterator[Page]:
    """The page to train on, in the demo project, without sign-in; the test fails on an uncaught error in it."""
    server = start_server(sqlite_url, "--demo")
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/train")
    expect(train_button(page)).to_be_enabled(timeout=60_000)
    yield page
    context.close()
    assert not errors


def train_button(page: Page):
    return page.get_by_role("button", name="Train", exact=True)


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.keyboard.press("ArrowDown")  # opens the list where the click only scrolled to it
    page.get_by_role("option", name=re.compile(option)).click()


def finish(page: Page) -> None:
    """Waits until the training has ended well: figures of test rows, and the report's link."""
    expect(page.get_by_role("heading", name="Last training")).to_be_visible(timeout=A_TRAINING)
    expect(page.get_by_role("link", name="Open the report")).to_be_visible()
    expect(page.get_by_test_id("stMetric").filter(has_text="Test accuracy")).to_be_visible()


def read_report(page: Page) -> None:
    """Opens the report: a page of its own with plots, without an origin."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the report").click()
    report = opened.value
    expect(report.locator("h1")).to_be_visible()
    expect(report.locator("svg").first).to_be_visible()
    assert report.evaluate("origin") == "null"
    report.close()


@pytest.mark.timeout(600)
def test_tfidf_from_the_button_to_the_report_the_runs_and_the_playground(train_page: Page) -> None:
    pytest.importorskip("sklearn")
    page = train_page
    choose(page, "Model", "^TF-IDF")
    expect(page.get_by_role("combobox", name="Trains")).to_have_value(re.compile("Head only"))
    train_button(page).click()
    expect(page.get_by_text("Under way")).to_be_visible(timeout=30_000)
    finish(page)
    expect(
        page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first
    ).to_be_visible()
    read_report(page)
    with page.expect_download() as download:
        page.evaluate("document.querySelector('a[href$=\"model.zip\"]').removeAttribute('target')")
        page.get_by_role("link", name="Download the model").click()
    assert download.value.suggested_filename == "reward-model-1.zip"
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_test_id("stMetric").first).to_be_visible()
    page.get_by_role("link", name="Playground", exact=True).click()
    for label, text in {
        "Prompt": "Where is my parcel?",
        "Answer A": "I have asked the carrier to search for it and will write to you on Monday.",
        "Answer B": "No.",
    }.items():
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name="Score").click()
    expect(page.get_by_text(re.compile("^Prefers [AB]$"))).to_be_visible(timeout=120_000)


@pytest.mark.timeout(900)
def test_tiny_shows_its_curve_while_it_trains_and_is_still_there_after_coming_back(train_page: Page) -> None:
    pytest.importorskip("transformers")
    page = train_page
    choose(page, "Model", "^Tiny")
    train_button(page).click()
    expect(page.get_by_text(re.compile(r"^Step \d+ of \d+")).first).to_be_visible(timeout=A_TRAINING)
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_text(re.compile("^(Under way|Last training)$"))).to_be_visible(timeout=60_000)
    expect(page.locator("[data-testid=stVegaLiteChart]").first).to_be_visible(timeout=A_TRAINING)
    finish(page)
    read_report(page)


@pytest.mark.timeout(900)
def test_sft_from_the_button_to_what_it_writes(train_page: Page, screenshots: Path) -> None:
    pytest.importorskip("transformers")
    page = train_page
    page.get_by_role("radio", name="Policy: SFT").click()
    expect(page.get_by_role("combobox", name="Begins from")).to_be_visible()
    page.get_by_text("Advanced settings").click()
    text = page.locator(".st-key-train-advanced-sft textarea")
    text.fill("max_steps: 12\neval_every: 4")
    text.press("Control+Enter")
    expect(page.get_by_text("Changed: max_steps 12, eval_every 4")).to_be_visible()
    page.get_by_text("Advanced settings").click()
    page.screenshot(path=screenshots / "sft-form.png", full_page=True)
    train_button(page).click()
    expect(page.get_by_text("Under way")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("heading", name="Last training")).to_be_visible(timeout=A_TRAINING)
    expect(page.get_by_test_id("stMetric").filter(has_text="Validation loss")).to_be_visible()
    expect(page.get_by_text("What it writes, at step 12")).to_be_visible()
    page.screenshot(path=screenshots / "sft-run.png", full_page=True)
    page.get_by_role("radio", name="Policy: DPO").click()
    expect(page.get_by_role("combobox", name="Begins from")).to_have_value(re.compile("SFT, tiny, full"))
    page.screenshot(path=screenshots / "dpo-form.png", full_page=True)
