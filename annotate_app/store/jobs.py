"""Jobs: commands that wait, run as processes of a worker, and end; the table is how pages and worker meet.

`Jobs` queues, lists, claims and ends them. `Refreshes` tells the worker which jobs are due though nobody asked: new
priorities for projects in which enough judgments have come since a model last set them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, Select, func, select, update

from annotate_app.access import Actor, MissingError, TakenError
from annotate_app.protocol.collection_design import Design
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.rights import checked_text, lock_design, require_member
from annotate_app.store.schema import tables
from annotate_app.votes import COLLECTED_KINDS

JobState = Literal["queued", "running", "done", "failed", "cancelled", "lost"]
ENDED: tuple[JobState, ...] = ("done", "failed", "cancelled", "lost")
UNDER_WAY: tuple[JobState, ...] = ("queued", "running")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One command.

    Attributes:
        command: the arguments after `python -m`.
        run_dir: where it writes its record.
        process: what identifies its processes while it runs (pids, their start times, the group).
        cancel: whether somebody asked to stop it.
        message: how it ended, in a line.
    """

    id: int
    project_id: int | None
    kind: str
    title: str
    command: list[str]
    run_dir: str
    state: JobState
    created_by: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    heartbeat_at: float | None
    process: Mapping[str, object] | None
    cancel: bool
    message: str


class Jobs:
    """Stores jobs: `add`, `list`, `get`, `cancel` for people; `claim`, `heartbeat`, `finish` for the worker."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        actor: Actor,
        kind: str,
        title: str,
        command: Sequence[str],
        project_id: int | None = None,
        *,
        run_dir: str = "",
        alone: bool = False,
    ) -> Job:
        """Queues a command: for a project by its leads, without one by admins.

        Raises:
            ValueError: if it has to be `alone`, and a job of its kind waits or runs in the project already.
        """
        checked_text(kind, "job kind", 32)
        checked_text(title, "job title", 200)
        with self._database.write() as connection:
            if project_id is None:
                actor.require("admin", "starting a job")
            else:
                require_member(connection, actor, project_id, "starting a job", "lead")
                lock_design(connection, project_id)
            if alone and connection.execute(_under_way(kind, project_id)).first() is not None:
                raise TakenError(f"a job of the kind {kind} waits or runs already")
            job_id = insert_row(
                connection,
                tables.job,
                project_id=project_id,
                kind=kind,
                title=title,
                command=list(command),
                run_dir=run_dir,
                state="queued",
                created_by=actor.name,
                created_at=time.time(),
            )
            audit.record(connection, actor, "job add", project_id=project_id, subject=title, detail={"kind": kind})
            chosen = tables.job.c.id == job_id
            return Job(**connection.execute(select(tables.job).where(chosen)).mappings().one())

    def get(self, actor: Actor, job_id: int) -> Job:
        """One job, under the rights of `add`."""
        with self._database.read() as connection:
            row = connection.execute(select(tables.job).where(tables.job.c.id == job_id)).mappings().first()
            if row is None or row["project_id"] is None:
                actor.require("admin", "reading a job")
            else:
                require_member(connection, actor, row["project_id"], "reading a job", "lead")
        if row is None:
            raise MissingError(f"there is no job {job_id}")
        return Job(**row)

    def cancel(self, actor: Actor, job_id: int) -> None:
        """Stops a job: at once where it waits, by the worker's signal where it runs. Does nothing to one that ended."""
        job = self.get(actor, job_id)
        chosen = tables.job.c.id == job_id
        with self._database.write() as connection:
            waiting = update(tables.job).where(chosen, tables.job.c.state == "queued")
            connection.execute(waiting.values(state="cancelled", ended_at=time.time(), cancel=True))
            connection.execute(update(tables.job).where(chosen, tables.job.c.state == "running").values(cancel=True))
            audit.record(connection, actor, "job cancel", project_id=job.project_id, subject=job.title)

    def claim(self, limit: int = 1) -> Job | None:
        """The worker takes the oldest job that waits; None where none does, or where `limit` jobs run already.

        No job is taken twice. Workers that claim at the same moment on PostgreSQL may pass the limit by one each.
        """
        columns = tables.job.c
        oldest = select(columns.id).where(columns.state == "queued").order_by(columns.id).limit(1)
        under_way = select(func.count()).where(columns.state == "running")
        with self._database.write() as connection:
            if connection.execute(under_way).scalar_one() >= limit:
                return None
            job_id = connection.execute(oldest.with_for_update(skip_locked=True)).scalar()
            if job_id is None:
                return None
            now = time.time()
            change = update(tables.job).where(columns.id == job_id)
            connection.execute(change.values(state="running", started_at=now, heartbeat_at=now))
            return Job(**connection.execute(select(tables.job).where(columns.id == job_id)).mappings().one())

    def heartbeat(self, job_id: int, process: Mapping[str, object] | None = None) -> bool:
        """The worker says that a job still runs, and as which processes; returns whether it is to be stopped."""
        values: dict[str, object] = {"heartbeat_at": time.time()}
        if process is not None:
            values["process"] = dict(process)
        columns = tables.job.c
        with self._database.write() as connection:
            connection.execute(
                update(tables.job).where(columns.id == job_id, columns.state == "running").values(**values)
            )
            return bool(connection.execute(select(columns.cancel).where(columns.id == job_id)).scalar())

    def finish(self, job_id: int, state: JobState, message: str = "") -> None:
        """The worker says how a job ended; the first end counts."""
        if state not in ENDED:
            raise ValueError(f"state is {state!r}, allowed are {', '.join(ENDED)}")
        chosen = (tables.job.c.id == job_id, tables.job.c.state == "running")
        with self._database.write() as connection:
            change = update(tables.job).where(*chosen)
            connection.execute(change.values(state=state, ended_at=time.time(), message=message))

    def running(self) -> list[Job]:
        """All jobs that are said to run; a worker that starts looks whether they do."""
        query = select(tables.job).where(tables.job.c.state == "running").order_by(tables.job.c.id)
        with self._database.read() as connection:
            return [Job(**row) for row in connection.execute(query).mappings()]

    def list(self, actor: Actor, project_id: int | None = None, *, limit: int = 100) -> list[Job]:
        """The newest jobs first: of one project for its leads, all for admins."""
        query = select(tables.job).order_by(tables.job.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            if project_id is None:
                actor.require("admin", "listing all jobs")
            else:
                require_member(connection, actor, project_id, "listing jobs", "lead")
                query = query.where(tables.job.c.project_id == project_id)
            return [Job(**row) for row in connection.execute(query).mappings()]


def _under_way(kind: str, project_id: int | None) -> Select:
    columns = tables.job.c
    waits = (columns.kind == kind, columns.state.in_(UNDER_WAY))
    return select(columns.id).where(*waits, columns.project_id.is_not_distinct_from(project_id)).limit(1)


KIND = "rank"
"""Of the jobs that set priorities."""


class Refreshes:
    """Finds projects that are due for a refresh; for the worker."""

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
