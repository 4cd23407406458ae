"""Invites: one-time links that make an account, or set the password of one. Only hashes of tokens are stored."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, insert, select, update

from annotate_app.access import Actor, UserRole
from annotate_app.store.base import tables
from annotate_app.store.base.rights import checked_text
from annotate_app.store.people.accounts import WITHOUT_SIGN_IN, User, find_user, insert_user, require_user
from annotate_app.store.people.members import join_project
from annotate_app.store.people.sign_in import revoke, token_hash

INVITE_S = 72 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Invite:
    """The role and project of an invite; `name` is None if the invited choose it."""

    name: str | None
    role: UserRole


def find_invite(connection: Connection, token: str) -> Invite | None:
    """The invite of a token, None once it was used or is over."""
    row = connection.execute(select(tables.invite).where(*_fresh(token))).first()
    return None if row is None else Invite(name=row.name, role=row.role)


def insert_invite(
    connection: Connection, actor: Actor, *, role: UserRole, name: str | None, project_id: int | None, group: str
) -> str:
    """A new invite's token. For the name of an account that exists it is a link to set a new password, by admins only.

    Raises:
        ValueError: if the name belongs to an account that the actor may not reset or that never signs in.
    """
    if name is not None:
        name = checked_text(name.strip(), "user name", 120)
        user = find_user(connection, name)
        if user is not None and (actor.role != "admin" or user.origin in WITHOUT_SIGN_IN):
            raise ValueError(f"there is a user named {name!r} already")
    now = time.time()
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(tables.invite).values(
            token_hash=token_hash(token),
            name=name,
            role=role,
            project_id=project_id,
            group_name=checked_text(group, "group", 64, empty=True),
            created_by=actor.user_id,
            created_at=now,
            expires_at=now + INVITE_S,
        )
    )
    return token


def redeem(connection: Connection, token: str, name: str, password_hash: str) -> User:
    """Uses an invite up: makes the account it is for, or sets its password, and lets it into the project.

    Raises:
        ValueError: if the invite is unknown, used or over, was made for somebody else, or the name is taken.
    """
    chosen = tables.invite.c.token_hash == token_hash(token)
    if connection.execute(update(tables.invite).where(*_fresh(token)).values(used_at=time.time())).rowcount == 0:
        raise ValueError("this invite is unknown, used already, or older than three days: ask for a new one")
    invite = connection.execute(select(tables.invite).where(chosen)).one()
    name = name.strip()
    if invite.name is not None and name not in ("", invite.name):
        raise ValueError(f"this invite is for {invite.name!r}, not for {name!r}")
    user = find_user(connection, invite.name or name)
    if user is None:
        user = insert_user(connection, invite.name or name, role=invite.role, password_hash=password_hash)
    elif invite.name is not None and _made_by_admin(connection, invite.created_by) and user.active:
        if user.origin in WITHOUT_SIGN_IN:
            raise ValueError(f"{user.name} is {user.origin} and never signs in")
        connection.execute(update(tables.user).where(tables.user.c.id == user.id).values(password_hash=password_hash))
        revoke(connection, tables.session.c.user_id == user.id)
        user = require_user(connection, user.id)
    else:
        raise ValueError(f"there is a user named {name or invite.name!r} already")
    if invite.project_id is not None:
        join_project(connection, invite.project_id, user.id, invite.group_name)
    return user


def _fresh(token: str) -> tuple[ColumnElement[bool], ...]:
    columns = tables.invite.c
    return columns.token_hash == token_hash(token), columns.used_at.is_(None), columns.expires_at > time.time()


def _made_by_admin(connection: Connection, created_by: int | None) -> bool:
    return created_by is None or require_user(connection, created_by).role == "admin"
