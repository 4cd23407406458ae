"""Images that a project's texts name, each once by the hash of its bytes.

Whoever may see the texts of a project may see its images; who puts them there checks them first
(`annotate_app.images.checking`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from sqlalchemy import insert, select

from annotate_app.access import Actor
from annotate_app.images.checking import CheckedImage
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, read_pairs
from annotate_app.store.base.rights import require_member
from annotate_app.store.schema.desk_tables import image


class Images:
    """Images of projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, actor: Actor, project_id: int, images: Iterable[CheckedImage]) -> int:
        """Adds images that the project lacks; the number of those. Lead or above."""
        num_added = 0
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "adding images", "lead")
            hashes = select(image.c.content_hash).where(image.c.project_id == project_id)
            known = set(connection.execute(hashes).scalars())
            for one in images:
                if one.content_hash in known:
                    continue
                known.add(one.content_hash)
                connection.execute(
                    insert(image).values(
                        project_id=project_id,
                        content_hash=one.content_hash,
                        name=one.name,
                        media_type=one.media_type,
                        width=one.width,
                        height=one.height,
                        data=one.data,
                        created_at=time.time(),
                    )
                )
                num_added += 1
            if num_added:
                audit.record(connection, actor, "images.add", project_id=project_id, detail={"num_added": num_added})
        return num_added

    def get(self, actor: Actor, project_id: int, content_hash: str) -> CheckedImage | None:
        """An image; None where the project has none of this hash. Members of the project."""
        query = select(image).where(image.c.project_id == project_id, image.c.content_hash == content_hash)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "looking at an image")
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        return CheckedImage(
            data=bytes(row["data"]),
            name=row["name"],
            content_hash=row["content_hash"],
            media_type=row["media_type"],
            width=row["width"],
            height=row["height"],
        )

    def hashes(self, actor: Actor, project_id: int) -> set[str]:
        """Which images a project has. Lead or above."""
        query = select(image.c.content_hash).where(image.c.project_id == project_id)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading images", "lead")
            return set(connection.execute(query).scalars())

    def types(self, actor: Actor, project_id: int) -> dict[str, str]:
        """The media type of every image of a project, by its hash. Lead or above."""
        query = select(image.c.content_hash, image.c.media_type).where(image.c.project_id == project_id)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading images", "lead")
            return read_pairs(connection, query)

    def iterate(self, actor: Actor, project_id: int) -> Iterator[CheckedImage]:
        """All images of a project by hash, one in memory at a time. Lead or above."""
        for content_hash in sorted(self.hashes(actor, project_id)):
            one = self.get(actor, project_id, content_hash)
            if one is not None:
                yield one
