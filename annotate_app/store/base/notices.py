"""Notices to the leads of a project: an annotator was paused, a qualification failed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from annotate_app.access import Actor
from annotate_app.store.base.database import Database
from annotate_app.store.base.rights import require_member
from annotate_app.store.schema import tables


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One notice; `read_at` is None until a lead has marked it read."""

    id: int
    project_id: int
    text: str
    created_at: float
    read_at: float | None


def add(connection: Connection, project_id: int, text: str) -> None:
    """Leaves a notice inside the transaction of what it tells of."""
    connection.execute(insert(tables.notice).values(project_id=project_id, text=text, created_at=time.time()))


class Notices:
    """Lists notices and marks them read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, actor: Actor, project_id: int, unread_only: bool = False) -> list[Notice]:
        """The project's notices, newest first. Lead or above."""
        query = select(tables.notice).where(tables.notice.c.project_id == project_id)
        if unread_only:
            query = query.where(tables.notice.c.read_at.is_(None))
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading notices", "lead")
            rows = connection.execute(query.order_by(tables.notice.c.id.desc())).mappings()
            return [Notice(**row) for row in rows]

    def mark_read(self, actor: Actor, notice_id: int) -> None:
        """Marks one notice read; again does nothing. Lead or above."""
        actor.require("lead", "marking a notice read")
        chosen = tables.notice.c.id == notice_id
        with self._database.write() as connection:
            project_id = connection.execute(select(tables.notice.c.project_id).where(chosen)).scalar()
            if project_id is None:
                raise ValueError(f"there is no notice {notice_id}")
            require_member(connection, actor, project_id, "marking a notice read", "lead")
            connection.execute(
                update(tables.notice).where(chosen, tables.notice.c.read_at.is_(None)).values(read_at=time.time())
            )
