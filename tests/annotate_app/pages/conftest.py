"""Pages under AppTest: the demo project beside an empty one, and somebody of every role to open them as."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.demo import create_demo
from annotate_app.pages.kit import context
from annotate_app.pages.projects import OWN_RUBRIC
from annotate_app.protocol.collection_design import Design
from annotate_app.server.sessions import open_sessions, open_store
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
EMPTY = "Empty project"
ROLES = {"lea": "lead", "addy": "adjudicator", "anna": "annotator"}


@pytest.fixture(scope="session")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the demo project, an empty project, and a member of both of every role."""
    path = tmp_path_factory.mktemp("pages") / "demo.db"
    store = Store.open(f"sqlite:///{path}")
    demo = create_demo(store, now=1_700_000_000.0)
    empty = store.projects.create(ADMIN, EMPTY, rubric_text=OWN_RUBRIC, design=Design())
    for name, role in ROLES.items():
        user = store.people.add(ADMIN, name, role=role)  # type: ignore[arg-type]
        for project in (demo, empty):
            store.projects.add_member(ADMIN, project.id, user.id)
    store.close()
    return path


@pytest.fixture
def pages_store(demo_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store that pages open in this test: a copy of `demo_file`."""
    path = tmp_path / "pages.db"
    shutil.copy(demo_file, path)
    url = f"sqlite:///{path}"
    monkeypatch.setenv("TIEBREAK_DB", url)
    yield open_store(url)
    open_store(url).close()


@pytest.fixture
def open_page(pages_store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Opens a page as somebody: `open_page("agreement", "lea", project=EMPTY)`; a page that fails fails the test."""

    def open_as(
        module: str, name: str = "lea", *, project: str = DEMO, query: Mapping[str, str] | None = None, **state: object
    ) -> AppTest:
        token = open_sessions(pages_store.database.url).start(name)
        monkeypatch.setattr(context, "session_token", lambda: token)
        test = AppTest.from_string(f"from annotate_app.pages import {module}\n{module}.page()", default_timeout=30)
        test.session_state["project"] = project
        for key, value in (query or {}).items():
            test.query_params[key] = value
        for key, value in state.items():
            test.session_state[key] = value
        test.run()
        assert not test.exception, test.exception
        return test

    return open_as
