"""Checks rights on a project inside the store's own transactions, and texts before they are stored."""

from __future__ import annotations

from sqlalchemy import Connection, select

from annotate_app.access import AccessError, Actor, MissingError, UserRole
from annotate_app.protocol.collection_design import Design
from annotate_app.store.schema.tables import membership, project


def require_member(
    connection: Connection, actor: Actor, project_id: int, action: str, role: UserRole = "annotator"
) -> None:
    """Lets through who has the role and is a member of the project; admins are members everywhere.

    Raises:
        AccessError: for everybody else, whether or not the project exists.
        MissingError: for an admin, if there is no such project.
    """
    actor.require(role, action, project_id)
    if actor.role == "admin":
        if connection.execute(select(project.c.id).where(project.c.id == project_id)).first() is None:
            raise MissingError(f"there is no project {project_id}")
        return
    mine = select(membership.c.user_id).where(
        membership.c.project_id == project_id, membership.c.user_id == actor.user_id
    )
    if connection.execute(mine).first() is None:
        raise AccessError(f"{action}: {actor.name} is not a member of project {project_id}")


def lock_design(connection: Connection, project_id: int) -> Design:
    """The project's design, with its row locked against other writers until the transaction ends (PostgreSQL)."""
    query = select(project.c.design).where(project.c.id == project_id).with_for_update(key_share=True)
    return Design.from_dict(connection.execute(query).scalar_one())


def checked_text(value: str, name: str, limit: int, *, empty: bool = False) -> str:
    """Returns a text unchanged if it fits its column on every database.

    Raises:
        ValueError: if it is empty (unless allowed), longer than `limit` characters, or holds what no database stores.
    """
    if not empty and not value.strip():
        raise ValueError(f"{name} is empty")
    if len(value) > limit:
        raise ValueError(f"{name} has {len(value)} characters, allowed are {limit}: {value[:40]!r}...")
    checked_content(value, name)
    return value


def checked_content(value: str, name: str) -> None:
    """Raises ValueError for NUL characters and lone surrogates, which no database stores."""
    if "\x00" in value:
        raise ValueError(f"{name} holds a NUL character at position {value.index(chr(0))}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is not valid Unicode at position {error.start}") from error
