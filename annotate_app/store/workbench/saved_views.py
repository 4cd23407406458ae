"""Views that leads keep under a name, for everybody who leads the project: a filter by its address."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from annotate_app.access import Actor
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.rights import checked_text, require_member
from annotate_app.store.schema.desk_tables import saved_view
from annotate_app.store.workbench.comparison_filter import ComparisonFilter, from_address, to_address

LONGEST_NAME = 120


@dataclass(frozen=True, kw_only=True)
class SavedView:
    """A filter under a name. `address` is as `comparison_filter.from_address` reads it."""

    id: int
    name: str
    address: Mapping[str, list[str]]
    created_by: str
    created_at: float

    def chosen(self) -> ComparisonFilter:
        """The filter."""
        return from_address(self.address)


class SavedViews:
    """Keeps, lists, renames and deletes views. For leads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, actor: Actor, project_id: int) -> list[SavedView]:
        """The views of a project by name. Lead or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading saved views", "lead")
            query = select(saved_view).where(saved_view.c.project_id == project_id).order_by(saved_view.c.name)
            return [
                SavedView(
                    id=row.id,
                    name=row.name,
                    address=row.filter,
                    created_by=row.created_by,
                    created_at=row.created_at,
                )
                for row in connection.execute(query)
            ]

    def save(self, actor: Actor, project_id: int, name: str, chosen: ComparisonFilter) -> int:
        """Keeps a view under a name; one of that name becomes this one. Returns its id. Lead or above."""
        name = checked_text(name.strip(), "name of the view", LONGEST_NAME)
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "saving a view", "lead")
            there = _named(connection, project_id, name)
            address = to_address(chosen)
            if there is not None:
                connection.execute(update(saved_view).where(saved_view.c.id == there).values(filter=address))
                view_id = there
            else:
                view_id = insert_row(
                    connection,
                    saved_view,
                    project_id=project_id,
                    name=name,
                    filter=address,
                    created_by=actor.name,
                    created_at=time.time(),
                )
            audit.record(connection, actor, "view saved", project_id=project_id, subject=name)
            return view_id

    def rename(self, actor: Actor, project_id: int, view_id: int, name: str) -> None:
        """Gives a view another name. Lead or above.

        Raises:
            ValueError: if there is no such view, or another one has the name.
        """
        name = checked_text(name.strip(), "name of the view", LONGEST_NAME)
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "renaming a view", "lead")
            if _named(connection, project_id, name) not in (None, view_id):
                raise ValueError(f"there is a view {name!r} already")
            change = update(saved_view).where(saved_view.c.id == view_id, saved_view.c.project_id == project_id)
            if not connection.execute(change.values(name=name)).rowcount:
                raise ValueError(f"there is no view {view_id} in the project")
            audit.record(connection, actor, "view renamed", project_id=project_id, subject=name)

    def delete(self, actor: Actor, project_id: int, view_id: int) -> None:
        """Deletes a view, never what it shows. Lead or above."""
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "deleting a view", "lead")
            mine = (saved_view.c.id == view_id, saved_view.c.project_id == project_id)
            name = connection.execute(select(saved_view.c.name).where(*mine)).scalar()
            if name is None:
                raise ValueError(f"there is no view {view_id} in the project")
            connection.execute(delete(saved_view).where(*mine))
            audit.record(connection, actor, "view deleted", project_id=project_id, subject=name)


def _named(connection: Connection, project_id: int, name: str) -> int | None:
    query = select(saved_view.c.id).where(saved_view.c.project_id == project_id, saved_view.c.name == name)
    return connection.execute(query).scalar()
