"""The door: an ASGI application in front of everything, so that pages, media, metrics and WebSockets have one guard.

Three ways lead in: the cookie that the entrance gives (`Entrance`: plain forms from the server, without any script, for
signing in and out and for accepting an invitation), a header set by a trusted proxy, and none at all for an app that
serves only its own machine. Whoever comes in carries a session of the database; its token travels to the pages in a
header that nobody outside can set.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from itsdangerous import BadSignature, TimestampSigner
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotate_app.server import sign_in_pages as pages
from annotate_app.server.arrival import (
    arrive,
    cookies,
    is_own_page,
    is_secure,
    read_form,
    refuse,
    refuse_twice_named,
)
from annotate_app.server.crowd_doors import CROWD_PATH, crowd_route
from annotate_app.server.crowding import UPLOAD_PATH, Tabs, UploadedFiles, Uploads
from annotate_app.server.first_page import FirstPage
from annotate_app.server.security_headers import security_headers, with_security_headers
from annotate_app.server.sessions import SESSION_HEADER, Sessions
from annotate_app.store.base.database import failure
from annotate_app.store.people.accounts import PASSWORD_LENGTHS, User
from annotate_app.store.people.sign_in import RateLimitError
from annotate_app.words import FALLBACK, choose_language, say

logger = logging.getLogger(__name__)

COOKIE = "tiebreak_session"
COOKIE_SECONDS = 7 * 86400
ASKED_COOKIE, ASKED_SECONDS = "tiebreak_asked", 1800
"""Which page somebody asked for who has to sign in first; no secret."""
PATIENCE_S, RETRY_S = 60.0, 0.5
"""For how long, and how often, a message of a tab asks for a database that is away."""
API_PATH = "/api/"
OPEN_PATHS = ("/sign-in", "/sign-out", "/invite/", CROWD_PATH, "/health")
OPEN_FILES = re.compile(r"/static/js/[A-Za-z0-9_-][A-Za-z0-9_.-]*\.js")
"""Scripts of Streamlit itself, the same everywhere: a tab whose session has ended still draws what says so."""
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
    """The pages that somebody without a session may open."""

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
                crowd_route(
                    lambda: door.sessions.store.crowd,
                    closed=bool(door.open_as or door.proxy_header),
                    visitor=self._visitor,
                    welcome=self._welcome,
                ),
            ]
        )

    def is_open(self, path: str) -> bool:
        """Whether this object answers the path."""
        return path.startswith(OPEN_PATHS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            return self._sign_in_page(request)
        form = await read_form(request)
        name, asked = form.get("name", "").strip(), form.get("asked", "")
        language, typed = _language(request), {"name": name, "asked": asked}
        people = self.door.sessions.store.people
        try:
            async with self._password_checks:
                user = await asyncio.to_thread(people.check_password, name, form.get("password", ""), _address(request))
        except RateLimitError as error:
            problem = say(language, "entrance.too_many", seconds=error.seconds)
            page = self._sign_in_page(request, 429, error=problem, **typed)
            page.headers["retry-after"] = str(error.seconds)
            return page
        if user is None:
            return self._sign_in_page(request, 401, error=say(language, "entrance.wrong"), **typed)
        return self._welcome(request, await asyncio.to_thread(people.start_session, user), asked)

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
        language = _language(request)
        error = say(language, "entrance.no_account", name=email) if email else say(language, "entrance.failed")
        response = self._sign_in_page(request, 403, error=error)
        _forget_cookies(request, response)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Asks once more on GET (a link elsewhere must not sign anybody out), ends the session on POST."""
        if request.method == "GET":
            return HTMLResponse(pages.sign_out(_language(request)))
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
        language = _language(request)
        invitation = await asyncio.to_thread(people.invite, token)
        if invitation is None:
            return HTMLResponse(pages.invite_gone(language), 410)
        shown = {"name": invitation.name, "role": invitation.role}
        if request.method == "GET":
            return HTMLResponse(pages.invite(language, **shown))
        form = await read_form(request)
        name, password = form.get("name", "").strip(), form.get("password", "")
        if password != form.get("again", ""):
            error = say(language, "entrance.differ")
        elif len(password) < PASSWORD_LENGTHS[0]:
            error = say(language, "entrance.too_short", least=PASSWORD_LENGTHS[0])
        else:
            try:
                async with self._password_checks:
                    user = await asyncio.to_thread(people.redeem_invite, token, name, password)
                return self._welcome(request, await asyncio.to_thread(people.start_session, user))
            except ValueError as problem:
                error = str(problem)
        return HTMLResponse(pages.invite(language, **shown, typed=name, error=error), 400)

    def _sign_in_page(
        self, request: Request, status: int = 200, *, name: str = "", asked: str = "", error: str = ""
    ) -> HTMLResponse:
        """The form, which carries the page asked for: each tab has its own, also after the cookie is gone."""
        asked = asked or request.cookies.get(ASKED_COOKIE, "")
        providers = self.door.openid.providers()
        page = pages.sign_in(
            _language(request),
            name=name,
            asked=asked if is_own_page(asked) else "",
            error=error,
            providers=providers,
        )
        return HTMLResponse(page, status)

    async def _visitor(self, request: Request) -> User | None:
        """Who a request to the entrance comes from, None without a session."""
        return await self.door.user(await self.door.token(request.scope))

    def _welcome(self, request: Request, token: str, asked: str = "") -> Response:
        """Sends the cookie of a new session, and on to the page that was asked for before."""
        remembered = request.cookies.get(ASKED_COOKIE, "")
        target = next((page for page in (asked, remembered) if is_own_page(page)), "/")
        response = RedirectResponse(target, 303)
        if remembered:
            response.delete_cookie(ASKED_COOKIE)
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


