"""What tests of work share: answering a lease, running out the clock, counting what the database holds."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from annotate_app.access import Actor
from annotate_app.protocol.leases import Lease, Receipt, Submission
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment


@pytest.fixture
def answer() -> Callable[..., Receipt]:
    """Answers a lease: `answer(store, actor, project, lease, "b")`; a choice of a or b has strength 1."""

    def answer(
        store: Store, actor: Actor, project: Project, lease: Lease | str, choice: str = "a", **fields
    ) -> Receipt:
        lease_count = fields.pop("lease_count", 2)
        token, comparison_id = (lease, "") if isinstance(lease, str) else (lease.token, lease.comparison.id)
        event_id = fields.pop("event_id", uuid.uuid4().hex)
        values = {"strength": int(choice in ("a", "b")), "reason": "other" if choice == "skip" else ""}
        judgment = Judgment(comparison_id=comparison_id, annotator=actor.name, choice=choice, **(values | fields))  # type: ignore[arg-type]
        submission = Submission(token=token, event_id=event_id, judgment=judgment)
        return store.work.submit(actor, project.id, submission, lease_count=lease_count)

    return answer


@pytest.fixture
def work_through(answer) -> Callable[..., list[str]]:
    """Judges until there is nothing left, or `limit` pairs, and leaves; the comparison ids in that order."""

    def work_through(store: Store, actor: Actor, project: Project, limit: int = 10_000, choice: str = "a") -> list[str]:
        done: list[str] = []
        leases = store.work.lease(actor, project.id, count=1)
        while leases and len(done) < limit:
            done.append(leases[0].comparison.id)
            leases = answer(store, actor, project, leases[0], choice, lease_count=1).leases
        store.work.release(actor, project.id)
        return done

    return work_through


@pytest.fixture
def run_out() -> Callable[[Store], None]:
    """Lets all leases run out."""

    def run_out(store: Store) -> None:
        with store.database.write() as connection:
            connection.execute(update(tables.slot).where(tables.slot.c.state == 1).values(leased_until=1.0))

    return run_out


@pytest.fixture
def counted() -> Callable[[Store], Counter[str]]:
    """By comparison id, the number of work judgments that count, skips left out."""

    def counted(store: Store) -> Counter[str]:
        query = (
            select(tables.comparison.c.key)
            .join(tables.judgment, tables.judgment.c.comparison_id == tables.comparison.c.id)
            .where(
                tables.judgment.c.newest,
                tables.judgment.c.kind == "work",
                tables.judgment.c.choice.not_in(("skip", "withdrawn")),
            )
        )
        with store.database.read() as connection:
            return Counter(connection.execute(query).scalars())

    return counted
