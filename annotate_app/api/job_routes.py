"""Jobs: commands that wait, run and have ended."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from annotate_app.api.calling import SIGNED_IN, ActorNow, Limit, ProjectId, StoreNow
from annotate_app.api.job_shapes import Jobs, JobShape
from annotate_app.api.shapes import MOST_ID
from annotate_app.exchange.export_jobs import files_of
from annotate_app.jobs.jobs import read_progress
from annotate_app.store.jobs import Job
from annotate_app.store.store import Store

JobId = Annotated[int, Path(ge=1, le=MOST_ID, description="number of the job")]
router = APIRouter(tags=["jobs"], dependencies=SIGNED_IN)


@router.get("/jobs")
def list_all_jobs(actor: ActorNow, store: StoreNow, limit: Limit = 100) -> Jobs:
    """All jobs, the newest first. Admins only."""
    return Jobs.model_validate({"items": [job_shape(store, job) for job in store.jobs.list(actor, limit=limit)]})


@router.get("/projects/{project_id}/jobs")
def list_jobs(actor: ActorNow, store: StoreNow, project_id: ProjectId, limit: Limit = 100) -> Jobs:
    """The jobs of a project, the newest first. Lead or above."""
    jobs = store.jobs.list(actor, project_id, limit=limit)
    return Jobs.model_validate({"items": [job_shape(store, job) for job in jobs]})


@router.get("/jobs/{job_id}")
def get_job(actor: ActorNow, store: StoreNow, job_id: JobId) -> JobShape:
    """One job; ask again until its state is done, failed, cancelled or lost."""
    return JobShape.model_validate(job_shape(store, store.jobs.get(actor, job_id)))


@router.post("/jobs/{job_id}/cancel")
def cancel_job(actor: ActorNow, store: StoreNow, job_id: JobId) -> JobShape:
    """Asks a job to stop; nothing happens to one that has ended."""
    store.jobs.cancel(actor, job_id)
    return JobShape.model_validate(job_shape(store, store.jobs.get(actor, job_id)))


def job_shape(store: Store, job: Job) -> dict[str, Any]:
    """A job as the API gives it, with how far it is and what an export has left."""
    progress = 1.0 if job.state == "done" else read_progress(job).share
    files = []
    if job.project_id is not None and job.kind == "export" and job.state == "done":
        files = [f"/api/v1/projects/{job.project_id}/exports/{file.name}" for file in files_of(store, job)]
    return vars(job) | {"progress": progress, "files": files}
