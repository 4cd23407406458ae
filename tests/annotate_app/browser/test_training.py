"""A training in a real browser: from the button to the curve and the report, and still there after coming back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from toy_plans import sampling_plan, training_plan

from alignment.watch.watcher import Watcher
from annotate_app.access import Actor
from annotate_app.demo import create_demo
from annotate_app.store.store import Store
from annotate_app.trainings.training_jobs import start

pytestmark = [pytest.mark.browser, pytest.mark.slow]
A_TRAINING = 300_000  # ms; the demo's takes under two minutes on two idle cores


@pytest.fixture
def train_page(chromium: Browser, start_server: Callable, sqlite_url: str) -> Iterator[Page]:
    """The page to train on, in the demo project, without sign-in; the test fails on an uncaught error in it."""
    make_demo(sqlite_url)
    server = start_server(sqlite_url, "--single-user")
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/train")
    expect(train_button(page)).to_be_enabled(timeout=60_000)
    yield page
    context.close()
    assert not errors


def make_demo(url: str) -> None:
    """The demo project without the models that `serve --demo` trains: the trainings of a test are the only ones."""
    with Store.open(url) as store:
        create_demo(store)


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


def start_sft(sqlite_url: str) -> None:
    """Queues a short fine-tuning in the demo project."""
    store, admin = Store.open(sqlite_url), Actor.command_line()
    [project] = store.projects.list(admin)
    start(store, admin, training_plan("sft", project=project.name, max_steps=2))
    store.close()


@pytest.mark.timeout(900)
def test_grpo_from_the_button_to_the_people_who_judge_its_audit(
    train_page: Page, sqlite_url: str, screenshots: Path
) -> None:
    pytest.importorskip("transformers")
    page = train_page
    start_sft(sqlite_url)
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


@pytest.mark.timeout(900)
def test_best_of_n_from_the_button_to_the_policy_that_learns_from_its_rows(
    train_page: Page, sqlite_url: str, screenshots: Path
) -> None:
    pytest.importorskip("transformers")
    page = train_page
    start_sft(sqlite_url)
    page.set_viewport_size({"width": 1400, "height": 1900})
    page.reload()
    expect(page.get_by_role("heading", name="Last training")).to_be_visible(timeout=A_TRAINING)
    page.get_by_role("radio", name="Data: best of n").click()
    expect(page.get_by_role("combobox", name="Answers by")).to_have_value(re.compile("SFT, tiny, full"))
    choose(page, "Reward", "near a number of words")
    fill(page, "Words", "20")
    page.get_by_role("button", name="Add a reward").click()
    page.get_by_role("combobox", name="Reward", exact=True).nth(1).click()
    page.get_by_role("option", name="Check: a pattern is found").click()
    fill(page, "Pattern", "(?i)thank")
    page.get_by_role("spinbutton", name="Weight").nth(1).fill("0.5")
    page.get_by_role("spinbutton", name="Weight").nth(1).press("Enter")
    choose(page, "Keep", "as a pair, for DPO")
    fill(page, "Answers a prompt", "4")
    fill(page, "Longest answer", "16")
    button = page.get_by_role("button", name="Draw and choose")
    expect(button).to_be_enabled()
    page.screenshot(path=screenshots / "best-form.png", full_page=True)
    button.click()
    expect(page.get_by_text("Under way")).to_be_visible(timeout=30_000)
    expect(page.get_by_text(re.compile("0.5 regex:")).first).to_be_visible()
    expect(page.get_by_role("heading", name="Last training")).to_be_visible(timeout=A_TRAINING)
    expect(page.get_by_test_id("stMetric").filter(has_text="Reward of the best")).to_be_visible()
    page.get_by_text("The first 20 rows").click()
    page.wait_for_timeout(1500)  # charts and tables draw themselves
    page.screenshot(path=screenshots / "best-run.png", full_page=True)
    with page.expect_download() as download:
        page.evaluate("document.querySelector('a[href$=\"rows.jsonl\"]').removeAttribute('target')")
        page.get_by_role("link", name="Download the rows").click()
    assert download.value.suggested_filename == "best-of-n-2.jsonl"
    rows = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert rows
    assert all({"prompt", "chosen", "rejected"} <= {*row} for row in rows)
    page.get_by_role("radio", name="Policy: DPO").click()
    choose(page, "Data", "Rows of run 2")
    expect(page.get_by_label("Votes at least")).to_be_hidden()
    expect(page.get_by_text("Advanced settings")).to_have_count(1)  # that of the form before is gone
    page.get_by_text("Advanced settings").click()
    text = page.locator(".st-key-train-advanced-dpo textarea")
    text.fill("max_steps: 2")
    text.press("Control+Enter")
    expect(page.get_by_text("Changed: max_steps 2")).to_be_visible()
    page.get_by_text("Advanced settings").click()
    page.screenshot(path=screenshots / "dpo-on-rows-form.png", full_page=True)
    train_button(page).click()
    expect(page.get_by_text(re.compile("3: DPO, .*rows of run 2")).first).to_be_visible(timeout=30_000)
    expect(page.get_by_role("heading", name="Last training")).to_be_visible(timeout=A_TRAINING)
    expect(page.get_by_test_id("stMetric").filter(has_text="Validation loss")).to_be_visible()
    page.get_by_role("radio", name="Policy: online DPO").click()
    expect(page.get_by_role("button", name="Add a reward")).to_be_visible()
    expect(page.get_by_text("Advanced settings")).to_have_count(1)
    expect(page.get_by_role("spinbutton", name="Beta")).to_have_value("0.1")
    page.screenshot(path=screenshots / "online-dpo-form.png", full_page=True)


def hacked_run(url: str, pace: float = 1.0) -> Path:
    """A training that ended, whose reward rose while its audit reward fell and its answers grew; watched as it went."""
    store, admin = Store.open(url), Actor.command_line()
    [project] = store.projects.list(admin)
    job = start(store, admin, sampling_plan("grpo", project=project.name))
    store.jobs.claim()
    store.jobs.finish(job.id, "done")
    store.close()
    model = Path(job.run_dir) / "model"
    model.mkdir()
    (model / "status.json").write_text(json.dumps({"state": "done", "step": 120, "num_steps": 120, "pid": 1}))
    watcher = Watcher(model)
    with (model / "metrics.jsonl").open("w") as file:
        for step in range(1, 121):
            share, wave = pace * step / 120, math.sin(2.4 * step)
            metrics = {"reward/raw": 2 * share + 0.05 * wave, "reward/spread": 0.8, "reward/std": 0.2 + 0.1 * share}
            metrics |= {"reward/mean": metrics["reward/raw"] - 0.1 * share, "kl": 8 * share + 0.2 * wave}
            metrics |= {"completions/length": 40 + 60 * share + 3 * wave, "beta": 0.02}
            metrics |= {"completions/truncated_share": 0.9 if 20 < step < 40 else 0.1, "completions/repetition": 0.05}
            if step % 5 == 0:
                metrics |= {
                    "audit/raw": 2 * share + 0.05 * wave,
                    "audit/kl": 8 * share,
                    "audit/reward": 3 * share * (1.2 - share),
                    "entropy": 2 - share,
                }
            file.write(json.dumps({"step": step, "time/at": 1.0 * step} | metrics) + "\n")
            watcher.step(step, metrics)
    return model


@pytest.mark.timeout(180)
def test_a_hacked_run_says_so_beside_its_curves(
    chromium: Browser, start_server: Callable, sqlite_url: str, screenshots: Path
) -> None:
    make_demo(sqlite_url)
    server = start_server(sqlite_url, "--single-user", "--no-worker")
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
    (hacked_run(sqlite_url, pace=0.5) / "alarms.jsonl").write_text("not json\n")
    page.reload()
    expect(page.get_by_text("Whether this run raised alarms is not known")).to_be_visible(timeout=60_000)
    page.screenshot(path=screenshots / "alarms-unreadable.png", full_page=True)
    choose(page, "Open; several are compared", "^1: GRPO")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="What differs")).to_be_visible()
    # reward, of held-out prompts, audit reward, KL, length, entropy, and the audit reward over the KL
    expect(page.locator("[data-testid=stVegaLiteChart]")).to_have_count(7)
    page.wait_for_timeout(1500)
    page.screenshot(path=screenshots / "compared.png", full_page=True)
    page.close()
