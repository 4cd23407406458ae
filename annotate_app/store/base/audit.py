"""The audit log: who changed what, when. Triggers in the database refuse to change or delete a row of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select

from annotate_app.access import Actor
from annotate_app.store.base.database import Database
from annotate_app.store.base.rights import require_member
from annotate_app.store.schema import tables


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One line of the log; `at` is unix time in seconds."""

    id: int
    at: float
    actor: str
    action: str
    project_id: int | None
    subject: str
    detail: Mapping[str, object] = field(default_factory=dict)


def record(
    connection: Connection,
    actor: Actor,
    action: str,
    *,
    project_id: int | None = None,
    subject: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Appends a line in the transaction of the change, so that neither is stored without the other.

    Who acts by an API token is named with it.
    """
    by_token = {"token": actor.token} if actor.token else {}
    connection.execute(
        insert(tables.audit).values(
            at=time.time(),
            actor=actor.name,
            action=action,
            project_id=project_id,
            subject=subject[:200],
            detail={**(detail or {}), **by_token},
        )
    )


class Audit:
    """Reads the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self, actor: Actor, project_id: int | None = None, *, limit: int = 100, offset: int = 0
    ) -> list[AuditEntry]:
        """The newest lines first: of one project for its leads, of everything for admins."""
        columns = tables.audit.c
        query = select(tables.audit).order_by(columns.id.desc()).limit(limit).offset(offset)
        with self._database.read() as connection:
            if project_id is None:
                actor.require("admin", "reading the whole audit log")
            else:
                require_member(connection, actor, project_id, "reading the audit log", "lead")
                query = query.where(columns.project_id == project_id)
            return [AuditEntry(**row) for row in connection.execute(query).mappings()]
