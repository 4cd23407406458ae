"""Rows of membership and what hangs on them; who may ask is checked by `projects` and `people`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from annotate_app.access import UserRole
from annotate_app.protocol.collection_design import Design
from annotate_app.store.base.rights import checked_text
from annotate_app.store.base.slots import free_reserved, hold_places, release_slots
from annotate_app.store.people.accounts import check_role, find_user, insert_user
from annotate_app.store.schema import tables

MEMBER_STATES = ("qualifying", "active", "paused", "failed", "completed")
"""Who is `completed` came by a crowd link and has done what it asks for."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """Somebody's part in a project: the group that slots may ask for, and whether they may work (`MEMBER_STATES`)."""

    user_id: int
    name: str
    role: UserRole
    group: str
    state: str
    joined_at: float


@dataclass(frozen=True, kw_only=True)
class FormerMember:
    """Somebody's part in a project of another installation, as its export says; `joined_at` is unix time."""

    name: str
    role: UserRole
    group: str
    state: str
    joined_at: float

    def __post_init__(self) -> None:
        checked_text(self.name, "name", 120)
        check_role(self.role)
        checked_text(self.group, "group", 64, empty=True)
        _check_state(self.state)


def read_members(connection: Connection, project_id: int) -> list[Member]:
    """The members of a project by name."""
    columns, account = tables.membership.c, tables.user.c
    query = (
        select(
            account.id.label("user_id"),
            account.name,
            account.role,
            columns.group_name.label("group"),
            columns.state,
            columns.joined_at,
        )
        .join(tables.membership, account.id == columns.user_id)
        .where(columns.project_id == project_id)
        .order_by(account.name)
    )
    return [Member(**row) for row in connection.execute(query).mappings()]


def join_project(
    connection: Connection, project_id: int, user_id: int, group: str, state: str = "", *, by_link: bool = False
) -> str:
    """Makes somebody a member, or moves a member to another group; returns the user's name.

    Args:
        state: of a new member; "" means what the design asks for, a qualification or work.
        by_link: whether a crowd link of this very project lets them in. Its people come by an id that is no secret, so
            nothing else does.
    """
    checked_text(group, "group", 64, empty=True)
    columns = tables.user.c
    user = connection.execute(select(columns.name, columns.origin).where(columns.id == user_id)).first()
    if user is None:
        raise ValueError(f"there is no user {user_id}")
    name = user.name
    chosen = _chosen(project_id, user_id)
    before = connection.execute(select(tables.membership.c.group_name).where(*chosen)).scalar()
    if before is not None:
        if before != group:
            free_reserved(connection, project_id, user_id)  # it counts for the group that they are in
        connection.execute(update(tables.membership).where(*chosen).values(group_name=group))
        return name
    if user.origin == "crowd" and not by_link:
        raise ValueError(f"{name} comes from a crowd platform: only a crowd link of the project lets them in")
    if not state:
        design = connection.execute(select(tables.project.c.design).where(tables.project.c.id == project_id)).scalar()
        state = "qualifying" if Design.from_dict(design or {}).qualification_items else "active"
    connection.execute(
        insert(tables.membership).values(
            project_id=project_id, user_id=user_id, group_name=group, state=state, joined_at=time.time()
        )
    )
    return name


def change_member(connection: Connection, project_id: int, user_id: int, state: str) -> None:
    """Sets a member's state; who may not work any more gives back the pairs they hold."""
    _check_state(state)
    hold_places(connection, project_id)  # who answers a check now is about to change the same row
    changed = connection.execute(
        update(tables.membership).where(*_chosen(project_id, user_id)).values(state=state, state_since=time.time())
    )
    if changed.rowcount == 0:
        raise ValueError(f"user {user_id} is not a member of project {project_id}")
    if state in ("paused", "failed", "completed"):
        release_slots(connection, project_id, user_id)


def end_membership(connection: Connection, project_id: int, user_id: int) -> None:
    """Takes a member out, gives back the pairs they hold and frees what is kept for them; their judgments stay."""
    free_reserved(connection, project_id, user_id)
    if connection.execute(delete(tables.membership).where(*_chosen(project_id, user_id))).rowcount == 0:
        raise ValueError(f"user {user_id} is not a member of project {project_id}")
    release_slots(connection, project_id, user_id)


def insert_former(connection: Connection, project_id: int, former: Sequence[FormerMember], *, pseudonyms: bool) -> int:
    """Makes members of those who are none yet; returns the number of accounts made for it.

    An account of the name keeps its own role and its state. Without one, a pseudonym gets an account that never signs
    in, a name a closed one without a password, for an admin to open. Who may lead here is not for a file to say: such
    an account is an adjudicator's where the file has more.
    """
    num_made = 0
    members = {member.user_id for member in read_members(connection, project_id)}
    for person in former:
        user = find_user(connection, person.name.strip())
        if user is None:
            role = "annotator" if person.role == "annotator" else "adjudicator"
            origin = "imported" if pseudonyms else "local"
            user = insert_user(connection, person.name, role=role, origin=origin, active=pseudonyms)
            num_made += 1
        if user.id in members or user.origin == "crowd":  # a file does not let in who comes by a link
            continue
        members.add(user.id)
        row = {"group_name": person.group, "state": person.state, "joined_at": person.joined_at}
        connection.execute(insert(tables.membership).values(project_id=project_id, user_id=user.id, **row))
    return num_made


def _check_state(state: str) -> None:
    if state not in MEMBER_STATES:
        raise ValueError(f"state is {state!r}, allowed are {', '.join(MEMBER_STATES)}")


def _chosen(project_id: int, user_id: int):  # noqa: ANN202 (a pair of SQL conditions)
    return (tables.membership.c.project_id == project_id, tables.membership.c.user_id == user_id)
