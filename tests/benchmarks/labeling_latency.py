"""Measures labeling in a real browser: from the key that submits to the next pair on the screen, and to "Saved".

    python tests/benchmarks/labeling_latency.py [--pairs 100] [--characters 2300]

Starts the app on a database of its own, judges pairs by keyboard, and prints one JSON document; milliseconds. "painted"
is the first frame after the one in which the next pair became visible, from the time stamp of the key event.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Message

PARAGRAPH = (
    "Thank you for writing. **Your parcel** left on Monday, see `order 17`: it costs $5 and takes $n + 1$ days.\n\n"
)
CODE = "```python\ndef days(n):\n    return n + 1\n```\n\n"
# Listens before the page does: the page keeps the keys it takes to itself.
PRESSED = "window.addEventListener('keydown', e => { if (e.key === 'Enter') window.pressed = e.timeStamp; }, true)"
# The moment the next pair is painted: a frame after the class that reveals it was set.
WATCH = """() => {
  const root = [...document.querySelectorAll('*')].map(e => e.shadowRoot).find(r => r?.querySelector('.labeler'));
  const stage = root.querySelector('.stage');
  window.painted = [];
  let shown = stage.querySelector('.shown');
  new MutationObserver(() => {
    const now = stage.querySelector('.shown');
    if (!now || now === shown) return;
    shown = now;
    const from = window.pressed;
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.painted.push(performance.now() - from);
      channel.port2.postMessage(0);
    });
  }).observe(stage, { subtree: true, childList: true, attributes: true, attributeFilter: ['class'] });
  window.saved = [];
  const status = root.querySelector('.status');
  new MutationObserver(() => {
    if (status.textContent === 'Saved') window.saved.push(performance.now() - window.pressed);
  }).observe(status, { childList: true, characterData: true, subtree: true });
}"""


def fill(url: str, pairs: int, characters: int) -> None:
    """A project of long markdown pairs, and the account that labels it."""
    store = Store.open(url)
    actor = Actor.command_line()
    rubric = Rubric(title="Latency", guidelines="Read both.")
    project = store.projects.create(actor, "latency", rubric_text=rubric_text(rubric), design=Design(overlap=1))
    text = (CODE + PARAGRAPH * (characters // len(PARAGRAPH) + 1))[:characters]
    store.comparisons.add(
        actor,
        project.id,
        [
            Comparison(
                id=f"c{number}",
                prompt=(Message(role="user", content=f"Where is parcel {number}?"),),
                completion_a=f"{number} a {text}",
                completion_b=f"{number} b {text}",
            )
            for number in range(pairs)
        ],
    )
    store.projects.add_member(actor, project.id, store.people.add(actor, "you", role="admin").id)
    store.close()


def start(url: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The app without sign-in on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "annotate_app", "serve", "--single-user", "--no-worker", "--no-browser"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--db", url], cwd=folder, env=os.environ, stdout=subprocess.DEVNULL
    )
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return server, f"http://127.0.0.1:{port}"


def judge(page: Page, address: str, count: int, pause_ms: int) -> tuple[list[float], list[float]]:
    """Judges `count` pairs; milliseconds to the next pair painted, and to the acknowledgement."""
    page.add_init_script(PRESSED)
    page.goto(f"{address}/label")
    expect(page.locator(".layer.shown")).to_be_visible(timeout=30_000)
    page.keyboard.press("Enter")  # closes the guidelines
    page.wait_for_timeout(1000)
    page.evaluate(WATCH)
    for number in range(count):
        page.keyboard.press("1234567"[number % 7])
        page.keyboard.press("Enter")
        page.wait_for_function("done => window.saved.length > done", arg=number)
        page.wait_for_timeout(pause_ms)
    return page.evaluate("window.painted"), page.evaluate("window.saved")


def quantiles(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    cuts = statistics.quantiles(values, n=20)
    return {"p50": round(statistics.median(values), 1), "p95": round(cuts[18], 1), "count": len(values)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--characters", type=int, default=2300)
    parser.add_argument("--pause-ms", type=int, default=100)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tiebreak-latency-"))
    url = f"sqlite:///{folder}/latency.db"
    fill(url, options.pairs + 2, options.characters)
    server, address = start(url, folder)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1400, "height": 860})
            painted, saved = judge(page, address, options.pairs, options.pause_ms)
            browser.close()
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder)
    result = {"keydown_to_painted_ms": quantiles(painted), "keydown_to_saved_ms": quantiles(saved)}
    print(json.dumps(result | {"characters_per_response": options.characters, "load": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
