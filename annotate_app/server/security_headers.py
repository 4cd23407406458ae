"""What every answer tells the browser to refuse: scripts of others, frames, guesses about types, plain HTTP."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' blob: {hashes}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; "
    "object-src 'none'; frame-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-dns-prefetch-control": "off",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
ONLY_TLS = "max-age=15552000"
"""Half a year in which a browser that came by https asks for nothing else."""
KEPT_BY_NOBODY = ("text/html", "application/zip", "application/x-ndjson")
"""Kinds of answers with people's words in them: no browser and no proxy keeps them, unless they say otherwise."""


def security_headers(inline_scripts: Iterable[str]) -> dict[str, str]:
    """The headers, with the scripts written into pages that may run, by their hashes."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in inline_scripts)
    return {name: value.format(hashes=hashes) for name, value in SECURITY_HEADERS.items()}


def with_security_headers(send: Send, security: Mapping[str, str], secure: bool) -> Send:
    """Wraps an answer, so that it carries the headers; `secure` says that the browser came by TLS."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            own_policy = headers.get("content-security-policy")
            for name, value in security.items():
                headers[name] = value
            if secure:
                headers["strict-transport-security"] = ONLY_TLS
            if headers.get("content-type", "").startswith(KEPT_BY_NOBODY):
                headers.setdefault("cache-control", "no-store")
            if own_policy:  # of a route of ours that allows less: a browser obeys both
                headers.append("content-security-policy", own_policy)
            message = {**message, "headers": headers.raw}
        await send(message)

    return send_with_headers
