"""Which projects want new priorities: enough judgments have come since a model last set them."""

from __future__ import annotations

from sqlalchemy import Connection, select

from annotate_app.protocol.collection_design import Design
from annotate_app.store.base import tables
from annotate_app.store.base.database import Database
from annotate_app.votes import COLLECTED_KINDS

KIND = "rank"
"""Of the jobs that set priorities."""
UNDER_WAY = ("queued", "running")


class Refreshes:
    """The room of due refreshes, for the worker."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self) -> list[int]:
        """Ids of the projects whose last `refresh_every` judgments all came after the last refresh was queued.

        Judgments count by when they were made; skips and answers to checks do not count. A project whose refresh waits
        or runs is not due; one whose refresh failed is again, after as many judgments more.
        """
        columns = tables.project.c
        query = select(columns.id, columns.design).where(columns.archived.is_(False)).order_by(columns.id)
        with self._database.read() as connection:
            every = {row.id: Design.from_dict(row.design).refresh_every for row in connection.execute(query)}
            return [key for key, number in every.items() if number and _is_due(connection, key, number)]


def _is_due(connection: Connection, project_id: int, every: int) -> bool:
    jobs, judgments = tables.job.c, tables.judgment.c
    mine = select(jobs.state, jobs.created_at).where(jobs.project_id == project_id, jobs.kind == KIND)
    last = connection.execute(mine.order_by(jobs.id.desc()).limit(1)).first()
    if last is not None and last.state in UNDER_WAY:
        return False
    # Read backwards from the end, so that a look takes as long as the design's number is large.
    newest = (
        select(judgments.created_at)
        .where(judgments.project_id == project_id, judgments.newest)
        .where(judgments.choice.not_in(("skip", "withdrawn")), judgments.kind.in_(COLLECTED_KINDS))
        .order_by(judgments.id.desc())
        .limit(every)
    )
    moments = connection.execute(newest).scalars().all()
    return len(moments) == every and (last is None or min(moments) > last.created_at)
