"""Fixtures for the API: a real server with a project, and clients that hold tokens of every role."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from annotate_app.access import Actor, UserRole
from annotate_app.api.application import build_api
from annotate_app.api.gate import Gate
from annotate_app.client import Client
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import Submission
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
RUBRIC = "title: Which helps?\nguidelines: Read both.\nscale:\n  steps: 7\n"
PEOPLE: dict[str, UserRole] = {"anna": "annotator", "addy": "adjudicator", "lea": "lead", "ada": "admin"}


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server of the API alone, its store, and a project with the people of `PEOPLE`."""

    url: str
    store: Store
    project: Project
    gate: Gate
    opened: ExitStack

    def actor(self, name: str) -> Actor:
        """Somebody, signed in."""
        user = self.store.people.by_name(ADMIN, name)
        assert user is not None
        return self.store.people.actor_of(user)

    def token(self, name: str, **options: Any) -> str:
        """A new token of somebody, of their own role where none is named."""
        actor = self.actor(name)
        return self.store.api_tokens.create(actor, "test", **({"role": actor.role} | options)).secret

    def client(self, name: str, **options: Any) -> Client:
        """A client that holds a new token of somebody."""
        return self.open(self.token(name, **options))

    def open(self, secret: str, **options: Any) -> Client:
        """A client that holds a token, closed with the server."""
        return self.opened.enter_context(Client(self.url, secret, timeout_s=30, **options))

    def judge(self, name: str, choice: str = "a", **fields: Any) -> str:
        """Judges the next pair of somebody; the comparison's id."""
        work, actor = self.store.work, self.actor(name)
        (lease, *_) = work.lease(actor, self.project.id, count=1)
        values: dict[str, Any] = {"strength": int(choice in ("a", "b"))} | fields
        judgment = Judgment(comparison_id=lease.comparison.id, annotator=name, choice=choice, **values)  # type: ignore[arg-type]
        submission = Submission(token=lease.token, event_id=uuid.uuid4().hex, judgment=judgment)
        work.submit(actor, self.project.id, submission, lease_count=1)
        return lease.comparison.id


def pairs(count: int, prefix: str = "c") -> list[Comparison]:
    return [
        Comparison(
            id=f"{prefix}{number}",
            prompt=(Message(role="user", content=f"Question {number}?"),),
            completion_a=f"First answer {number}.",
            completion_b=f"Second answer {number}.",
            source_a="model one",
            source_b="model two",
        )
        for number in range(count)
    ]


@contextmanager
def served_by(app: ASGIApp) -> Iterator[str]:
    """Serves an application on a free port of this machine, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def serve(store: Store, *, num_pairs: int = 4, overlap: int = 1) -> Iterator[Served]:
    project = store.projects.create(ADMIN, "desk", rubric_text=RUBRIC, design=Design(overlap=overlap))
    store.comparisons.add(ADMIN, project.id, pairs(num_pairs))
    for name, role in PEOPLE.items():
        user = store.people.add(ADMIN, name, role=role)
        store.projects.add_member(ADMIN, project.id, user.id)
    gate = Gate(store, build_api)
    with served_by(gate) as url, ExitStack() as opened:
        yield Served(url=url, store=store, project=project, gate=gate, opened=opened)


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    """A server on SQLite, and one on PostgreSQL."""
    with serve(store) as served:
        yield served


@pytest.fixture
def served_sqlite(sqlite_store: Store) -> Iterator[Served]:
    with serve(sqlite_store) as served:
        yield served
