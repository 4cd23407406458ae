"""Versions of a project's rubric; who may ask is checked by `projects`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from annotate_app.access import Actor
from annotate_app.protocol import rubric as rubric_language
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.base import tables
from annotate_app.store.base.rights import checked_content


@dataclass(frozen=True, kw_only=True)
class RubricVersion:
    """One version of a project's rubric: its YAML and what it says; `created_by` is a name."""

    version: int
    text: str
    rubric: Rubric
    created_at: float
    created_by: str


def insert_rubric(connection: Connection, actor: Actor, project_id: int, version: int, text: str) -> None:
    """Appends a version; its text has been parsed before."""
    checked_content(text, "rubric")
    connection.execute(
        insert(tables.rubric).values(
            project_id=project_id, version=version, text=text, created_by=actor.user_id, created_at=time.time()
        )
    )


def read_rubrics(connection: Connection, project_id: int, version: int | None = None) -> list[RubricVersion]:
    """The versions of a project's rubric, oldest first; only one where it is named."""
    columns = tables.rubric.c
    query = (
        select(columns.version, columns.text, columns.created_at, tables.user.c.name)
        .outerjoin(tables.user, tables.user.c.id == columns.created_by)
        .where(columns.project_id == project_id)
        .order_by(columns.version)
    )
    if version is not None:
        query = query.where(columns.version == version)
    return [
        RubricVersion(
            version=row.version,
            text=row.text,
            rubric=rubric_language.parse_rubric(row.text, f"rubric version {row.version}"),
            created_at=row.created_at,
            created_by=row.name or "command line",
        )
        for row in connection.execute(query)
    ]


def newest_version(connection: Connection, project_id: int) -> tuple[int, str]:
    """The number and the text of the newest version."""
    columns = tables.rubric.c
    query = select(columns.version, columns.text).where(columns.project_id == project_id)
    row = connection.execute(query.order_by(columns.version.desc()).limit(1)).one()
    return row.version, row.text
