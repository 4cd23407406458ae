"""What webhooks are told: found by looking at what is stored, laid down as deliveries, sent one after another.

Nothing is written where things happen: each webhook has a cursor in the numbers of the judgments, so that whatever came
while no worker ran is found later. Judgments and complete items are told many at a time. For the worker, which knows no
actor: it runs beside the database.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, Text, case, cast, delete, exists, func, insert, literal, select, update

from annotate_app.access import Actor, MissingError
from annotate_app.store.base.database import Database
from annotate_app.store.base.pending import JUDGMENT_SHOWN, SLOT_SHOWN_OF_MANY, SLOT_STATE
from annotate_app.store.base.rights import require_member
from annotate_app.store.base.settled import settled_until
from annotate_app.store.base.slots import JUDGED
from annotate_app.store.schema import tables
from annotate_app.store.schema.door_tables import webhook, webhook_delivery
from annotate_app.votes import COLLECTED_KINDS

ROWS_AT_ONCE = 1000
"""Judgments that one look takes in."""
ROWS_A_DELIVERY = 100
MOST_WAITING = 50
"""Deliveries that wait for one webhook; what happens beyond is found when there is room again."""
CURSOR_STEP = 10_000
"""Numbers of other projects' judgments after which a quiet webhook's cursor is moved."""
CLAIM_S = 120.0
"""How long a delivery is one worker's; longer than any try takes."""
RETRY_S = (10.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0)
"""Seconds before each further try; after the last one a delivery is given up, about eight hours after the first."""
KEPT_S = 30 * 86_400.0
"""How long deliveries that arrived are shown."""
NOT_ANSWERS = ("withdrawn", "skip")


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A delivery with all that sending it takes."""

    id: int
    webhook_id: int
    project_id: int
    project: str
    url: str
    secret: str
    private: bool
    event: str
    payload: Mapping[str, object]
    tries: int
    created_at: float


class WebhookDeliveries:
    """Lays deliveries down and keeps their state; for the worker."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> int:
        """Lays down what each active webhook is to be told; the number of new deliveries."""
        with self._database.read() as connection:
            hooks = connection.execute(select(webhook).where(webhook.c.active).order_by(webhook.c.id)).all()
        return sum(self._collect(hook) for hook in hooks)

    def _collect(self, hook: Row) -> int:
        until = settled_until(self._database, hook.last_judgment)
        with self._database.read() as connection:
            if _num_waiting(connection, hook.id) >= MOST_WAITING:
                return 0
            rows = _new_judgments(connection, hook.project_id, hook.last_judgment, until)
            cursor = rows[-1].id if len(rows) == ROWS_AT_ONCE else max(until, hook.last_judgment)
            told = [*_tell_judgments(hook, rows), *_tell_items(connection, hook, rows)]
            if len(rows) < ROWS_AT_ONCE:  # else more judgments come first
                told += _tell_project(connection, hook)
            told += _tell_jobs(connection, hook)
        if not told and not rows and cursor - hook.last_judgment < CURSOR_STEP:
            return 0
        with self._database.write() as connection:
            mine = (webhook.c.id == hook.id, webhook.c.last_judgment == hook.last_judgment)
            if not connection.execute(update(webhook).where(*mine).values(last_judgment=cursor)).rowcount:
                return 0  # another worker was faster, or the webhook has gone
            known = _known_subjects(connection, hook.id, told)
            fresh = [row for row in told if (row["event"], row["subject"]) not in known]
            if fresh:
                connection.execute(insert(webhook_delivery), fresh)
        return len(fresh)

    def due(self) -> list[int]:
        """Deliveries whose turn it is, at most one of each webhook: the oldest that waits, once its time has come."""
        columns = webhook_delivery.c
        first = (
            select(func.min(columns.id).label("id"))
            .join(webhook, webhook.c.id == columns.webhook_id)
            .where(columns.state == "waiting", webhook.c.active)
            .group_by(columns.webhook_id)
            .subquery()
        )
        query = select(columns.id).join(first, first.c.id == columns.id).where(columns.next_at <= time.time())
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(columns.next_at)).scalars())

    def claim(self, delivery_id: int) -> Parcel | None:
        """Takes a delivery to send it; None where another worker has it, or it waits no longer."""
        columns, now = webhook_delivery.c, time.time()
        mine = (columns.id == delivery_id, columns.state == "waiting", columns.next_at <= now)
        with self._database.write() as connection:
            taken = update(webhook_delivery).where(*mine).values(next_at=now + CLAIM_S, tries=columns.tries + 1)
            if not connection.execute(taken).rowcount:
                return None
            return _parcel(connection, delivery_id)

    def arrived(self, delivery_id: int, message: str) -> None:
        """Says that the receiver has taken a delivery."""
        self._end(delivery_id, state="sent", sent_at=time.time(), message=message)

    def failed(self, delivery_id: int, tries: int, message: str) -> None:
        """Says that it has not: the delivery waits for its next try, or is given up after the last."""
        if tries > len(RETRY_S):
            self._end(delivery_id, state="failed", message=message)
        else:
            self._end(delivery_id, next_at=time.time() + RETRY_S[tries - 1], message=message)

    def _end(self, delivery_id: int, **values: object) -> None:
        chosen = (webhook_delivery.c.id == delivery_id, webhook_delivery.c.state == "waiting")
        with self._database.write() as connection:
            connection.execute(update(webhook_delivery).where(*chosen).values(**values))

    def trial(self, actor: Actor, project_id: int, webhook_id: int) -> Parcel:
        """A delivery of the event `test`, which is kept nowhere. Lead or above."""
        query = select(webhook, tables.project.c.name.label("project")).join(
            tables.project, tables.project.c.id == webhook.c.project_id
        )
        chosen = (webhook.c.id == webhook_id, webhook.c.project_id == project_id)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "testing a webhook", "lead")
            row = connection.execute(query.where(*chosen)).first()
        if row is None:
            raise MissingError(f"there is no webhook {webhook_id} in the project")
        return Parcel(
            id=0,
            webhook_id=row.id,
            project_id=row.project_id,
            project=row.project,
            url=row.url,
            secret=row.secret,
            private=row.private,
            event="test",
            payload={},
            tries=1,
            created_at=time.time(),
        )

    def forget_old(self) -> int:
        """Deletes what arrived a month ago, but for what is told once and found again; the number of rows."""
        columns = webhook_delivery.c
        old = (columns.state == "sent", columns.sent_at < time.time() - KEPT_S)
        by_cursor = columns.event.in_(("judgment", "item.complete"))
        with self._database.write() as connection:
            return connection.execute(delete(webhook_delivery).where(*old, by_cursor)).rowcount


