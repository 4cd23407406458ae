"""The page that every tab of the app begins with: Streamlit's own, told where its server is, in a language.

Streamlit looks for its server by trying: two requests that end in 404 at each load of a page that is not the first one.

It opens a page under its bare address and adds the project in a second step of the browser's history, where Back would
lead from the page to itself: an address that gains its project stays the step that it was.
"""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_KNOWN = "window.prerenderReady = false"
_TOLD = (
    f"{_KNOWN}\n"
    + """\
      window.__streamlit = { BACKEND_BASE_URL: window.location.origin }
      const push = history.pushState
      history.pushState = (state, title, address) => {
        const here = new URL(location), next = new URL(address, location)
        const named = [here, next].map((at) => at.searchParams.has("project"))
        const gained = here.pathname === next.pathname && !named[0] && named[1]
        ;(gained ? history.replaceState : push).call(history, state, title, address)
      }"""
)


class FirstPage:
    """What stands in the place of a page of Streamlit's."""

    def __init__(self, text: str) -> None:
        self._original = text.encode()
        self._told = text.replace(_KNOWN, _TOLD)

    @property
    def inline_scripts(self) -> list[str]:
        """The scripts written into it, each the only ones that may run so."""
        return _SCRIPT.findall(self._told)

    def text(self, language: str) -> bytes:
        """The page in the language whose code is given."""
        return self._told.replace('<html lang="en">', f'<html lang="{language}">', 1).encode()

    def put_in_place(self, send: Send, language: str) -> Send:
        """Wraps the answer to a browser that asks for a page: Streamlit's own is replaced, all else passes."""
        start: list[Message] = []
        body: list[bytes] = []

        async def replace(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = MutableHeaders(raw=list(message["headers"]))
                if headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers:
                    start.append(message)
                    return
            if message["type"] != "http.response.body" or not start:
                await send(message)
                return
            body.append(message.get("body", b""))
            if message.get("more_body"):
                return
            whole = b"".join(body)
            whole = self.text(language) if whole == self._original else whole
            headers = MutableHeaders(raw=list(start[0]["headers"]))
            headers["content-length"] = str(len(whole))
            for name in ("etag", "last-modified"):
                del headers[name]
            await send({**start[0], "headers": headers.raw})
            await send({"type": "http.response.body", "body": whole})

        return replace
