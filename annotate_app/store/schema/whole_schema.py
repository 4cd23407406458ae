"""The whole schema: `metadata` holds the tables of every file of this folder."""

from __future__ import annotations

from annotate_app.store.schema import desk_tables, door_tables, loop_tables
from annotate_app.store.schema.tables import metadata

__all__ = ["desk_tables", "door_tables", "loop_tables", "metadata"]
