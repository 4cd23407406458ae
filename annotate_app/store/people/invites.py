"""Invites: one-time links that make an account, or set the password of one. Only hashes of tokens are stored.

An invite lends its maker's rights to whoever opens it, so it is worth what the maker may do at that moment:
`require_right` is asked when it is made, listed and used, and `end_lapsed` ends what somebody may no longer make.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from annotate_app.access import AccessError, Actor, MissingError, TakenError, UserRole
from annotate_app.store.base.rights import checked_text, require_member
from annotate_app.store.people.account_names import stored_name
from annotate_app.store.people.accounts import (
    WITHOUT_SIGN_IN,
    User,
    find_typed,
    find_user,
    free_name,
    insert_user,
    require_user,
)
from annotate_app.store.people.api_tokens import end_tokens
from annotate_app.store.people.members import join_project
from annotate_app.store.people.sign_in import revoke, token_hash
from annotate_app.store.schema import tables
from annotate_app.store.schema.door_tables import api_token

INVITE_S = 72 * 3600.0
ID_LENGTH = 12
"""Hexadecimal digits of a token's hash that name its invite to people; the token cannot be told from them."""

GONE = "this invite is unknown, used already, ended, or older than three days: ask for a new one"


@dataclass(frozen=True, kw_only=True)
class Invite:
    """The role and project of an invite; `name` is None if the invited choose it."""

    name: str | None
    role: UserRole


@dataclass(frozen=True, kw_only=True)
class OpenInvite:
    """An invite that works now, as those see it who may end it; times are unix time in seconds.

    Attributes:
        id: names it in lists and when it is ended; its link cannot be made from it.
        name: of the account it is for, None if the invited choose.
        resets: whether that account exists, and the link sets a new password for it.
        project: name of the project it lets into, None for none.
        created_by: who made it.
    """

    id: str
    name: str | None
    role: UserRole
    resets: bool
    project: str | None
    group: str
    created_by: str
    created_at: float
    expires_at: float


def require_right(
    connection: Connection, actor: Actor, *, role: UserRole, name: str | None, project_id: int | None
) -> None:
    """Raises unless the actor may invite so: leads annotators and adjudicators into their projects, admins anybody.

    For the name of an account that exists it is a link to set a new password, by admins only.

    Raises:
        AccessError: if the actor may not invite to this role or project.
        ValueError: if the name belongs to an account that the actor may not reset or that never signs in.
    """
    below = role in ("annotator", "adjudicator") and project_id is not None
    actor.require("lead" if below else "admin", "inviting", project_id)
    if project_id is not None:
        require_member(connection, actor, project_id, "inviting", "lead")
    user = None if name is None else find_user(connection, name)
    if user is not None and (actor.role != "admin" or user.origin in WITHOUT_SIGN_IN):
        raise TakenError(f"there is a user named {user.name!r} already")


def find_invite(connection: Connection, token: str) -> Invite | None:
    """The invite of a token, None once it was used or is over, or its maker may not invite so any more."""
    row = connection.execute(select(tables.invite).where(_is_of(token), *_fresh())).first()
    return Invite(name=row.name, role=row.role) if row is not None and _holds(connection, row) else None


def read_invites(connection: Connection, actor: Actor, project_id: int | None = None) -> list[OpenInvite]:
    """The invites that work now and that the actor could have made, newest first; of one project where it is named."""
    columns, maker, project = tables.invite.c, tables.user.c, tables.project.c
    query = (
        select(tables.invite, maker.name.label("maker"), project.name.label("project"))
        .outerjoin(tables.user, maker.id == columns.created_by)
        .outerjoin(tables.project, project.id == columns.project_id)
        .where(*_fresh(), *([] if project_id is None else [columns.project_id == project_id]))
        .order_by(columns.created_at.desc())
    )
    return [
        OpenInvite(
            id=row.token_hash[:ID_LENGTH],
            name=row.name,
            role=row.role,
            resets=row.name is not None and find_user(connection, row.name) is not None,
            project=row.project,
            group=row.group_name,
            created_by=row.maker or Actor.command_line().name,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )
        for row in connection.execute(query).all()
        if _may_invite(connection, actor, row) and _holds(connection, row)
    ]


