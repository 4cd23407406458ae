"""Webhooks: addresses that are told what happens in a project. What is told, and when, is in `webhook_deliveries`.

A webhook belongs to its project: its leads make it, see what it was told and end it. Addresses of the own network are
for admins to allow, since the server reaches places there that a lead's browser does not; an address that changes
loses that permission unless an admin changes it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, delete, func, select, update

from annotate_app.access import Actor, MissingError, TakenError
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.rights import checked_text, require_member
from annotate_app.store.base.settled import settled_until
from annotate_app.store.schema.door_tables import webhook, webhook_delivery

Event = Literal["judgment", "item.complete", "project.complete", "job.ended"]
EVENTS: tuple[Event, ...] = get_args(Event)
DeliveryState = Literal["waiting", "sent", "failed"]
MOST_WEBHOOKS = 20
"""Of a project."""
LONGEST_URL = 2000


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One address and what it is told.

    Attributes:
        private: whether an admin lets it reach addresses of the own network.
        num_waiting, num_failed: deliveries that are still to be made, and that were given up.
    """

    id: int
    project_id: int
    url: str
    events: tuple[Event, ...]
    active: bool
    private: bool
    created_by: str
    created_at: float
    num_waiting: int
    num_failed: int


@dataclass(frozen=True, kw_only=True)
class NewWebhook:
    """A webhook with the secret that signs what it is sent, which is told only here."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What one webhook is told once.

    Attributes:
        subject: what it is about, in a few words.
        tries: how often it was sent.
        next_at: unix time of the next try, while it waits.
        message: what the receiver answered last.
    """

    id: int
    webhook_id: int
    event: Event
    subject: str
    state: DeliveryState
    tries: int
    next_at: float
    created_at: float
    sent_at: float | None
    message: str


class Webhooks:
    """Stores webhooks, for leads and above."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, actor: Actor, project_id: int, url: str, events: Sequence[str] = EVENTS, *, private: bool = False
    ) -> NewWebhook:
        """Makes a webhook that is told what happens from now on. Lead or above; a private one is for admins.

        Raises:
            ValueError: for an address or an event that cannot be, or too many webhooks.
        """
        chosen = checked_events(events)
        address = checked_url(url, private=private)
        secret = f"whsec_{secrets.token_urlsafe(32)}"
        until = settled_until(self._database, 0)
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "making a webhook", "lead")
            if private:
                actor.require("admin", "a webhook to the own network", project_id)
            count = select(func.count()).where(webhook.c.project_id == project_id)
            if connection.execute(count).scalar_one() >= MOST_WEBHOOKS:
                raise TakenError(f"the project has {MOST_WEBHOOKS} webhooks, allowed are {MOST_WEBHOOKS}")
            webhook_id = insert_row(
                connection,
                webhook,
                project_id=project_id,
                url=address,
                secret=secret,
                events=list(chosen),
                active=True,
                private=private,
                last_judgment=until,
                created_by=actor.name,
                created_at=time.time(),
            )
            detail = {"events": list(chosen), "private": private}
            audit.record(connection, actor, "webhook make", project_id=project_id, subject=address, detail=detail)
            return NewWebhook(webhook=_read(connection, _row(connection, project_id, webhook_id)), secret=secret)

    def list(self, actor: Actor, project_id: int) -> list[Webhook]:
        """The webhooks of a project, oldest first. Lead or above."""
        query = select(webhook).where(webhook.c.project_id == project_id).order_by(webhook.c.id)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "listing webhooks", "lead")
            return [_read(connection, row) for row in connection.execute(query).all()]

    def get(self, actor: Actor, project_id: int, webhook_id: int) -> Webhook:
        """One webhook of a project. Lead or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading a webhook", "lead")
            return _read(connection, _row(connection, project_id, webhook_id))

    def change(
        self,
        actor: Actor,
        project_id: int,
        webhook_id: int,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        active: bool | None = None,
        private: bool | None = None,
    ) -> Webhook:
        """Changes what is given. Lead or above; only admins let one reach the own network.

        One that is switched off loses nothing: switched on again it is told what happened meanwhile.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "changing a webhook", "lead")
            before = _row(connection, project_id, webhook_id)
            moved = url is not None and url != before.url
            kept = before.private and (not moved or actor.role == "admin")
            now_private = kept if private is None else private
            if now_private and not before.private:
                actor.require("admin", "a webhook to the own network", project_id)
            values: dict[str, object] = {"private": now_private}
            values["url"] = checked_url(before.url if url is None else url, private=now_private)
            if events is not None:
                values["events"] = list(checked_events(events))
            if active is not None:
                values["active"] = active
            connection.execute(update(webhook).where(webhook.c.id == webhook_id).values(**values))
            audit.record(connection, actor, "webhook change", project_id=project_id, subject=before.url, detail=values)
            return _read(connection, _row(connection, project_id, webhook_id))

    def renew_secret(self, actor: Actor, project_id: int, webhook_id: int) -> str:
        """A new secret, which signs from now on, also what waits. Lead or above."""
        secret = f"whsec_{secrets.token_urlsafe(32)}"
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "changing a webhook", "lead")
            before = _row(connection, project_id, webhook_id)
            connection.execute(update(webhook).where(webhook.c.id == webhook_id).values(secret=secret))
            audit.record(connection, actor, "webhook secret", project_id=project_id, subject=before.url)
        return secret

    def remove(self, actor: Actor, project_id: int, webhook_id: int) -> None:
        """Ends a webhook with all that it was told and still waits. Lead or above."""
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "removing a webhook", "lead")
            before = _row(connection, project_id, webhook_id)
            connection.execute(delete(webhook_delivery).where(webhook_delivery.c.webhook_id == webhook_id))
            connection.execute(delete(webhook).where(webhook.c.id == webhook_id))
            audit.record(connection, actor, "webhook remove", project_id=project_id, subject=before.url)

    def deliveries(
        self, actor: Actor, project_id: int, webhook_id: int, *, before: int | None = None, limit: int = 50
    ) -> list[Delivery]:
        """What a webhook was told and is still to be told, newest first. Lead or above.

        Args:
            actor: who asks.
            project_id: of the webhook.
            webhook_id: whose deliveries.
            before: number of the last one that is known already.
            limit: how many at most.
        """
        columns = [column for column in webhook_delivery.c if column.name != "payload"]
        query = select(*columns).where(webhook_delivery.c.webhook_id == webhook_id)
        if before is not None:
            query = query.where(webhook_delivery.c.id < before)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading deliveries", "lead")
            _row(connection, project_id, webhook_id)
            rows = connection.execute(query.order_by(webhook_delivery.c.id.desc()).limit(limit)).mappings()
            return [Delivery(**row) for row in rows]

    def send_again(self, actor: Actor, project_id: int, delivery_id: int) -> None:
        """Puts a delivery that was given up, or waits for its next try, first in line. Lead or above.

        Raises:
            MissingError: if there is none, or it has arrived.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "sending a delivery again", "lead")
            mine = select(webhook.c.id).where(webhook.c.project_id == project_id)
            columns = webhook_delivery.c
            chosen = (columns.id == delivery_id, columns.webhook_id.in_(mine), columns.state != "sent")
            again = update(webhook_delivery).where(*chosen).values(state="waiting", tries=0, next_at=time.time())
            if not connection.execute(again).rowcount:
                raise MissingError(f"there is no delivery {delivery_id} in the project that has not arrived")
            audit.record(connection, actor, "webhook again", project_id=project_id, subject=str(delivery_id))


