"""Who is signed in: one store a process, and the users behind session tokens, re-read every few seconds.

The door (`authentication`) and the pages share what lives here, so that a revoked session ends for both at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

from annotate_app.access import Actor
from annotate_app.store.people.accounts import User
from annotate_app.store.store import Store

SECONDS_TRUSTED = 10.0
"""How long an answer of the database about a session is taken for granted."""

SESSION_HEADER = "x-tiebreak-session"
"""The request header by which the door tells the pages whose session it is; stripped from whatever comes in."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A cached database answer on a session, with its time (monotonic seconds)."""

    user: User | None
    at: float


class Sessions:
    """The users behind session tokens."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.single_user = ""  # name of the account that everybody is, in an app without sign-in
        self._answers: dict[str, Answer] = {}
        self._let_in: set[int] = set()  # projects that the single user was made a member of, or was found to be

    def known(self, token: str) -> Answer | None:
        """A cached answer that is recent enough to trust; None if there is none."""
        answer = self._answers.get(token)
        return answer if answer is not None and time.monotonic() - answer.at < SECONDS_TRUSTED else None

    def user(self, token: str) -> User | None:
        """The active user whose session this is; None for an unknown, expired or revoked one."""
        if not token:
            return None
        answer = self.known(token)
        if answer is None:
            answer = Answer(user=self.store.people.session_user(token), at=time.monotonic())
            if len(self._answers) > 10_000:
                self._answers.clear()
            self._answers[token] = answer
        return answer.user

    def start(self, name: str) -> str:
        """The token of a new session of an account that needs no password here; empty where there is none to open."""
        people = self.store.people
        user = people.by_name(Actor.command_line(), name)
        return people.start_session(user) if user is not None and user.active else ""

    def let_in(self, user: User, project_id: int) -> None:
        """Makes the user of an app without sign-in an active member of a project that they open.

        There is nobody else to do it: a project made on the command line has no members. Everybody else is let in by a
        lead, on the page People.
        """
        if user.name != self.single_user or project_id in self._let_in:
            return
        projects, actor = self.store.projects, self.store.people.actor_of(user)
        if user.id not in {member.user_id for member in projects.members(actor, project_id)}:
            projects.add_member(actor, project_id, user.id)
            projects.set_member_state(actor, project_id, user.id, "active")
        self._let_in.add(project_id)

    def forget(self) -> None:
        """Asks the database again from now on: after a role, an account or a session changed."""
        self._answers.clear()


@cache
def open_store(url: str) -> Store:
    """The process's one store of a database."""
    return Store.open(url)


@cache
def open_sessions(url: str) -> Sessions:
    """The process's one table of sessions of a database."""
    return Sessions(open_store(url))
