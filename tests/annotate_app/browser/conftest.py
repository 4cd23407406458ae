"""Fixtures for tests in a real Chromium: the browser, an app with a project to label, and a page signed in to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Criterion, Flag, Rubric, Scale, rubric_text
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
PASSWORD = "correct horse battery"
CHROMIUM = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PLAIN = Rubric(
    title="Which reply helps more?",
    guidelines="Read both replies. Prefer the one that **solves the problem**.",
    scale=Scale(steps=7),
    both_bad=True,
    flags=(Flag(name="unsafe", label="Unsafe"), Flag(name="made_up", label="Made up")),
)
ASPECTS = replace(
    PLAIN,
    criteria=(
        Criterion(name="helpful", question="Which one solves the problem better?"),
        Criterion(name="tone", question="How is the tone?", kind="rate", low=1, high=5, required=False),
    ),
)

expect.set_options(timeout=30_000)  # a loaded machine is no reason to fail


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium. One a module: while it lives, nothing else in this thread can run an event loop."""
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        pytest.skip("CHROMIUM IS NOT INSTALLED: tests/system_packages.sh installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def aspects() -> Rubric:
    """A rubric with a criterion that compares and one that rates."""
    return ASPECTS


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A browser page on the labeling surface.

    Attributes:
        page: where it is open.
        project: the project that `new_desk` made for it.
    """

    page: Page
    project: int = 0

    @property
    def shown(self) -> Locator:
        """The pair on the screen."""
        return self.page.locator(".layer.shown")

    @property
    def status(self) -> Locator:
        """The line that says whether everything is saved."""
        return self.page.locator(".status")

    @property
    def token(self) -> str:
        """Names the pair on the screen."""
        return self.shown.get_attribute("data-token") or ""

    def checked(self) -> list[str]:
        """The names of the options that are chosen."""
        return [
            item.get_attribute("aria-label") or ""
            for item in self.page.locator("[role=radio][aria-checked=true]").all()
        ]

    def press(self, *keys: str) -> None:
        """Presses keys without waiting."""
        for key in keys:
            self.page.keyboard.press(key)

    def judge(self, *keys: str) -> None:
        """Presses keys that end with a judgment, and waits until another pair is there and this one is saved."""
        token = self.token
        self.press(*keys)
        expect(self.shown).not_to_have_attribute("data-token", token)
        expect(self.status).to_have_text("Saved")

    def wait(self) -> None:
        """Waits for the labeling surface, and closes the guidelines where they opened by themselves."""
        expect(self.page.locator(".labeler")).to_be_visible(timeout=30_000)
        expect(self.page.locator(".layer.shown, .nothing:visible").first).to_be_visible()
        if self.page.locator("dialog[open]").count():
            self.press("Enter")
            expect(self.page.locator("dialog[open]")).to_have_count(0)


@pytest.fixture
def labeling_project(sqlite_url: str, add_account: Callable[..., Actor]) -> Callable[..., int]:
    """Makes a project with the annotator anna: `labeling_project(comparisons, rubric=..., design=...)`; its id."""

    def make(
        comparisons: list[Comparison],
        *,
        rubric: Rubric = PLAIN,
        design: Design | None = None,
        others: tuple[str, ...] = (),
    ) -> int:
        actors = [add_account(name) for name in ("anna", *others)]
        store = Store.open(sqlite_url, migrate=False)
        project = store.projects.create(
            ADMIN, "support desk", rubric_text=rubric_text(rubric), design=design or Design(overlap=1, target=20)
        )
        store.comparisons.add(ADMIN, project.id, comparisons)
        for actor in actors:
            store.projects.add_member(ADMIN, project.id, actor.user_id)
        store.close()
        return project.id

    return make


@pytest.fixture
def open_desk(chromium: Browser) -> Iterator[Callable[..., Desk]]:
    """Signs in through the form and opens the labeling page: `open_desk(server, name="anna", context options)`.

    The test fails on an uncaught error in the page.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(url: str, name: str = "anna", **options: object) -> Desk:
        context = chromium.new_context(**({"viewport": {"width": 1400, "height": 860}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/sign-in")
        page.locator("input[name=name]").fill(name)  # the form is in the browser's language
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("button[type=submit], form button").first.click()  # an annotator's first page is the labeling page
        desk = Desk(page=page)
        desk.wait()
        return desk

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def new_desk(
    start_server: Callable, sqlite_url: str, labeling_project: Callable, open_desk: Callable
) -> Callable[..., Desk]:
    """A desk of anna in a project of its own: `new_desk(comparisons, rubric=..., design=..., context options)`."""

    def make(
        comparisons: list[Comparison], *, rubric: Rubric = PLAIN, design: Design | None = None, **options: object
    ) -> Desk:
        project = labeling_project(comparisons, rubric=rubric, design=design)
        return replace(open_desk(start_server(sqlite_url, "--no-worker").url, **options), project=project)

    return make


@pytest.fixture
def judgments_of(sqlite_url: str) -> Callable[[int], list[Judgment]]:
    """What the store holds, oldest first: the judgments that count."""

    def read(project_id: int) -> list[Judgment]:
        store = Store.open(sqlite_url, migrate=False)
        found = list(store.judgments.iterate(ADMIN, project_id))
        store.close()
        return sorted(found, key=lambda judgment: judgment.created_at)

    return read


@pytest.fixture
def pairs() -> Callable[[int], list[Comparison]]:
    """Comparisons c0, c1, ... whose responses say which completion they are: `pairs(10)`."""

    def make(count: int) -> list[Comparison]:
        return [
            Comparison(
                id=f"c{number}",
                prompt=(Message(role="user", content=f"Question {number}: where is my parcel?"),),
                completion_a=f"It is on its way, number {number}, completion a.",
                completion_b=f"Please send us **the order number** for {number}, completion b.",
                source_a="secret-model-one",
                source_b="secret-model-two",
                meta={"origin": "secret-origin"},
            )
            for number in range(count)
        ]

    return make


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where a test leaves pictures of what it saw."""
    folder = tmp_path / "screenshots"
    folder.mkdir()
    return folder
