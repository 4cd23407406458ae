"""The route by which a browser that closes the labeling page says so, the one thing it can still send then."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from annotate_app.access import AccessError
from annotate_app.server.sessions import SESSION_HEADER, Sessions


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
