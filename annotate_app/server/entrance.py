"""The entrance: signing in and out, and accepting an invitation. Plain forms from the server, without any script."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from annotate_app.server import entrance_pages as pages
from annotate_app.store.people.sign_in import RateLimitError

if TYPE_CHECKING:
    from annotate_app.server.authentication import Door

COOKIE = "tiebreak_session"
COOKIE_SECONDS = 7 * 86400
MAX_FORM = 8192
"""Largest form accepted from somebody unknown, in bytes."""

OPEN_PATHS = ("/sign-in", "/sign-out", "/invite/", "/health")
OIDC_PATHS = ("/auth/login", "/oauth2callback")
"""Streamlit's own OIDC routes: reached before there is a session, and only where OIDC is set up."""
OIDC_COOKIE = "_streamlit_user"


class OpenIdSignIn(Protocol):
    """Streamlit's OIDC sign-in, as far as the entrance needs it."""

    def providers(self) -> tuple[str, ...]:
        """Names of the providers set up; empty for none."""
        ...

    def address(self, provider: str) -> str:
        """Where to send somebody who chose a provider."""
        ...

    def email(self, cookies: Mapping[str, str], origin: str) -> str:
        """The address that a provider vouches for, empty where the cookies prove none."""
        ...


class Entrance:
    """What somebody unknown may reach, for one door."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._password_checks = asyncio.Semaphore(2)  # each holds 64 MiB while argon2 runs
        self._app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/sign-in", self.sign_in, methods=["GET", "POST"]),
                Route("/sign-in/with/{provider}", self.leave_for_provider),
                Route("/sign-in/returned", self.return_from_provider),
                Route("/sign-out", self.sign_out, methods=["GET", "POST"]),
                Route("/invite/{token}", self.invite, methods=["GET", "POST"]),
            ]
        )

    def is_open(self, path: str) -> bool:
        """Whether a path is answered here."""
        return path.startswith(OPEN_PATHS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        await self._app(scope, receive, send)

    async def health(self, request: Request) -> Response:
        """`ok` while the database answers."""
        try:
            await asyncio.to_thread(self.door.sessions.store.people.session_user, "")
        except Exception as error:
            return PlainTextResponse(f"database: {type(error).__name__}", 503)
        return PlainTextResponse("ok")

    async def sign_in(self, request: Request) -> Response:
        """The form, and what it sends."""
        if request.method == "GET":
            return HTMLResponse(self._sign_in_page())
        form = await _form(request)
        name = form.get("name", "").strip()
        people = self.door.sessions.store.people
        try:
            async with self._password_checks:
                user = await asyncio.to_thread(people.check_password, name, form.get("password", ""), _address(request))
        except RateLimitError as error:
            page = self._sign_in_page(name=name, error=f"{str(error).capitalize()}.")
            return HTMLResponse(page, 429, headers={"retry-after": str(error.seconds)})
        if user is None:
            page = self._sign_in_page(name=name, error="Name or password is wrong.")
            return HTMLResponse(page, 401)
        return self._welcome(request, await asyncio.to_thread(people.start_session, user))

    async def leave_for_provider(self, request: Request) -> Response:
        """Sends somebody to the OIDC provider they chose."""
        provider = request.path_params["provider"]
        if provider not in self.door.openid.providers():
            return RedirectResponse("/sign-in", 303)
        return RedirectResponse(self.door.openid.address(provider), 303)

    async def return_from_provider(self, request: Request) -> Response:
        """Where Streamlit's own OIDC sign-in ends: its cookie names somebody; only accounts we know come in."""
        origin = f"{request.url.scheme}://{request.headers.get('host', '')}"
        email = self.door.openid.email(request.cookies, origin)
        token = await asyncio.to_thread(self.door.sessions.start, email) if email else ""
        if token:
            return self._welcome(request, token)
        error = f"There is no account for {email}. Ask a lead to invite you." if email else "Sign-in failed."
        response = HTMLResponse(self._sign_in_page(error=error), 403)
        _forget_cookies(request, response)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Asks once more on GET (a link elsewhere must not sign anybody out), ends the session on POST."""
        if request.method == "GET":
            return HTMLResponse(pages.sign_out())
        token = await self.door.token(request.scope)
        if token:
            await asyncio.to_thread(self.door.sessions.store.people.end_session, token)
            self.door.sessions.forget()
        response = RedirectResponse("/sign-in", 303)
        _forget_cookies(request, response)
        return response

    async def invite(self, request: Request) -> Response:
        """A one-time link: the invited choose their password, and their name where the invitation has none."""
        token, people = request.path_params["token"], self.door.sessions.store.people
        invitation = await asyncio.to_thread(people.invite, token)
        if invitation is None:
            return HTMLResponse(pages.invite_gone(), 410)
        if request.method == "GET":
            return HTMLResponse(pages.invite(name=invitation.name, role=invitation.role))
        form = await _form(request)
        name, password = form.get("name", "").strip(), form.get("password", "")
        if password != form.get("again", ""):
            error = "The two passwords differ."
        else:
            try:
                async with self._password_checks:
                    user = await asyncio.to_thread(people.redeem_invite, token, name, password)
                return self._welcome(request, await asyncio.to_thread(people.start_session, user))
            except ValueError as problem:
                error = str(problem)
        return HTMLResponse(pages.invite(name=invitation.name, role=invitation.role, typed=name, error=error), 400)

    def _sign_in_page(self, *, name: str = "", error: str = "") -> str:
        return pages.sign_in(name=name, error=error, providers=self.door.openid.providers())

    def _welcome(self, request: Request, token: str) -> Response:
        """Sends the cookie of a new session."""
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            self.door.sign(token),
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response


def _forget_cookies(request: Request, response: Response) -> None:
    for name in request.cookies:
        if name.startswith((COOKIE, OIDC_COOKIE)):
            response.delete_cookie(name)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small urlencoded form; nothing where it is large or of another kind."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