def checked_events(events: Sequence[str]) -> tuple[Event, ...]:
    """Events in their one order, each once; ValueError for an unknown one, or for none."""
    for name in events:
        if name not in EVENTS:
            raise ValueError(f"events is {name!r}, allowed are {', '.join(EVENTS)}")
    if not events:
        raise ValueError(f"events is empty, allowed are {', '.join(EVENTS)}")
    return tuple(name for name in EVENTS if name in events)


def checked_url(url: str, *, private: bool) -> str:
    """An address as it is stored; ValueError for one that is none, or that names a password."""
    url = checked_text(url.strip(), "url", LONGEST_URL)
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises for a port that is none)
    except ValueError as error:
        raise ValueError(f"url is {url[:80]!r}, allowed is https://HOST/PATH: {error}") from error
    schemes = ("https", "http") if private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or not url.isascii() or any(map(str.isspace, url)):
        hint = "" if private else "; http is for addresses of the own network, which an admin allows"
        raise ValueError(f"url is {url[:80]!r}, allowed is {' or '.join(schemes)}://HOST/PATH{hint}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url is one with a name or password in it, allowed is one without: what is sent is signed")
    return url


def _row(connection: Connection, project_id: int, webhook_id: int) -> Row:
    chosen = (webhook.c.id == webhook_id, webhook.c.project_id == project_id)
    row = connection.execute(select(webhook).where(*chosen)).first()
    if row is None:
        raise MissingError(f"there is no webhook {webhook_id} in the project")
    return row


def _read(connection: Connection, row: Row) -> Webhook:
    columns = webhook_delivery.c
    count = select(columns.state, func.count()).where(columns.webhook_id == row.id, columns.state != "sent")
    counts = {state: number for state, number in connection.execute(count.group_by(columns.state))}
    return Webhook(
        id=row.id,
        project_id=row.project_id,
        url=row.url,
        events=tuple(row.events),
        active=row.active,
        private=row.private,
        created_by=row.created_by,
        created_at=row.created_at,
        num_waiting=counts.get("waiting", 0),
        num_failed=counts.get("failed", 0),
    )
