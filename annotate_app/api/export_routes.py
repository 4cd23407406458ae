"""Exports: small ones at once, others as a job whose files are fetched when it is done."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from annotate_app.access import Actor, TakenError
from annotate_app.api.calling import SIGNED_IN, ActorNow, ProjectId, StoreNow
from annotate_app.api.job_routes import job_shape
from annotate_app.api.job_shapes import ExportFiles, JobShape, NewExport
from annotate_app.exchange.export_jobs import (
    AS_JOB,
    EVERYTHING,
    exported_file,
    exported_files,
    exports_folder,
    start_export,
    zip_export,
)
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.rows.images_out import IMAGES_SUFFIX
from annotate_app.exchange.rows.options import ExportForm, ExportOptions
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.export_formats import parse_splits

router = APIRouter(tags=["exports"], dependencies=SIGNED_IN)
BINARY = {"schema": {"type": "string", "format": "binary"}}
ROWS: dict[int | str, dict[str, Any]] = {
    200: {"description": "the rows, or a zip of the whole project", "content": {"application/octet-stream": BINARY}}
}


@router.get("/projects/{project_id}/export", response_class=FileResponse, responses=ROWS)
def export_now(
    actor: ActorNow,
    store: StoreNow,
    project_id: ProjectId,
    form: Annotated[ExportForm | Literal["everything"], Query(description="what a row is")] = "preference",
    format: Annotated[Literal["jsonl", "json", "csv", "parquet"], Query(description="of the file")] = "jsonl",
    ties: Annotated[Literal["keep", "drop"], Query(description="pairs without a better one")] = "drop",
    names: Annotated[bool, Query(description="real names in place of pseudonyms")] = False,
) -> FileResponse:
    """Exports a project of at most 20,000 comparisons at once, as one file; images ask for a job. Lead or above."""
    project = store.projects.get(actor, project_id)
    actor.require("lead", "exporting", project_id)
    if store.comparisons.count(actor, project_id) > AS_JOB:
        raise TakenError(f"the project has more than {AS_JOB} comparisons: start an export, and fetch its files")
    scratch = Path(tempfile.mkdtemp())
    try:
        path = _export(store, actor, project, form, scratch, format=format, ties=ties, names=names)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    removal = BackgroundTask(shutil.rmtree, scratch, ignore_errors=True)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name, background=removal)


def _export(
    store: Store,
    actor: Actor,
    project: Project,
    form: ExportForm | Literal["everything"],
    scratch: Path,
    *,
    format: Literal["jsonl", "json", "csv", "parquet"],
    ties: Literal["keep", "drop"],
    names: bool,
) -> Path:
    """Writes an export into a folder; the file to send.

    Raises:
        TakenError: if the rows show images, which are a second file.
    """
    if form == EVERYTHING:
        return zip_export(store, actor, project, None, scratch, names=names)[0]
    options = ExportOptions(form=form, format=format, ties=ties, names=names)
    path = scratch / f"{form}.{format}"
    exported = export_rows(store, actor, project.id, path, options)
    if any(file.name.endswith(IMAGES_SUFFIX) for file in exported.files):
        raise TakenError("the rows show images, which come beside them: start an export, and fetch its files")
    return path


@router.post("/projects/{project_id}/exports", status_code=202)
def start_an_export(actor: ActorNow, store: StoreNow, project_id: ProjectId, body: NewExport) -> JobShape:
    """Queues an export; when its job is done, `files` of the job names what it left. Lead or above."""
    project = store.projects.get(actor, project_id)
    options = None
    if body.form != EVERYTHING:
        values = body.model_dump(exclude={"splits", "names"})
        if body.splits:
            values["splits"] = parse_splits(",".join(f"{name}={share}" for name, share in body.splits.items()))
        options = ExportOptions(**values, names=body.names)
    job = start_export(store, actor, project, options, names=body.names)
    return JobShape.model_validate(job_shape(store, job))


@router.get("/projects/{project_id}/exports")
def list_exports(actor: ActorNow, store: StoreNow, project_id: ProjectId) -> ExportFiles:
    """The files that exports of the project have left, newest first. Lead or above."""
    folder = exports_folder(store, project_id)
    items = []
    for path in exported_files(store, actor, project_id):
        name, about = str(path.relative_to(folder)), path.stat()
        href = f"/api/v1/projects/{project_id}/exports/{name}"
        items.append({"name": name, "num_bytes": about.st_size, "created_at": about.st_mtime, "href": href})
    return ExportFiles.model_validate({"items": items})


@router.get("/projects/{project_id}/exports/{name:path}", response_class=FileResponse, responses=ROWS)
def get_export(
    actor: ActorNow,
    store: StoreNow,
    project_id: ProjectId,
    name: Annotated[str, InPath(max_length=500, description="name of the file")],
) -> FileResponse:
    """One of these files. Lead or above."""
    path = exported_file(store, actor, project_id, name)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)
