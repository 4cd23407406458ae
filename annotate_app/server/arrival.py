"""What a request says of itself, and how much of it is believed: client, Host, Origin, cookies, a form.

Headers about the client count only from a trusted proxy, and there only what that proxy added: it writes at the end of
X-Forwarded-For, as a longer line or as a line of its own. A header that must stand once and stands twice is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv6Address, ip_address
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

MAX_FORM = 16_384
"""Largest form accepted from somebody unknown, in bytes."""
_OWN_PAGE = re.compile(r"/(?!/)[A-Za-z0-9_./-]{0,200}(\?[A-Za-z0-9_.~!*()'$%&=+,:@/-]{0,3000})?")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OUR_HEADERS = b"x-tiebreak-"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s@/\\?#%\[\]:]+)(:[0-9]{1,5})?", re.IGNORECASE)
_ADDRESS_WITH_PORT = re.compile(r"\[(?P<six>[0-9a-fA-F:.]+)\](:[0-9]+)?|(?P<four>[0-9.]+):[0-9]+")


def arrive(scope: Scope, proxy_header: str, trusted_proxies: Iterable[str]) -> Scope:
    """A copy of the scope without the headers that only the server may set, with the client that a trusted proxy names.

    Adds `proxied_user`: the account named in `proxy_header` by a trusted proxy, else empty; and `is_scheme_told`:
    whether the scheme is that of the browser, as a trusted proxy says.
    """
    scope = dict(scope)
    proxies = {plain_address(proxy) for proxy in trusted_proxies}
    peer = plain_address((scope.get("client") or ("", 0))[0])
    trusted = peer in proxies
    sent = Headers(raw=scope["headers"])
    scope["proxied_user"] = sent.get(proxy_header, "") if trusted and proxy_header else ""
    scope["is_scheme_told"] = False
    if trusted:
        scope["client"] = (_last_hop(sent.getlist("x-forwarded-for"), proxies) or peer, 0)
        scheme = ",".join(sent.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
        scope["is_scheme_told"] = scheme in ("http", "https", "ws", "wss")
        if scheme in ("https", "wss"):
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
    ours = {proxy_header.encode()} if proxy_header else set()
    scope["headers"] = [
        (name, value) for name, value in scope["headers"] if not name.startswith(OUR_HEADERS) and name not in ours
    ]
    return scope


def refuse(scope: Scope, allowed_hosts: tuple[str, ...], *, by_token: bool = False) -> Response | None:
    """An answer to what no browser sends to a page of ours: a strange Host, a write or a WebSocket from elsewhere.

    Args:
        scope: of the request.
        allowed_hosts: Host names answered to; empty answers to any.
        by_token: whether only a token counts, which no browser adds by itself: a program says no Origin.
    """
    headers = Headers(scope=scope)
    for name in ("host", "origin"):
        if len(headers.getlist(name)) > 1:
            return PlainTextResponse(f"refused: the header {name} is there more than once", 400)
    host = headers.get("host", "")
    if (host and not _HOST.fullmatch(host)) or (allowed_hosts and _name_of(host) not in allowed_hosts):
        return PlainTextResponse(f"this server does not answer to the host name {host[:200]!r}", 400)
    writes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
    is_program = by_token and "origin" not in headers
    if writes and not is_program and not _comes_from_own_page(scope, host, headers.get("origin", "")):
        return PlainTextResponse("refused: the request does not come from a page of this server", 403)
    return None


def refuse_twice_named(scope: Scope, proxy_header: str) -> Response | None:
    """An answer to a request that names its account more than once: a proxy has passed on what a browser sent."""
    if proxy_header and len(Headers(raw=scope["headers"]).getlist(proxy_header)) > 1:
        return PlainTextResponse(f"refused: the header {proxy_header} is there more than once", 400)
    return None


def is_secure(scope: Scope) -> bool:
    """Whether the browser speaks TLS, as far as is known."""
    return scope.get("scheme") in ("https", "wss")


def plain_address(text: str) -> str:
    """An address in its one spelling, without port or brackets; text that is none as it is."""
    text = text.strip()
    with_port = _ADDRESS_WITH_PORT.fullmatch(text)
    if with_port:
        text = with_port["six"] or with_port["four"]
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def cookies(scope: Scope) -> dict[str, str]:
    """The request's cookies."""
    jar: SimpleCookie = SimpleCookie()
    for value in Headers(scope=scope).getlist("cookie"):
        try:
            jar.load(value)
        except CookieError:
            return {}
    return {name: morsel.value for name, morsel in jar.items()}


def is_own_page(path: str) -> bool:
    """Whether this is the address of one of our pages, without a host that a browser could be led to."""
    return bool(_OWN_PAGE.fullmatch(path))


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small urlencoded form; nothing where it is large or of another kind."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _last_hop(forwarded: Iterable[str], proxies: set[str]) -> str:
    """The nearest address in X-Forwarded-For that is not one of our proxies: the others are hearsay. "" without any."""
    hops = [plain_address(hop) for hop in ",".join(forwarded).split(",") if hop.strip()]
    return next((hop for hop in reversed(hops) if hop not in proxies), hops[0] if hops else "")


def _name_of(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    return (host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]).lower()


def _comes_from_own_page(scope: Scope, host: str, origin: str) -> bool:
    """Whether an Origin is this server's.

    Its scheme has to be ours. A page of https may still come from us where no trusted proxy says what the browser
    speaks: something in front speaks TLS and does not tell. It does not on the port where we speak plain HTTP.
    """
    try:
        page = urlsplit(origin)
        port = page.port
    except ValueError:
        return False
    if page.netloc != host:
        return False
    if page.scheme == ("https" if is_secure(scope) else "http"):
        return True
    own_port = (scope.get("server") or ("", None))[1]
    return page.scheme == "https" and not scope["is_scheme_told"] and port != own_port
