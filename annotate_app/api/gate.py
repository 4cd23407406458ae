"""The gate of the API: who comes in by a token, how often, and with how much. Light: the API itself loads behind it.

The door (`server.authentication`) has looked at Host and Origin before. Cookies mean nothing here, so that no page
elsewhere can make a browser use them; a session is no token.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotate_app.access import Actor
from annotate_app.api.refusals import FAULT, Refusal, refusal_of
from annotate_app.store.people.api_tokens import ApiToken
from annotate_app.store.store import Store

logger = logging.getLogger(__name__)

PATH = "/api/"
OPEN_PATHS = ("/api/v1/health", "/api/v1/openapi.json")
"""What is answered without a token."""
CALLER = "tiebreak.caller"
"""Where the scope says who comes."""
MEGABYTE = 2**20
BODY_MB, ROWS_MB = 1, 200
"""Largest body, and largest body of rows."""
ROW_PATHS = ("/comparisons", "/judgments")
AT_ONCE, AT_ONCE_EACH = 24, 20
"""Requests that are carried out at the same time, of everybody and of one token."""
WAIT_S = 20.0
BURST, PER_S = 500.0, 50.0
"""Requests that a token may make in a rush, and how fast that room comes back."""
WRONG, WRONG_S = 50, 900.0
"""Wrong tokens of an address within so many seconds, after which it is asked to wait."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls: the person as their token lets them act, and the token."""

    actor: Actor
    token: ApiToken


class Allowance:
    """Room for requests by who makes them: `burst` of them, which comes back with time."""

    def __init__(self, burst: float, per_s: float) -> None:
        self.burst, self.per_s = burst, per_s
        self._left: dict[str, tuple[float, float]] = {}  # by who: room, and when it was that

    def wait_for(self, who: str) -> float:
        """Seconds until there is room for one more; 0 where there is now."""
        return max(0.0, (1.0 - self._room(who)) / self.per_s)

    def take(self, who: str) -> None:
        """Takes room for one."""
        if len(self._left) > 10_000:
            self._left = {name: left for name, left in self._left.items() if self._room(name) < self.burst}
        self._left[who] = (self._room(who) - 1.0, time.monotonic())

    def _room(self, who: str) -> float:
        room, at = self._left.get(who, (self.burst, 0.0))
        return min(self.burst, room + (time.monotonic() - at) * self.per_s)


class Gate:
    """Lets calls of the API in.

    Args:
        store: asked about tokens.
        load: makes the API; called once, in a thread, when somebody asks for it first.
    """

    def __init__(self, store: Store, load: Callable[[Store], ASGIApp]) -> None:
        self.store = store
        self._load = load
        self._api: ASGIApp | None = None
        self._loading = asyncio.Lock()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._under_way: Counter[int] = Counter()
        self._calls = Allowance(BURST, PER_S)
        self._wrong = Allowance(WRONG, WRONG / WRONG_S)
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="api-gate")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "the API has no WebSocket"})
            return
        try:
            caller = None if scope["path"] in OPEN_PATHS else await self._recognise(scope)
            most = _most_bytes(scope)
            receive = _counted(scope, receive, most)
        except Exception as error:
            answer = refusal_of(error)
            if answer is None:
                raise
            await answer.response()(scope, receive, send)
            return
        scope = {**scope, CALLER: caller}
        token_id = caller.token.id if caller else 0
        self._under_way[token_id] += 1
        try:
            if caller and self._under_way[token_id] > AT_ONCE_EACH:
                refusal = _busy(f"{AT_ONCE_EACH} requests of this token are under way", 429)
                await refusal.response()(scope, receive, send)
                return
            await self._carry_out(scope, receive, send)
        finally:
            self._under_way[token_id] -= 1
            self._under_way = +self._under_way

    async def _carry_out(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.wait_for(self._room.acquire(), WAIT_S)
        except TimeoutError:
            await _busy("the server is busy", 503).response()(scope, receive, send)
            return
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                headers["cache-control"] = "no-store"
                message = {**message, "headers": headers.raw}
            await send(message)

        try:
            await (await self._loaded())(scope, receive, send_noted)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if not begun:
                await FAULT.response()(scope, receive, send)
        finally:
            self._room.release()

    async def _loaded(self) -> ASGIApp:
        async with self._loading:
            if self._api is None:
                self._api = await asyncio.to_thread(self._load, self.store)
            return self._api

    async def _recognise(self, scope: Scope) -> Caller:
        """Who calls, by the header Authorization.

        Raises:
            Refusal: without a token that works, and where there were too many calls.
        """
        scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        challenge = {"www-authenticate": 'Bearer realm="Tiebreak"'}
        if scheme.lower() != "bearer" or not secret.strip():
            words = "send a token: Authorization: Bearer TOKEN; the page Account makes one"
            raise Refusal(status=401, message=words, field="authorization", headers=challenge)
        address = str((scope.get("client") or ("",))[0])
        if wait := self._wrong.wait_for(address):
            raise _busy("too many wrong tokens came from this address", 429, wait)
        use = partial(self.store.api_tokens.use, secret.strip())
        found = await asyncio.get_running_loop().run_in_executor(self._threads, use)
        if found is None:
            self._wrong.take(address)
            words = "the token is unknown, has ended or was revoked"
            raise Refusal(status=401, message=words, field="authorization", headers=challenge)
        caller = Caller(actor=found[0], token=found[1])
        if wait := self._calls.wait_for(str(caller.token.id)):
            raise _busy(f"this token has made {BURST:.0f} requests in a rush", 429, wait)
        self._calls.take(str(caller.token.id))
        return caller


def _busy(message: str, status: int, wait_s: float = 1.0) -> Refusal:
    seconds = max(1, math.ceil(wait_s))
    return Refusal(status=status, message=f"{message}; try again in {seconds} s", headers={"retry-after": str(seconds)})


def _most_bytes(scope: Scope) -> int:
    of_rows = scope["method"] == "POST" and scope["path"].rstrip("/").endswith(ROW_PATHS)
    return (ROWS_MB if of_rows else BODY_MB) * MEGABYTE


def _counted(scope: Scope, receive: Receive, most: int) -> Receive:
    """The body, of which no more comes in than may; refused before the first byte where it says how long it is."""
    said = Headers(scope=scope).get("content-length", "")
    words = f"the body has more than {most // MEGABYTE} MB, which is the most here"
    if said.isascii() and said.isdigit() and int(said) > most:
        raise Refusal(status=413, message=words, field="body", allowed=f"{most // MEGABYTE} MB")
    num_bytes = 0

    async def receive_counted() -> Message:
        nonlocal num_bytes
        message = await receive()
        num_bytes += len(message.get("body", b""))
        if num_bytes > most:
            raise HTTPException(413, words)
        return message

    return receive_counted
