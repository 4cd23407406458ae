"""Who is signed in: one store a process, and the users behind session tokens, re-read from the database every few seconds.

The door (`authentication`) and the pages share what lives here, so that a revoked session ends for both at once.
"""

from __future__ import annotations

import time
from functools import cache

from annotate_app.store.people import User
from annotate_app.store.store import Store

SECONDS_TRUSTED = 10.0
"""How long an answer of the database about a session is taken for granted."""

SESSION_HEADER = "x-tiebreak-session"
"""The request header by which the door tells the pages whose session it is; stripped from whatever comes in."""


class Sessions:
    """The users behind session tokens."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: dict[str, tuple[float, User | None]] = {}

    def user(self, token: str) -> User | None:
        """The active user whose session this is; None for an unknown, expired or revoked one."""
        if not token:
            return None
        now = time.monotonic()
        known = self._known.get(token)
        if known is not None and now - known[0] < SECONDS_TRUSTED:
            return known[1]
        user = self.store.people.session_user(token)
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[token] = (now, user)
        return user

    def forget(self) -> None:
        """Asks the database again from now on: after a role, an account or a session changed."""
        self._known.clear()


@cache
def open_store(url: str) -> Store:
    """The process's one store of a database."""
    return Store.open(url)


@cache
def open_sessions(url: str) -> Sessions:
    """The process's one table of sessions of a database."""
    return Sessions(open_store(url))
