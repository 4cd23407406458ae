"""What every route of the API shares: who calls, the store, links to further pages, the errors it may answer."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Path, Query, Security
from fastapi.security import HTTPBearer
from starlette.requests import Request

from annotate_app.access import Actor
from annotate_app.api.gate import CALLER, Caller
from annotate_app.api.shapes import MOST_ID, Error
from annotate_app.store.store import Store

_REASONS = {
    400: "the request cannot be read",
    401: "no token, or one that does not work",
    403: "the person or the token may not",
    404: "there is no such thing",
    405: "this address does not answer that method",
    409: "there is one already, or it is under way",
    413: "the body is too long",
    422: "a value cannot be used; the error names it",
    429: "too many requests; `retry-after` says when to come again",
    503: "the server or its database is busy; `retry-after` says when to come again",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": words} for status, words in _REASONS.items()
}
bearer = HTTPBearer(auto_error=False, description="a token of the page Account or of `annotate-app token create`")
SIGNED_IN = [Security(bearer)]
"""Of routers whose routes ask for a token; the gate has looked at it."""

ProjectId = Annotated[int, Path(ge=1, le=MOST_ID, description="number of the project")]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
Offset = Annotated[int, Query(ge=0, le=2**53, description="how many to pass over")]


def _caller(request: Request) -> Caller:
    return request.scope[CALLER]


def _store(request: Request) -> Store:
    return request.app.state.store


def _actor(request: Request) -> Actor:
    return request.scope[CALLER].actor


CallerNow = Annotated[Caller, Depends(_caller)]
ActorNow = Annotated[Actor, Depends(_actor)]
StoreNow = Annotated[Store, Depends(_store)]


def link(request: Request, **query: object) -> str:
    """The address of this request with other words behind the question mark; those that are None are left out."""
    kept = {name: value for name, value in request.query_params.multi_items() if name not in query}
    asked = kept | {name: value for name, value in query.items() if value is not None}
    return f"{request.url.path}?{urlencode(asked)}" if asked else request.url.path


def page_link(request: Request, offset: int, limit: int, num_given: int) -> str | None:
    """The address of the next page, None where this one was not full."""
    return link(request, offset=offset + limit, limit=limit) if num_given > limit else None
