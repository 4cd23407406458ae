"""Signing in: counting attempts, checking passwords, sessions. Only hashes of tokens are stored."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.people.account_names import MAX_LENGTH, stored_name
from annotate_app.store.people.accounts import WITHOUT_SIGN_IN, User, find_typed, password_matches, read_user
from annotate_app.store.schema import tables

SESSION_S = 7 * 86_400.0
WINDOW_S = 15 * 60.0
# Failed attempts allowed within the window: on an account from one address, on an account, from an address.
LIMITS = {"account and address": 5, "account": 20, "address": 50}


class RateLimitError(PermissionError):
    """Too many failed attempts; `seconds` from now another is allowed."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many attempts, try again in {seconds} s")
        self.seconds = seconds


def token_hash(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_password(database: Database, name: str, password: str, address: str) -> User | None:
    """The active user of a name and password, None where they do not match.

    The attempt is written down before the password is looked at, so that attempts made at once all count.

    Raises:
        RateLimitError: after too many failed attempts on the account or from the address.
    """
    account, address = name.strip()[:MAX_LENGTH].replace("\x00", ""), address[:64].replace("\x00", "")
    with database.read() as connection:
        user = find_typed(connection, account)
    account = user.name if user is not None else stored_name(account)[:MAX_LENGTH]
    with database.write() as connection:
        attempt = _count_attempt(connection, account, address)
    with database.read() as connection:
        wait = _seconds_to_wait(connection, account, address)
        row = connection.execute(select(tables.user).where(tables.user.c.name == account)).first()
    if wait > 0:
        with database.write() as connection:  # a refused attempt does not prolong the wait
            connection.execute(delete(tables.sign_in_attempt).where(tables.sign_in_attempt.c.id == attempt))
        raise RateLimitError(wait)
    if not password_matches(row.password_hash if row else None, password):
        return None
    if row is None or not row.active or row.origin in WITHOUT_SIGN_IN:
        return None
    columns = tables.sign_in_attempt.c
    with database.write() as connection:
        connection.execute(delete(tables.sign_in_attempt).where(columns.account == account, columns.address == address))
    return read_user(row)


def start_session(database: Database, user: User) -> str:
    """A new session's token; the account must be one that signs in."""
    if user.origin in WITHOUT_SIGN_IN or not user.active:
        raise ValueError(f"{user.name} cannot sign in")
    with database.write() as connection:
        return insert_session(connection, user.id, SESSION_S)


def insert_session(connection: Connection, user_id: int, lasts_s: float) -> str:
    """The token of a new session of an account; whether it may have one is for the caller to know."""
    token = secrets.token_urlsafe(32)
    now = time.time()
    connection.execute(delete(tables.session).where(tables.session.c.expires_at < now))
    values = {"user_id": user_id, "created_at": now, "expires_at": now + lasts_s}
    connection.execute(insert(tables.session).values(token_hash=token_hash(token), **values))
    return token


def session_user(database: Database, token: str) -> User | None:
    """The user of a session that has neither ended nor been revoked, with the role they have now."""
    query = (
        select(tables.user)
        .join(tables.session, tables.session.c.user_id == tables.user.c.id)
        .where(
            tables.session.c.token_hash == token_hash(token),
            tables.session.c.expires_at > time.time(),
            tables.session.c.revoked_at.is_(None),
            tables.user.c.active,
        )
    )
    with database.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else read_user(row)


def revoke(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Ends sessions; the number of those that were open."""
    chosen = update(tables.session).where(condition, tables.session.c.revoked_at.is_(None))
    return connection.execute(chosen.values(revoked_at=time.time())).rowcount


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt that was counted before anything was looked at."""

    account: str
    address: str

    def forgive(self, connection: Connection) -> None:
        """Takes back the attempts of this account from this address: it came in."""
        columns = tables.sign_in_attempt.c
        chosen = (columns.account == self.account, columns.address == self.address)
        connection.execute(delete(tables.sign_in_attempt).where(*chosen))


@contextmanager
def limited(database: Database, account: str, address: str) -> Iterator[Attempt]:
    """Counts an attempt under the limits of sign-in; the block does what was attempted.

    Raises:
        RateLimitError: after too many attempts on the account or from the address.
    """
    account, address = account[:MAX_LENGTH], address[:64].replace("\x00", "")
    with database.write() as connection:
        number = _count_attempt(connection, account, address)
        wait = _seconds_to_wait(connection, account, address)
        if wait > 0:  # a refused attempt does not prolong the wait
            connection.execute(delete(tables.sign_in_attempt).where(tables.sign_in_attempt.c.id == number))
    if wait > 0:
        raise RateLimitError(wait)
    yield Attempt(account=account, address=address)


def _count_attempt(connection: Connection, account: str, address: str) -> int:
    now = time.time()
    columns = tables.sign_in_attempt.c
    connection.execute(delete(tables.sign_in_attempt).where(columns.at < now - WINDOW_S))
    return insert_row(connection, tables.sign_in_attempt, account=account, address=address, at=now)


def _seconds_to_wait(connection: Connection, account: str, address: str) -> int:
    """Seconds until an attempt is allowed again, 0 where it is now; the attempt asked about is counted already."""
    columns = tables.sign_in_attempt.c
    conditions = {
        "account and address": (columns.account == account, columns.address == address),
        "account": (columns.account == account,),
        "address": (columns.address == address,),
    }
    now = time.time()
    wait = 0.0
    for name, limit in LIMITS.items():
        recent = (*conditions[name], columns.at >= now - WINDOW_S)
        if connection.execute(select(func.count()).where(*recent)).scalar_one() > limit:
            # allowed again when all but `limit - 1` of the earlier ones are out of the window
            turn = select(columns.at).where(*recent).order_by(columns.at.desc()).offset(limit).limit(1)
            wait = max(wait, connection.execute(turn).scalar_one() + WINDOW_S - now)
    return math.ceil(wait)
