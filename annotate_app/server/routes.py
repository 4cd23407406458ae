"""Routes beside the pages: what a finished run hands out, images of texts, and how a browser says that it leaves.

A run hands out its report as a page, its model as a zip made while it is sent, and its rows. The report is a file of
our own making, but it quotes texts of the project: it is served as a sandboxed page without an origin, in which nothing
runs and nothing is fetched. A browser that closes the labeling page can still send one request, which is taken here.
"""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from annotate_app.access import AccessError
from annotate_app.images.checking import CheckedImage
from annotate_app.server.sessions import SESSION_HEADER, Sessions
from annotate_app.trainings.runs import ModelRun, get_run, model_files

IMAGE_HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",  # the address is the hash of the bytes
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CHUNK = 2**20


def run_routes(sessions: Sessions) -> list[Route]:
    """`GET /runs/ID/report`, `model.zip` and `rows.jsonl`; stand behind the door, which names the session."""

    def find(token: str, job_id: int) -> ModelRun:
        user = sessions.user(token)
        if user is None:
            raise AccessError("sign in first")
        return get_run(sessions.store, sessions.store.people.actor_of(user), job_id)

    async def find_run(request: Request) -> ModelRun | Response:
        if request.path_params["job_id"] >= 2**31:
            return PlainTextResponse("there is no such training", 404)
        try:
            token = request.headers.get(SESSION_HEADER, "")
            return await asyncio.to_thread(find, token, request.path_params["job_id"])
        except AccessError as error:
            return PlainTextResponse(str(error), 403)
        except ValueError as error:
            return PlainTextResponse(str(error), 404)

    async def report(request: Request) -> Response:
        run = await find_run(request)
        if isinstance(run, Response):
            return run
        if run.report is None:
            return PlainTextResponse("this training has no report", 404)
        headers = {"content-security-policy": REPORT_POLICY, "cache-control": "no-store"}
        text = await asyncio.to_thread(run.report.read_bytes)
        return Response(text, media_type="text/html", headers=headers)

    async def model(request: Request) -> Response:
        run = await find_run(request)
        if isinstance(run, Response):
            return run
        if not run.has_model:
            return PlainTextResponse("this training has no model", 404)
        kind = "reward-model" if run.is_reward_model else "policy"
        headers = {"content-disposition": f'attachment; filename="{kind}-{run.job.id}.zip"'}
        return StreamingResponse(zipped(list(model_files(run))), media_type="application/zip", headers=headers)

    async def rows(request: Request) -> Response:
        run = await find_run(request)
        if isinstance(run, Response):
            return run
        if run.rows is None:
            return PlainTextResponse("this run has no rows", 404)
        return FileResponse(run.rows, media_type="application/x-ndjson", filename=f"best-of-n-{run.job.id}.jsonl")

    return [
        Route("/runs/{job_id:int}/report", report, methods=["GET"]),
        Route("/runs/{job_id:int}/model.zip", model, methods=["GET"]),
        Route("/runs/{job_id:int}/rows.jsonl", rows, methods=["GET"]),
    ]


class _Pipe(io.RawIOBase):
    """What is written to it waits until it is taken."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, part: bytes) -> int:  # type: ignore[override]
        self.parts.append(bytes(part))
        return len(part)

    def take(self) -> bytes:
        """Everything written since."""
        taken, self.parts = b"".join(self.parts), []
        return taken


def zipped(files: list[tuple[Path, str]]) -> Iterator[bytes]:
    """A zip of files in pieces of about a megabyte, never whole in memory; weights hardly shrink: stored."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[arg-type]
        for path, name in files:
            with path.open("rb") as source, archive.open(zipfile.ZipInfo.from_file(path, name), "w") as target:
                while part := source.read(CHUNK):
                    target.write(part)
                    yield pipe.take()
    yield pipe.take()


def image_route(sessions: Sessions) -> Route:
    """`GET /images/PROJECT/HASH` for members of the project; stands behind the door, which names the session."""

    def find(token: str, project_id: int, content_hash: str) -> CheckedImage | None:
        user = sessions.user(token)
        if user is None:
            raise AccessError("sign in first")
        return sessions.store.images.get(sessions.store.people.actor_of(user), project_id, content_hash)

    async def answer(request: Request) -> Response:
        project_id, content_hash = request.path_params["project_id"], request.path_params["content_hash"]
        if project_id >= 2**31 or not re.fullmatch("[0-9a-f]{64}", content_hash):
            return PlainTextResponse("there is no such image", 404)
        try:
            token = request.headers.get(SESSION_HEADER, "")
            image = await asyncio.to_thread(find, token, project_id, content_hash)
        except AccessError as error:
            return PlainTextResponse(str(error), 403)
        except ValueError:  # an admin asks for a project that is not there
            image = None
        if image is None:
            return PlainTextResponse("there is no such image", 404)
        headers = IMAGE_HEADERS | {"content-disposition": f'inline; filename="{image.file_name}"'}
        return Response(image.data, media_type=image.media_type, headers=headers)

    return Route("/images/{project_id:int}/{content_hash}", answer, methods=["GET"])


def leaving_route(sessions: Sessions) -> Route:
    """`POST /work/leave?project=ID`; stands behind the door, which names the session in SESSION_HEADER."""

    def leave(token: str, project_id: int) -> int:
        user = sessions.user(token)
        if user is None:
            return 401
        store = sessions.store
        try:
            store.work.leave(store.people.actor_of(user), project_id)
        except AccessError:
            return 403
        return 204

    async def answer(request: Request) -> Response:
        project = request.query_params.get("project", "")
        if not (project.isascii() and project.isdigit() and len(project) < 19):
            return Response(status_code=400)
        token = request.headers.get(SESSION_HEADER, "")
        return Response(status_code=await asyncio.to_thread(leave, token, int(project)))

    return Route("/work/leave", answer, methods=["POST"])