def end_invite(connection: Connection, actor: Actor, invite_id: str) -> Row:
    """Ends the invite of an id that `read_invites` gives; returns its row.

    Raises:
        ValueError: if there is none that works, or none that the actor could have made.
    """
    columns = tables.invite.c
    is_id = len(invite_id) == ID_LENGTH and invite_id.isalnum()
    query = select(tables.invite).where(columns.token_hash.startswith(invite_id, autoescape=True), *_fresh())
    for row in connection.execute(query).all() if is_id else ():
        if _may_invite(connection, actor, row):
            _end(connection, columns.token_hash == row.token_hash)
            return row
    raise MissingError(f"there is no open invite {invite_id!r}: it was used, has ended, or is not yours to end")


def end_lapsed(connection: Connection, user_id: int) -> None:
    """Ends the invites that somebody made and may not make any more: after a role, a membership, an account changed."""
    mine = select(tables.invite).where(tables.invite.c.created_by == user_id, *_fresh())
    for row in connection.execute(mine).all():
        if not _holds(connection, row):
            _end(connection, tables.invite.c.token_hash == row.token_hash)


def end_invites_for(connection: Connection, name: str) -> None:
    """Ends the links that set a password for the account of a name: after it was closed or has a new one."""
    _end(connection, tables.invite.c.name == name)


def insert_invite(
    connection: Connection, actor: Actor, *, role: UserRole, name: str | None, project_id: int | None, group: str
) -> str:
    """A new invite's token; the errors are those of `require_right`."""
    if name is not None and find_user(connection, name := name.strip()) is None:
        existing = find_typed(connection, name)
        name = free_name(connection, name, role) if existing is None else existing.name
    require_right(connection, actor, role=role, name=name, project_id=project_id)
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
        ValueError: if the invite is unknown, used or over, was made for somebody else, or the name is taken; if its
            maker may not invite so any more.
    """
    chosen = _is_of(token)
    if connection.execute(update(tables.invite).where(chosen, *_fresh()).values(used_at=time.time())).rowcount == 0:
        raise ValueError(GONE)
    invite = connection.execute(select(tables.invite).where(chosen)).one()
    _require_held(connection, invite)
    name = name.strip()
    if invite.name is not None and name != invite.name and stored_name(name) not in ("", invite.name):
        raise ValueError(f"this invite is for {invite.name!r}, not for {name!r}")
    user = find_user(connection, invite.name or name)
    if user is None:
        user = insert_user(connection, invite.name or name, role=invite.role, password_hash=password_hash)
    elif invite.name is not None and user.active:
        connection.execute(update(tables.user).where(tables.user.c.id == user.id).values(password_hash=password_hash))
        revoke(connection, tables.session.c.user_id == user.id)
        end_tokens(connection, api_token.c.user_id == user.id)
        end_invites_for(connection, user.name)
        user = require_user(connection, user.id)
    else:
        raise ValueError(f"there is a user named {name or invite.name!r} already")
    if invite.project_id is not None:
        join_project(connection, invite.project_id, user.id, invite.group_name)
    return user


def _is_of(token: str) -> ColumnElement[bool]:
    return tables.invite.c.token_hash == token_hash(token)


def _fresh() -> tuple[ColumnElement[bool], ...]:
    return tables.invite.c.used_at.is_(None), tables.invite.c.expires_at > time.time()


def _end(connection: Connection, condition: ColumnElement[bool]) -> None:
    connection.execute(update(tables.invite).where(condition, *_fresh()).values(expires_at=time.time()))


def _require_held(connection: Connection, invite: Row) -> None:
    """Raises unless the maker of an invite may invite so now."""
    actor = Actor.command_line()
    if invite.created_by is not None:
        maker = require_user(connection, invite.created_by)
        if not maker.active:
            raise ValueError(GONE)
        actor = Actor(user_id=maker.id, name=maker.name, role=maker.role)
    try:
        require_right(connection, actor, role=invite.role, name=invite.name, project_id=invite.project_id)
    except AccessError as error:
        raise ValueError(GONE) from error


def _holds(connection: Connection, invite: Row) -> bool:
    try:
        _require_held(connection, invite)
    except ValueError:
        return False
    return True


def _may_invite(connection: Connection, actor: Actor, invite: Row) -> bool:
    try:
        require_right(connection, actor, role=invite.role, name=invite.name, project_id=invite.project_id)
    except (AccessError, ValueError):
        return False
    return True
