"""A training in a real browser: from the button to the curve and the report, and still there after coming back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from alignment.watcher import Watcher
from annotate_app.access import Actor
from annotate_app.store.store import Store
from annotate_app.training_plan import TrainingPlan
from annotate_app.trainings import start

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
    page.get_by_role("combobox", name=label, exact=True).click()
    page.keyboard.press("ArrowDown")  # opens the list where the click only scrolled to it
    page.get_by_role("option", name=re.compile(option)).click()


def set_advanced(page: Page, key: str, options: str) -> None:
    """Opens the advanced settings, types these and closes them."""
    page.get_by_text("Advanced settings").click()
    text = page.locator(f".st-key-{key} textarea")
    text.fill(options)
    text.press("Control+Enter")
    expect(page.get_by_text("Changed: " + options.replace(":", "").replace("\n", ", "))).to_be_visible()
    page.get_by_text("Advanced settings").click()


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
    set_advanced(page, "train-advanced", "epochs: 8\npatience: 0")  # one epoch may be over between two looks
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
    set_advanced(page, "train-advanced-sft", "max_steps: 12\neval_every: 4")
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


def fill(page: Page, label: str, value: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(value)
    field.press("Enter")


@pytest.mark.timeout(900)
def test_grpo_from_the_button_to_the_people_who_judge_its_audit(
    train_page: Page, sqlite_url: str, screenshots: Path
) -> None:
    pytest.importorskip("transformers")
    page, store, admin = train_page, Store.open(sqlite_url), Actor.command_line()
    [project] = store.projects.list(admin)
    start(store, admin, TrainingPlan(project=project.name, trains="sft", advanced={"max_steps": 2}))
    store.close()
    page.reload()
    expect(page.get_by_role("heading", name="Last training")).to_be_visible(timeout=A_TRAINING)
    page.get_by_role("radio", name="Policy: GRPO").click()
    expect(page.get_by_role("combobox", name="Begins from")).to_have_value(re.compile("SFT, tiny, full"))
    expect(train_button(page)).to_be_disabled()  # nothing rewards answers yet
    choose(page, "Reward", "near a number of words")
    fill(page, "Words", "20")
    fill(page, "Steps", "4")
    page.get_by_text("How much a step draws, and audits").click()
    for label, value in {"Prompts a step": "2", "Longest answer": "16", "Pairs for people": "3"}.items():
        fill(page, label, value)
    expect(train_button(page)).to_be_enabled()
    page.screenshot(path=screenshots / "grpo-form.png", full_page=True)
    train_button(page).click()
    expect(page.get_by_text("Under way")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("heading", name="Last training")).to_be_visible(timeout=A_TRAINING)
    expect(page.get_by_test_id("stMetric").filter(has_text="KL, nats an answer")).to_be_visible()
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_text("Ask people: blind rounds").click()
    expect(page.get_by_role("combobox", name="Audit at step")).to_have_value("4")
    page.get_by_role("button", name="Send 3 pairs").click()
    expect(page.get_by_text(re.compile("Step 4 went into .*: [123] pairs added"))).to_be_visible()
    page.set_viewport_size({"width": 1400, "height": 2800})
    page.wait_for_timeout(1500)  # charts draw themselves again in the larger window
    page.screenshot(path=screenshots / "grpo-run.png", full_page=True)


def hacked_run(url: str) -> None:
    """A training that ended, whose reward rose while its audit reward fell and its answers grew; watched as it went."""
    store, admin = Store.open(url), Actor.command_line()
    [project] = store.projects.list(admin)
    job = start(store, admin, TrainingPlan(project=project.name, trains="sft"))
    store.jobs.claim()
    store.jobs.finish(job.id, "done")
    store.close()
    model = Path(job.run_dir) / "model"
    model.mkdir()
    (model / "status.json").write_text(json.dumps({"state": "done", "step": 120, "num_steps": 120, "pid": 1}))
    watcher = Watcher(model)
    with (model / "metrics.jsonl").open("w") as file:
        for step in range(1, 121):
            share, wave = step / 120, math.sin(2.4 * step)
            metrics = {"reward/raw": 2 * share + 0.05 * wave, "reward/spread": 0.8, "reward/std": 0.2 + 0.1 * share}
            metrics |= {"reward/mean": metrics["reward/raw"] - 0.1 * share, "kl": 8 * share + 0.2 * wave}
            metrics |= {"completions/length": 40 + 60 * share + 3 * wave, "beta": 0.02}
            metrics |= {"completions/truncated_share": 0.9 if 20 < step < 40 else 0.1, "completions/repetition": 0.05}
            if step % 5 == 0:
                metrics |= {
                    "audit/raw": 2 * share + 0.05 * wave,
                    "audit/reward": 3 * share * (1.2 - share),
                    "entropy": 2 - share,
                }
            file.write(json.dumps({"step": step, "time/at": 1.0 * step} | metrics) + "\n")
            watcher.step(step, metrics)


@pytest.mark.timeout(180)
def test_a_hacked_run_says_so_beside_its_curves(
    chromium: Browser, start_server: Callable, sqlite_url: str, screenshots: Path
) -> None:
    server = start_server(sqlite_url, "--demo", "--no-worker")
    hacked_run(sqlite_url)
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{server.url}/runs")
    expect(page.get_by_text("Reward hacking", exact=True).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text(re.compile("the audit reward fell .* on the same held-out prompts"))).to_be_visible()
    expect(page.get_by_text(re.compile("What to change: Go back to a checkpoint"))).to_be_visible()
    expect(page.get_by_text("Alarms that are over: 1")).to_be_visible()
    expect(
        page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").nth(3)
    ).to_be_attached()
    page.set_viewport_size({"width": 1400, "height": 2400})
    page.wait_for_timeout(1500)  # charts draw themselves again in the larger window
    page.screenshot(path=screenshots / "alarms.png", full_page=True)
    page.close()