def _parcel(connection: Connection, delivery_id: int) -> Parcel:
    columns = webhook_delivery.c
    query = (
        select(
            *(columns.id, columns.webhook_id, columns.event, columns.payload, columns.tries, columns.created_at),
            *(webhook.c.project_id, webhook.c.url, webhook.c.secret, webhook.c.private),
            tables.project.c.name.label("project"),
        )
        .join(webhook, webhook.c.id == columns.webhook_id)
        .join(tables.project, tables.project.c.id == webhook.c.project_id)
        .where(columns.id == delivery_id)
    )
    return Parcel(**connection.execute(query).mappings().one())


def _num_waiting(connection: Connection, webhook_id: int) -> int:
    columns = webhook_delivery.c
    waiting = select(func.count()).where(columns.webhook_id == webhook_id, columns.state == "waiting")
    return connection.execute(waiting).scalar_one()


def _new_judgments(connection: Connection, project_id: int, after: int, until: int) -> Sequence[Row]:
    """Rows behind a cursor, with the choice that the same person's earlier row of the comparison had, if any."""
    columns, earlier = tables.judgment.c, tables.judgment.alias("earlier")
    before = (
        select(earlier.c.choice)
        .where(
            earlier.c.comparison_id == columns.comparison_id,
            earlier.c.user_id == columns.user_id,
            earlier.c.kind == columns.kind,
            earlier.c.id < columns.id,
        )
        .order_by(earlier.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(columns.id, columns.comparison_id, columns.choice, columns.strength, columns.kind, columns.created_at)
        .add_columns(tables.comparison.c.key, before.label("choice_before"))
        .join(tables.comparison, tables.comparison.c.id == columns.comparison_id)
        .where(columns.project_id == project_id, columns.id > after, columns.id <= until, JUDGMENT_SHOWN)
        .order_by(columns.id)
        .limit(ROWS_AT_ONCE)
    )
    return connection.execute(query).all()


def _laid_down(hook: Row, event: str, subject: str, payload: Mapping[str, object]) -> list[dict[str, object]]:
    if event not in hook.events:
        return []
    now = time.time()
    row = {"webhook_id": hook.id, "event": event, "subject": subject[:200], "payload": dict(payload)}
    return [row | {"state": "waiting", "tries": 0, "next_at": now, "created_at": now, "message": ""}]


def _tell_judgments(hook: Row, rows: Sequence[Row]) -> list[dict[str, object]]:
    told = []
    for start in range(0, len(rows), ROWS_A_DELIVERY):
        part = rows[start : start + ROWS_A_DELIVERY]
        judgments = [
            {
                "id": row.id,
                "comparison_id": row.key,
                "choice": row.choice,
                "strength": row.strength,
                "kind": row.kind,
                "created_at": row.created_at,
            }
            for row in part
        ]
        told += _laid_down(hook, "judgment", f"{part[0].id} to {part[-1].id}", {"judgments": judgments})
    return told


def _tell_items(connection: Connection, hook: Row, rows: Sequence[Row]) -> list[dict[str, object]]:
    """Items that have all the judgments they want, and got one of these rows that is no mere edit."""
    answered = {
        row.comparison_id: row
        for row in rows
        if row.kind in COLLECTED_KINDS and row.choice not in NOT_ANSWERS and row.choice_before in (None, *NOT_ANSWERS)
    }
    if not answered or "item.complete" not in hook.events:
        return []
    slot = tables.slot.c
    query = (
        select(slot.comparison_id)
        .where(slot.comparison_id.in_(answered), slot.kind == "work", SLOT_SHOWN_OF_MANY)
        .group_by(slot.comparison_id)
        .having(func.sum(case((SLOT_STATE == JUDGED, 0), else_=1)) == 0)
    )
    complete = set(connection.execute(query).scalars())
    items = [row for comparison_id, row in answered.items() if comparison_id in complete]
    told = []
    for start in range(0, len(items), ROWS_A_DELIVERY):
        part = items[start : start + ROWS_A_DELIVERY]
        subject = f"{part[0].id} to {part[-1].id}"
        told += _laid_down(hook, "item.complete", subject, {"comparison_ids": [row.key for row in part]})
    return told


def _tell_project(connection: Connection, hook: Row) -> list[dict[str, object]]:
    """The project, where nothing is left to judge; again where that is so with more judgments."""
    slot = tables.slot.c
    work = (slot.project_id == hook.project_id, slot.kind == "work", SLOT_SHOWN_OF_MANY)
    if "project.complete" not in hook.events:
        return []
    if connection.execute(select(exists(select(slot.id).where(*work, SLOT_STATE != JUDGED)))).scalar():
        return []
    num_judged = connection.execute(select(func.count()).select_from(tables.slot).where(*work)).scalar_one()
    told = _laid_down(hook, "project.complete", f"{num_judged} judgments", {"num_judged": num_judged})
    return told if num_judged and not _known_subjects(connection, hook.id, told) else []


def _tell_jobs(connection: Connection, hook: Row) -> list[dict[str, object]]:
    """Jobs of the project that ended since the webhook was made and were not told."""
    if "job.ended" not in hook.events:
        return []
    job, known = tables.job.c, webhook_delivery.c
    subject = literal("job ").concat(cast(job.id, Text))
    already = exists(
        select(known.id).where(known.webhook_id == hook.id, known.event == "job.ended", known.subject == subject)
    )
    query = select(job.id, job.kind, job.title, job.state, job.ended_at).where(
        job.project_id == hook.project_id, job.ended_at.is_not(None), job.ended_at >= hook.created_at, ~already
    )
    told = []
    for row in connection.execute(query.order_by(job.ended_at, job.id).limit(ROWS_A_DELIVERY)).mappings():
        told += _laid_down(hook, "job.ended", f"job {row['id']}", {"job": dict(row)})
    return told


def _known_subjects(
    connection: Connection, webhook_id: int, told: Sequence[Mapping[str, object]]
) -> set[tuple[str, str]]:
    columns = webhook_delivery.c
    subjects = [row["subject"] for row in told]
    query = select(columns.event, columns.subject).where(
        columns.webhook_id == webhook_id, columns.subject.in_(subjects)
    )
    return {(row.event, row.subject) for row in connection.execute(query)}
