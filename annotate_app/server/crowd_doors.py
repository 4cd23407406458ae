"""`/crowd/TOKEN?PROLIFIC_PID=...`: where people of a crowd platform come in, without a password.

Opening the address changes nothing: other sites may make a browser open it, and so do previews. The start button posts
to the same address, and the door takes a post only from a page of this server; then the visit is written down and the
person's session begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from annotate_app.server import crowd_pages as pages
from annotate_app.store.people.accounts import User
from annotate_app.store.people.crowd import PLATFORM_ID, Crowd, Entry
from annotate_app.store.people.sign_in import RateLimitError
from annotate_app.words import choose_language

CROWD_PATH = "/crowd/"
STATUS: Mapping[str, int] = {"completed": 200, "screened_out": 200, "over_quota": 200, "closed": 410}


def crowd_route(
    crowd: Callable[[], Crowd],
    *,
    closed: bool,
    visitor: Callable[[Request], Awaitable[User | None]],
    welcome: Callable[[Request, str], Response],
) -> Route:
    """The route of all links.

    Args:
        crowd: the store of links and visits.
        closed: whether this server signs everybody in another way, so that nobody comes in here.
        visitor: who a request comes from, as its session says.
        welcome: an answer that gives a browser a session, and sends it on to the first page.
    """

    async def answer(request: Request) -> Response:
        language = choose_language("", request.headers.get("accept-language", ""))
        token = request.path_params["token"]
        link = None if closed else await asyncio.to_thread(crowd().open_link, token)
        if link is None:
            return _ending(Entry(outcome="closed"), language)
        platform_ids = request.query_params.getlist(link.plan.id_parameter)
        if len(platform_ids) != 1 or not PLATFORM_ID.fullmatch(platform_ids[0]):
            return HTMLResponse(pages.no_id(link.plan.id_parameter, language), 400)
        if request.method == "GET":
            user = await visitor(request)
            name = user.name if user is not None and user.origin != "crowd" else ""
            return HTMLResponse(pages.start(link, language, signed_in_as=name))
        try:
            others = dict(request.query_params)
            address = request.client.host if request.client else ""
            entry = await asyncio.to_thread(crowd().enter, token, platform_ids[0], others, address)
        except RateLimitError as error:
            page = pages.too_many(error.seconds, language)
            return HTMLResponse(page, 429, headers={"retry-after": str(error.seconds)})
        return welcome(request, entry.session) if entry.session else _ending(entry, language)

    return Route("/crowd/{token}", answer, methods=["GET", "POST"])


def _ending(entry: Entry, language: str) -> Response:
    return HTMLResponse(pages.ending(entry, language), STATUS[entry.outcome])