def _language(request: Request) -> str:
    """The language that the browser asks for, of those there are."""
    return choose_language("", request.headers.get("accept-language", ""))


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


class Door:
    """Passes on requests with a session and sends all others to the entrance.

    Programs come in by a token of the API, past all of that: `api` asks for it (`annotate_app.api.gate`).

    Args:
        app: what stands behind the door.
        api: answers what is asked below `/api/`; Host, Origin and the headers of answers stay the door's.
        secret: signs cookies.
        openid: Streamlit's own OIDC sign-in.
        inline_scripts: the scripts written into the app's first page; no other inline script runs.
        first_page: what a tab begins with, in place of Streamlit's own; None leaves that.
        open_as: the account that everybody is, without sign-in; empty asks everybody to sign in.
        allowed_hosts: Host names answered to, without port; empty answers to any.
        uploaded_files: the files that are in memory; see `crowding`.
        harmless_message: what a WebSocket message is replaced by once its session has ended: it makes the page draw
            itself again, which then says so, and carries out nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        *,
        secret: str,
        openid: OpenIdSignIn,
        inline_scripts: list[str],
        first_page: FirstPage | None = None,
        harmless_message: bytes,
        uploaded_files: Callable[[], UploadedFiles],
        api: ASGIApp | None = None,
        open_as: str = "",
        allowed_hosts: tuple[str, ...] = (),
        proxy_header: str = "",
        trusted_proxies: tuple[str, ...] = (),
    ) -> None:
        self.app = app
        self.api = api
        self.sessions = sessions
        self.signer = TimestampSigner(secret, salt="tiebreak session")
        self.openid = openid
        self.first_page = first_page
        self.harmless_message = harmless_message
        self.open_as = open_as
        self.allowed_hosts = tuple(host.lower() for host in allowed_hosts)
        self.proxy_header = proxy_header.lower()
        self.trusted_proxies = trusted_proxies
        self.security_headers = security_headers(inline_scripts)
        self.entrance = Entrance(self)
        self.uploads = Uploads(app, uploaded_files)
        self.tabs = Tabs()
        self._tokens: dict[str, str] = {}  # by account name, sessions of people who need no sign-in here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = refuse_twice_named(scope, self.proxy_header)
        scope = arrive(scope, self.proxy_header, self.trusted_proxies)
        send = with_security_headers(send, self.security_headers, is_secure(scope))
        by_token = self.api is not None and scope["type"] == "http" and scope["path"].startswith(API_PATH)
        refusal = refusal or refuse(scope, self.allowed_hosts, by_token=by_token)
        if refusal is not None:
            await _answer(refusal, scope, receive, send)
            return
        if self.api is not None and by_token:
            await self.api(scope, receive, send)
            return
        if scope["type"] == "http" and self.entrance.is_open(scope["path"]):
            await self.entrance(scope, receive, send)
            return
        if scope["type"] == "http" and scope["method"] == "GET" and OPEN_FILES.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] in OIDC_PATHS and self.openid.providers():
            await self.app(scope, receive, send)
            return
        token = await self.token(scope)
        user = await self.user(token)
        if user is None:
            await _answer(self._turn_away(scope), scope, receive, send)
        elif scope["path"].startswith("/_stcore/metrics") and user.role != "admin":
            await _answer(PlainTextResponse("for admins only", 403), scope, receive, send)
        else:
            scope["headers"].append((SESSION_HEADER.encode(), token.encode()))
            await self._let_in(scope, receive, send, token, user)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send, token: str, user: User) -> None:
        """Passes on what somebody with a session asks for, as far as there is room for it."""
        if scope["type"] == "websocket":
            if self.tabs.is_full(user):
                await _answer(PlainTextResponse("too many open tabs", 429), scope, receive, send)
                return
            with self.tabs.opened(user):
                await self.app(scope, self._watched(receive, token), send)
        elif scope["path"].startswith(UPLOAD_PATH):
            await self.uploads(scope, receive, send, user)
        elif self.first_page is not None and scope["method"] == "GET" and _wants_page(scope):
            accepted = Headers(scope=scope).get("accept-language", "")
            language = choose_language(user.language, accepted) if user.role == "annotator" else FALLBACK
            scope["headers"] = [header for header in scope["headers"] if header[0] != b"accept-encoding"]  # to read it
            await self.app(scope, receive, self.first_page.put_in_place(send, language))
        else:
            await self.app(scope, receive, send)

    def _turn_away(self, scope: Scope) -> Response:
        """Answers a request without a session: redirects to sign-in or refuses."""
        if scope["type"] == "http" and scope["method"] == "GET" and _wants_page(scope):
            if self.proxy_header:
                return PlainTextResponse("There is no account for you here. Ask a lead to add you.", 403)
            returned = self.openid.providers() and OIDC_COOKIE in cookies(scope)
            response = RedirectResponse("/sign-in/returned" if returned else "/sign-in", 303)
            asked = f"{scope['path']}?{scope['query_string'].decode('latin-1')}".rstrip("?")
            if "text/html" in Headers(scope=scope).get("accept", "") and is_own_page(asked):  # no icon of a page
                response.set_cookie(ASKED_COOKIE, asked, max_age=ASKED_SECONDS, httponly=True, samesite="lax")
            return response
        return PlainTextResponse("sign in first", 401)

    async def token(self, scope: Scope) -> str:
        """The session token this connection comes with, empty for none."""
        if self.open_as:
            return await self._token_of(self.open_as)
        if self.proxy_header:
            return await self._token_of(scope["proxied_user"]) if scope["proxied_user"] else ""
        return self.unsign(cookies(scope).get(COOKIE, ""))

    async def user(self, token: str) -> User | None:
        """The user behind a token; the database is asked in a thread where it must be."""
        answer = self.sessions.known(token)
        return answer.user if answer is not None else await asyncio.to_thread(self.sessions.user, token)

    def sign(self, token: str) -> str:
        """The cookie that carries a session token."""
        return self.signer.sign(token).decode()

    def unsign(self, cookie: str) -> str:
        """The token of a cookie we signed in the last seven days, else nothing."""
        try:
            return self.signer.unsign(cookie, max_age=COOKIE_SECONDS).decode()
        except BadSignature:
            return ""

    async def _token_of(self, name: str) -> str:
        """A session of an account that needs no sign-in here, kept while it lives; empty for an unknown account."""
        token = self._tokens.get(name, "")
        if token and await self.user(token) is not None:
            return token
        self._tokens[name] = token = await asyncio.to_thread(self.sessions.start, name)
        return token

    def _watched(self, receive: Receive, token: str) -> Receive:
        """Wraps the messages of a WebSocket: once its session has ended, each is replaced by a harmless one.

        While the database is away a message waits, and the tab with it, for as long as `PATIENCE_S`; after it the
        message counts as lost, which the labeling page notices and sends again.
        """

        async def is_live() -> bool:
            patience = asyncio.get_running_loop().time() + PATIENCE_S
            while True:
                try:
                    return await self.user(token) is not None
                except Exception as error:
                    reason = failure(error)
                    if not reason:
                        raise
                    if asyncio.get_running_loop().time() > patience:
                        logger.error("a message of a tab was dropped, the database is away: %s", reason)
                        return False
                await asyncio.sleep(RETRY_S)

        async def receive_watched() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and not await is_live():
                return {"type": "websocket.receive", "bytes": self.harmless_message}
            return message

        return receive_watched


def _wants_page(scope: Scope) -> bool:
    internal = ("/_stcore", "/media", "/static", "/component", "/app/static")
    return not scope["path"].startswith(internal)


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a response; a WebSocket is closed before it was accepted, which browsers see as 403."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "sign in first"})
        return
    await response(scope, receive, send)
