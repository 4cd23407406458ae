"""API tokens: what a program shows in place of a password. Only hashes are stored.

A token lends rights of its person: at any moment no more than the person has, no more than the role it was made with,
and, where it is for one project, nothing outside that. A token makes no tokens.
"""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, Select, select, update

from annotate_app.access import ROLES, AccessError, Actor, MissingError, UserRole
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.rights import checked_text, require_member
from annotate_app.store.people.accounts import WITHOUT_SIGN_IN, User, check_role, require_user
from annotate_app.store.people.sign_in import token_hash
from annotate_app.store.schema import tables
from annotate_app.store.schema.door_tables import api_token

PREFIX = "tiebreak_"
"""How every token begins, so that scanners of code find one that was left there."""
USED_EVERY_S = 60.0
"""A token's last use is written down at most so often."""


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """A token as its owner sees it; the words of it are shown once, when it is made.

    Attributes:
        user: name of the account whose rights it lends.
        project_id, project: the one project it is for, None for all that the person may open.
        expires_at: unix time, None for never; so the others, None where it has not happened.
    """

    id: int
    name: str
    user: str
    role: UserRole
    project_id: int | None
    project: str | None
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    revoked_at: float | None

    @property
    def works(self) -> bool:
        """Whether it has neither ended nor been revoked."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > time.time())


@dataclass(frozen=True, kw_only=True)
class NewApiToken:
    """A token that was just made: `secret` is what a program sends, and is told only here."""

    token: ApiToken
    secret: str


class ApiTokens:
    """Stores API tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        actor: Actor,
        name: str,
        *,
        role: UserRole,
        user_id: int | None = None,
        project_id: int | None = None,
        expires_at: float | None = None,
    ) -> NewApiToken:
        """Makes a token for oneself; the command line makes them for anybody.

        Args:
            actor: whose token it is.
            name: what it is for, in a few words.
            role: at most the person's.
            user_id: whose it is, where the command line asks.
            project_id: the one project it is for, which the person works on.
            expires_at: unix time at which it ends, None for never.

        Raises:
            AccessError: for somebody else's token, one made by a token, a role above the person's, or a project that
                is not theirs.
            ValueError: for an account that never signs in, a time that is over, or a token for one project with the
                role admin: an admin's rights belong to no project.
        """
        owner_id = actor.user_id if user_id is None else user_id
        if actor.token or (actor.user_id is not None and actor.user_id != owner_id):
            raise AccessError("making a token: each makes the own ones, signed in")
        if owner_id is None:
            raise ValueError("user is empty, allowed is the name of an account: the token lends its rights")
        check_role(role)
        checked_text(name.strip(), "token name", 120)
        if expires_at is not None and not (math.isfinite(expires_at) and expires_at > time.time()):
            raise ValueError(f"expires_at is {expires_at}, allowed is a time to come")
        if project_id is not None and role == "admin":
            raise ValueError("role is 'admin', allowed for a token of one project are annotator, adjudicator, lead")
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._database.write() as connection:
            owner = require_user(connection, owner_id)
            if not owner.active or owner.origin in WITHOUT_SIGN_IN:
                raise ValueError(f"{owner.name} cannot sign in, so no token acts for them")
            lent = _lent(owner, role)
            lent.require(role, "making a token")
            if project_id is not None:
                require_member(connection, lent, project_id, "making a token")
            token_id = insert_row(
                connection,
                api_token,
                token_hash=token_hash(secret),
                name=name.strip(),
                user_id=owner_id,
                role=role,
                project_id=project_id,
                created_at=time.time(),
                expires_at=expires_at,
            )
            detail = {"name": name.strip(), "role": role}
            audit.record(connection, actor, "token make", project_id=project_id, subject=owner.name, detail=detail)
            made = connection.execute(_select().where(api_token.c.id == token_id)).one()
            return NewApiToken(token=_read(made), secret=secret)

    def list(self, actor: Actor, *, everybodys: bool = False) -> list[ApiToken]:
        """The own tokens, newest first, also those that ended; everybody's for admins."""
        query = _select().order_by(api_token.c.id.desc())
        if everybodys:
            actor.require("admin", "listing the tokens of others")
        else:
            query = query.where(api_token.c.user_id == actor.user_id)
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query)]

    def revoke(self, actor: Actor, token_id: int) -> None:
        """Ends a token at once: one's own, or for admins anybody's.

        Raises:
            MissingError: if there is none that works, or it is not the actor's to end.
        """
        with self._database.write() as connection:
            row = connection.execute(_select().where(api_token.c.id == token_id)).first()
            is_mine = row is not None and (row.user_id == actor.user_id or actor.role == "admin")
            if row is None or not is_mine or not end_tokens(connection, api_token.c.id == token_id):
                raise MissingError(f"there is no token {token_id} that works and is yours to end")
            detail = {"name": row.name}
            audit.record(connection, actor, "token revoke", project_id=row.project_id, subject=row.user, detail=detail)

    def use(self, secret: str) -> tuple[Actor, ApiToken] | None:
        """Who acts by a token now; None for one that is unknown or has ended. Whoever holds it may ask."""
        now = time.time()
        fresh = (api_token.c.revoked_at.is_(None), tables.user.c.active)
        with self._database.read() as connection:
            row = connection.execute(_select().where(api_token.c.token_hash == token_hash(secret), *fresh)).first()
        if row is None or not (row.expires_at is None or row.expires_at > now):
            return None
        if row.last_used_at is None or row.last_used_at < now - USED_EVERY_S:
            with self._database.write() as connection:
                connection.execute(update(api_token).where(api_token.c.id == row.id).values(last_used_at=now))
        role = _lesser(row.role, row.user_role)
        actor = Actor(
            user_id=row.user_id, name=row.user, role=role, only_project=row.project_id, token=row.name or PREFIX
        )
        return actor, _read(row)


def end_tokens(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Ends tokens; the number of those that worked."""
    now = time.time()
    works = (api_token.c.revoked_at.is_(None), (api_token.c.expires_at.is_(None)) | (api_token.c.expires_at > now))
    return connection.execute(update(api_token).where(condition, *works).values(revoked_at=now)).rowcount


def end_tokens_above(connection: Connection, user_id: int, role: UserRole) -> int:
    """Ends the tokens of an account that lend more than a role, so that none comes back when the role does."""
    above = ROLES[ROLES.index(role) + 1 :]
    return end_tokens(connection, (api_token.c.user_id == user_id) & api_token.c.role.in_(above))


def _lesser(one: UserRole, other: UserRole) -> UserRole:
    return one if ROLES.index(one) <= ROLES.index(other) else other


def _lent(owner: User, role: UserRole) -> Actor:
    """The owner as the token lets them act, as far as the owner's role reaches."""
    return Actor(user_id=owner.id, name=owner.name, role=_lesser(role, owner.role))


def _select() -> Select:
    account, project = tables.user.c, tables.project.c
    return (
        select(
            api_token,
            account.name.label("user"),
            account.role.label("user_role"),
            project.name.label("project"),
        )
        .join(tables.user, account.id == api_token.c.user_id)
        .outerjoin(tables.project, project.id == api_token.c.project_id)
    )


def _read(row: Row) -> ApiToken:
    return ApiToken(
        id=row.id,
        name=row.name,
        user=row.user,
        role=row.role,
        project_id=row.project_id,
        project=row.project,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
