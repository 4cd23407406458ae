"""What people say of a run: its name, a note, tags, and whether it is out of the way.

A run is its run directory, whatever jobs worked on it; the row is made by the first word that is said of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from annotate_app.access import Actor
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database
from annotate_app.store.base.rights import checked_content, checked_text, lock_design, require_member
from annotate_app.store.schema import loop_tables, tables

LONGEST_NAME = 120
LONGEST_NOTE = 20_000
LONGEST_TAG = 40
MOST_TAGS = 20
_TAG = re.compile(r"[^\s,][^,\n\r\t]*")


@dataclass(frozen=True, kw_only=True)
class RunNote:
    """What people say of a run.

    Attributes:
        name: in place of the title that its plan makes; empty for that.
        note: Markdown.
        tags: sorted, each once.
        archived: left out of lists until asked for.
    """

    run_dir: str
    name: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    archived: bool = False


class RunNotes:
    """Keeps what is said of runs; leads and above."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, actor: Actor, project_id: int) -> dict[str, RunNote]:
        """What is said of the runs of a project, by run directory; of which nothing is said are not there."""
        columns = loop_tables.run_note.c
        query = select(columns.run_dir, columns.name, columns.note, columns.tags, columns.archived)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading notes of runs", "lead")
            rows = connection.execute(query.where(columns.project_id == project_id)).mappings()
            return {row["run_dir"]: _note(row) for row in rows}

    def change(
        self,
        actor: Actor,
        project_id: int,
        run_dir: str,
        *,
        name: str | None = None,
        note: str | None = None,
        tags: Sequence[str] | None = None,
        archived: bool | None = None,
    ) -> RunNote:
        """Says something of a run; None leaves what was said. Lead or above.

        Args:
            run_dir: as the run's jobs have it.

        Raises:
            ValueError: if the project has no such run, or a text is too long or cannot be stored.
        """
        values = _checked(name, note, tags, archived)
        columns = loop_tables.run_note.c
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "saying something of a run", "lead")
            lock_design(connection, project_id)  # two first words at once would make two rows
            job = tables.job.c
            mine = select(job.id).where(job.project_id == project_id, job.run_dir == run_dir)
            job_id = connection.execute(mine.order_by(job.id.desc()).limit(1)).scalar()
            if job_id is None:
                raise ValueError(f"there is no run in {run_dir!r} in the project")
            note_columns = select(columns.name, columns.note, columns.tags, columns.archived)
            row = connection.execute(note_columns.where(columns.run_dir == run_dir)).mappings().first()
            old: dict[str, Any] = dict(row) if row else {"name": "", "note": "", "tags": [], "archived": False}
            changed = {field: value for field, value in values.items() if value != old[field]}
            if row is None:
                row_values = {"project_id": project_id, "run_dir": run_dir, **old, **changed}
                connection.execute(insert(loop_tables.run_note).values(**row_values))
            elif changed:
                connection.execute(update(loop_tables.run_note).where(columns.run_dir == run_dir).values(**changed))
            if changed:
                detail = {field: value for field, value in changed.items() if field != "note"}
                detail |= {"note": len(str(changed["note"]))} if "note" in changed else {}  # its characters
                audit.record(
                    connection, actor, "run note", project_id=project_id, subject=f"run {job_id}", detail=detail
                )
        return _note({"run_dir": run_dir, **old, **changed})


def _note(row: Mapping[Any, Any]) -> RunNote:
    return RunNote(
        run_dir=row["run_dir"],
        name=row["name"],
        note=row["note"],
        tags=tuple(row["tags"]),
        archived=bool(row["archived"]),
    )


def checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags as they are stored: trimmed, sorted, each once.

    Raises:
        ValueError: if there are too many, or one is empty, too long or holds a comma or a line break.
    """
    stripped = sorted({tag.strip() for tag in tags})
    for tag in stripped:
        checked_content(tag, "tag")
        if len(tag) > LONGEST_TAG or not _TAG.fullmatch(tag):
            raise ValueError(f"tag is {tag[:60]!r}, allowed are 1 to {LONGEST_TAG} characters without comma")
    if len(stripped) > MOST_TAGS:
        raise ValueError(f"{len(stripped)} tags, allowed are {MOST_TAGS}")
    return tuple(stripped)


def _checked(name: str | None, note: str | None, tags: Sequence[str] | None, archived: bool | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = checked_text(" ".join(name.split()), "name of the run", LONGEST_NAME, empty=True)
    if note is not None:
        values["note"] = checked_text(note.strip(), "note of the run", LONGEST_NOTE, empty=True)
    if tags is not None:
        values["tags"] = list(checked_tags(tags))
    if archived is not None:
        values["archived"] = archived
    return values
