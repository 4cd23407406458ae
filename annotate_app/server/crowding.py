"""How much of the server's memory one person, and all together, may hold by uploads and open tabs.

Streamlit keeps uploaded files in memory while their tab is open, and for a quarter of an hour after, and takes them at
an address that anybody with a session can reach, whether or not a page asks for a file. Here only the roles that have
such pages may use it, and sums are bounded; so are the WebSockets of an account, each of which holds what its page is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from annotate_app.access import ROLES
from annotate_app.store.people.accounts import User

UPLOAD_PATH = "/_stcore/upload_file"
UPLOADERS = ROLES[ROLES.index("lead") :]
"""Roles that have a page with an uploader."""
MEGABYTE = 2**20
MAX_FILE_MB = 200
PERSON_MB = 3 * MAX_FILE_MB
SERVER_MB = 6 * MAX_FILE_MB
MAX_TABS = 50
"""WebSockets of an account at the same time."""


class UploadedFile(Protocol):
    """A file in memory."""

    data: bytes


class UploadedFiles(Protocol):
    """Streamlit's uploaded files, as far as their sum needs it."""

    file_storage: Mapping[str, Mapping[str, UploadedFile]]
    """By the id of a tab's session, by the id of a file."""

    def remove_file(self, session_id: str, file_id: str) -> None:
        """Drops a file from memory."""
        ...


class Uploads:
    """Lets a file in where its sender may send one and there is room for it.

    Args:
        app: takes the file.
        files: where the files are.
    """

    def __init__(self, app: ASGIApp, files: Callable[[], UploadedFiles]) -> None:
        self.app = app
        self.files = files
        self._owners: dict[str, int] = {}  # by tab, whose files they are
        self._on_the_way: Counter[str] = Counter()  # bytes by tab

    async def __call__(self, scope: Scope, receive: Receive, send: Send, user: User) -> None:
        if user.role not in UPLOADERS:
            await PlainTextResponse(f"uploading asks for the role {UPLOADERS[0]}", 403)(scope, receive, send)
            return
        if scope["method"] != "PUT":
            await self.app(scope, receive, send)
            return
        tab = scope["path"].removeprefix(UPLOAD_PATH).strip("/").partition("/")[0]
        size = _size(scope)
        refusal = self._refuse(tab, size, user)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._on_the_way[tab] += size
        try:
            await self.app(scope, receive, send)
        finally:
            self._on_the_way[tab] -= size

    def _refuse(self, tab: str, size: int, user: User) -> Response | None:
        """An answer where there is no room; files that the tab sent before make some."""
        storage = self.files().file_storage
        held = Counter(
            {key: sum(len(file.data) for file in list(files.values())) for key, files in list(storage.items())}
        )
        self._on_the_way = +self._on_the_way
        held += self._on_the_way
        self._owners = {key: owner for key, owner in self._owners.items() if key in held} | {tab: user.id}
        mine = sum(held[key] for key, owner in self._owners.items() if owner == user.id)
        for file_id, file in list(storage.get(tab, {}).items()):
            if mine + size <= PERSON_MB * MEGABYTE:
                break
            self.files().remove_file(tab, file_id)
            mine -= len(file.data)
            held[tab] -= len(file.data)
        if mine + size > PERSON_MB * MEGABYTE:
            words = (
                f"your uploads take up the {PERSON_MB} MB that one person may hold: close other tabs, then wait 15 min"
            )
            return PlainTextResponse(words, 413)
        if held.total() + size > SERVER_MB * MEGABYTE:
            words = f"uploads take up the {SERVER_MB} MB that the server has for them: try again in 15 min"
            return PlainTextResponse(words, 503, headers={"retry-after": "900"})
        return None


def _size(scope: Scope) -> int:
    """Bytes that a request may bring: what it says, the most that is taken where it does not say."""
    said = Headers(scope=scope).get("content-length", "")
    most = MAX_FILE_MB * MEGABYTE
    return min(int(said), most) if said.isascii() and said.isdigit() else most


class Tabs:
    """Counts the open WebSockets of every account."""

    def __init__(self) -> None:
        self._num_open: Counter[int] = Counter()

    def is_full(self, user: User) -> bool:
        """Whether the account has as many as it may."""
        return self._num_open[user.id] >= MAX_TABS

    @contextmanager
    def opened(self, user: User) -> Iterator[None]:
        """Counts one while the block lasts."""
        self._num_open[user.id] += 1
        try:
            yield
        finally:
            self._num_open[user.id] -= 1
            self._num_open = +self._num_open
