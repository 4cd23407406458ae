"""Who has read the guidelines: acknowledged by each person for each version of the rubric, on whatever computer."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from annotate_app.access import AccessError, Actor
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database
from annotate_app.store.base.rights import require_member
from annotate_app.store.projects.projects import newest_version
from annotate_app.store.schema import tables
from annotate_app.store.schema.desk_tables import guideline_reading


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How far a member has read the guidelines.

    Attributes:
        version: the newest version that the member has acknowledged, None for none.
        read_at: when that was, in unix seconds.
    """

    user_id: int
    name: str
    version: int | None
    read_at: float | None


class Readings:
    """Stores acknowledgements of guidelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acknowledge(self, actor: Actor, project_id: int, version: int) -> bool:
        """Notes that the actor has read the guidelines of a version; True if that was noted before.

        Raises:
            ValueError: if the project has no such version.
            AccessError: unless the actor is a member with an account.
        """
        if actor.user_id is None:
            raise AccessError("reading guidelines: the command line has no work of its own")
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "reading guidelines")
            newest, _ = newest_version(connection, project_id)
            if not 1 <= version <= newest:
                raise ValueError(f"version is {version}, allowed is 1 to {newest}")
            insert = insert_sqlite if connection.dialect.name == "sqlite" else insert_postgresql
            values = {"project_id": project_id, "user_id": actor.user_id, "version": version}
            row = insert(guideline_reading).values(**values, read_at=time.time()).on_conflict_do_nothing()
            is_new = connection.execute(row.returning(guideline_reading.c.version)).first() is not None
            if is_new:
                detail = {"version": version}
                audit.record(connection, actor, "guidelines read", project_id=project_id, detail=detail)
        return not is_new

    def newest(self, actor: Actor, project_id: int) -> int:
        """The newest version that the actor has acknowledged, 0 for none."""
        columns = guideline_reading.c
        query = select(func.max(columns.version)).where(
            columns.project_id == project_id, columns.user_id == actor.user_id
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading guidelines")
            return connection.execute(query).scalar() or 0

    def list(self, actor: Actor, project_id: int) -> list[Reading]:
        """What each member who may sign in has read, those who have read least first. Lead or above."""
        read, user, member = guideline_reading.c, tables.user.c, tables.membership.c
        query = (
            select(user.id.label("user_id"), user.name, read.version, read.read_at)
            .select_from(tables.membership)
            .join(tables.user, user.id == member.user_id)
            .outerjoin(
                guideline_reading,
                (read.project_id == member.project_id)
                & (read.user_id == member.user_id)
                & (
                    read.version
                    == select(func.max(_other.version))
                    .where(_other.project_id == member.project_id, _other.user_id == member.user_id)
                    .correlate(tables.membership)
                    .scalar_subquery()
                ),
            )
            .where(member.project_id == project_id, user.active, user.origin.not_in(("simulated", "imported")))
            .order_by(func.coalesce(read.version, 0), user.name)
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading who read the guidelines", "lead")
            return [Reading(**row) for row in connection.execute(query).mappings()]


_other = guideline_reading.alias().c
