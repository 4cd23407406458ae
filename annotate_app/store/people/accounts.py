"""Rows of accounts and their passwords; who may ask is checked by `people`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Connection, Row, select

from annotate_app.access import ROLES, UserRole
from annotate_app.store.base.database import insert_row
from annotate_app.store.base.rights import checked_text
from annotate_app.store.people.account_names import MAX_LENGTH, checked_name, stored_name
from annotate_app.store.schema import tables

Origin = Literal["local", "oidc", "proxy", "simulated", "imported"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)
WITHOUT_SIGN_IN: tuple[Origin, ...] = ("simulated", "imported")
PASSWORD_LENGTHS = (8, 1024)


@dataclass(frozen=True, kw_only=True)
class User:
    """An account, without its password.

    Attributes:
        origin: how it signs in (`local` password, `oidc`, `proxy`), or why it never does (`simulated`, `imported`).
        active: whether it may sign in at all.
        has_password: whether a password is set.
        language: of the pages, empty where the browser's counts.
    """

    id: int
    name: str
    role: UserRole
    origin: Origin
    active: bool
    has_password: bool
    created_at: float
    language: str = ""


def read_user(row: Row) -> User:
    """A user from a row of the table."""
    return User(
        id=row.id,
        name=row.name,
        role=row.role,
        origin=row.origin,
        active=row.active,
        has_password=row.password_hash is not None,
        created_at=row.created_at,
        language=row.language,
    )


def find_typed(connection: Connection, name: str) -> User | None:
    """The account of a name as somebody types it: of this very name, else of its stored form; None for none."""
    return find_user(connection, name) or find_user(connection, stored_name(name))


def find_user(connection: Connection, name: str) -> User | None:
    """The account of a name, None where there is none."""
    row = connection.execute(select(tables.user).where(tables.user.c.name == name)).first()
    return None if row is None else read_user(row)


def require_user(connection: Connection, user_id: int) -> User:
    """The account of an id; a ValueError where there is none."""
    row = connection.execute(select(tables.user).where(tables.user.c.id == user_id)).first()
    if row is None:
        raise ValueError(f"there is no user {user_id}")
    return read_user(row)


def insert_user(
    connection: Connection,
    name: str,
    *,
    role: UserRole,
    password_hash: str | None = None,
    origin: Origin = "local",
    active: bool = True,
) -> User:
    """Makes an account, closed where it is not `active`.

    The name of one that may sign in is held against `account_names`; those that files name stay as they are.

    Raises:
        ValueError: if the name is taken or cannot be stored, for an unknown role or origin, and for a password on an
            account that never signs in.
    """
    name = checked_text(name.strip(), "user name", MAX_LENGTH)
    check_role(role)
    if origin not in ORIGINS:
        raise ValueError(f"origin is {origin!r}, allowed are {', '.join(ORIGINS)}")
    if password_hash is not None and origin in WITHOUT_SIGN_IN:
        raise ValueError(f"{name} is {origin}: such an account never signs in and takes no password")
    if find_user(connection, name) is not None:
        raise ValueError(f"there is a user named {name!r} already")
    if active and origin not in WITHOUT_SIGN_IN:
        name = free_name(connection, name, role)
    values = {"password_hash": password_hash, "role": role, "origin": origin, "active": active}
    user_id = insert_row(connection, tables.user, name=name, created_at=time.time(), **values)
    return require_user(connection, user_id)


def free_name(connection: Connection, typed: str, role: UserRole) -> str:
    """The name that a new account of somebody who signs in gets; see `account_names.checked_name` for what is refused.

    Raises:
        ValueError: if the name cannot be had.
    """
    name = stored_name(typed)
    if find_user(connection, name) is not None:
        raise ValueError(f"there is a user named {name!r} already")
    columns = tables.user.c
    taken = select(columns.name).where(columns.origin.not_in(WITHOUT_SIGN_IN))
    return checked_name(typed, role, connection.execute(taken).scalars())


def check_role(role: str) -> None:
    """Raises ValueError for a role that does not exist."""
    if role not in ROLES:
        raise ValueError(f"role is {role!r}, allowed are {', '.join(ROLES)}")


def hash_password(password: str) -> str:
    """The argon2 hash of a password of allowed length."""
    least, most = PASSWORD_LENGTHS
    if not least <= len(password) <= most:
        raise ValueError(f"the password has {len(password)} characters, allowed are {least} to {most}")
    return _hasher().hash(password)


def password_matches(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one; takes the same time where there is none to compare with."""
    try:
        return _hasher().verify(password_hash or _nobodys_hash(), password) and password_hash is not None
    except (VerifyMismatchError, InvalidHashError):
        return False


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _nobodys_hash() -> str:
    return _hasher().hash("nobody signs in with this")
