"""The API as an application of its own, and the OpenAPI document that describes it.

No page that tries calls out is offered: the usual ones load their scripts from another host.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from annotate_app.api import (
    comparison_routes,
    export_routes,
    job_routes,
    judgment_routes,
    people_routes,
    project_routes,
    webhook_routes,
)
from annotate_app.api.calling import ERRORS
from annotate_app.api.refusals import FAULT, Refusal, refusal_of
from annotate_app.store.store import Store

PREFIX = "/api/v1"
VERSION = "1"
ABOUT = """\
Everything goes by a token of the page Account (`Authorization: Bearer TOKEN`), under the rights of its person.
Times are unix seconds. Sides are those of the comparison, `a` and `b`, wherever they stood on the screen.
Whatever is not done is answered with `{"error": {"message", "field", "value", "allowed", "rows"}}`.\
"""


def build_api(store: Store) -> ASGIApp:
    """The application behind `/api/v1`; stands behind a `Gate`, which says who calls."""
    app = FastAPI(
        title="Tiebreak",
        version=VERSION,
        description=ABOUT,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
        responses=ERRORS,
    )
    app.state.store = store
    rooms = (
        project_routes,
        comparison_routes,
        judgment_routes,
        export_routes,
        job_routes,
        people_routes,
        webhook_routes,
    )
    for room in rooms:
        app.include_router(room.router, prefix=PREFIX)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_exception_handler(Exception, _refuse_any)
    for kind in (Refusal, ValueError, PermissionError):  # answered inside, where nothing is logged
        app.add_exception_handler(kind, _refuse_any)
    return app


async def _refuse_invalid(request: Request, error: Exception) -> Response:
    """A field that does not fit: which, what stood there, and what may."""
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        message = f"the body is no JSON: {reason} at character {first['loc'][-1]}"
        return Refusal(status=400, message=message, field="body").response()
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    field = ".".join(place) or "body"
    value = None if first["type"] == "missing" else first.get("input")
    message = f"{field} is {_quoted(value)}: {first['msg']}" if first["type"] != "missing" else f"{field} is missing"
    return Refusal(status=422, message=message, field=field, value=value, allowed=first["msg"]).response()


async def _refuse_http(request: Request, error: Exception) -> Response:
    """What the framework refuses: an unknown address, another method, a body that is too long."""
    assert isinstance(error, HTTPException)
    words = {404: f"there is no {request.url.path[:200]}", 405: f"{request.method} is not answered here"}
    message = words.get(error.status_code, str(error.detail))
    return Refusal(status=error.status_code, message=message, headers=dict(error.headers or {})).response()


async def _refuse_any(request: Request, error: Exception) -> Response:
    return (refusal_of(error) or FAULT).response()


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}..."


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document; no store is asked."""
    app = build_api(None)  # type: ignore[arg-type]  # routes ask for it only when they are called
    assert isinstance(app, FastAPI)
    return app.openapi()
