"""Reads the member at work on a project, and locks the row on PostgreSQL, at the start of each transaction."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select, text, update

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.people.crowd_visits import VisitAtWork
from annotate_app.store.schema import tables
from annotate_app.store.work.queue_cursor import Place
from annotate_app.words import say

_rubric = tables.rubric.c
_SEAT = (
    select(
        tables.membership.c.group_name.label("member_group"),
        tables.membership.c.state,
        tables.membership.c.state_since,
        tables.user.c.name.label("user"),
        tables.user.c.active,
        tables.user.c.origin,
        tables.project.c.name.label("project"),
        tables.project.c.design,
        tables.project.c.archived,
        tables.place,
        tables.returns.c.num_returns,
        select(func.max(_rubric.version))
        .where(_rubric.project_id == bindparam("of_project"))
        .scalar_subquery()
        .label("rubric_version"),
    )
    .select_from(tables.membership)
    .join(tables.user, tables.user.c.id == tables.membership.c.user_id)
    .join(tables.project, tables.project.c.id == tables.membership.c.project_id)
    .outerjoin(
        tables.place,
        (tables.place.c.project_id == tables.membership.c.project_id)
        & (tables.place.c.user_id == tables.membership.c.user_id),
    )
    .outerjoin(tables.returns, tables.returns.c.project_id == tables.membership.c.project_id)
    .where(
        tables.membership.c.project_id == bindparam("of_project"), tables.membership.c.user_id == bindparam("of_user")
    )
)
_MAKE_PLACE = text(
    "INSERT INTO place (project_id, user_id, group_name, num_leased, num_judged, cursor_rank, cursor_slot, "
    "cursor_returned) VALUES (:of_project, :of_user, '', 0, 0, :start, 0, 0) "
    "ON CONFLICT (project_id, user_id) DO NOTHING"
)
_LOCK_PLACE = (
    select(tables.place.c.user_id)
    .where(tables.place.c.project_id == bindparam("of_project"), tables.place.c.user_id == bindparam("of_user"))
    .with_for_update()
)
_SAVE_PLACE = (
    update(tables.place)
    .where(tables.place.c.project_id == bindparam("of_project"), tables.place.c.user_id == bindparam("of_user"))
    .values(
        group_name=bindparam("new_group"),
        num_leased=bindparam("new_leased"),
        num_judged=bindparam("new_judged"),
        cursor_rank=bindparam("new_rank"),
        cursor_slot=bindparam("new_slot"),
        cursor_returned=bindparam("new_returned"),
    )
)


class NoSeatError(AccessError):
    """Raised where somebody cannot work on a project; `in_language` is meant for them.

    Attributes:
        key: of the message among the interface's texts, without its section `no_seat`.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)

    def in_language(self, language: str) -> str:
        """Why, in a language."""
        return say(language, f"no_seat.{self.key}")


@dataclass(kw_only=True)
class Seat:
    """A member at work: who they are, how the project collects, and their place in its queue.

    Attributes:
        is_crowd: whether the member came by a crowd link, and works for what that asks for.
        visit: under which such a member works; None until `leasing.read_visit`, and without an open one.
    """

    actor: Actor
    user: str
    state: str
    state_since: float
    project: str
    design: Design
    rubric_version: int
    place: Place
    is_crowd: bool
    visit: VisitAtWork | None = None

    @property
    def project_id(self) -> int:
        return self.place.project_id

    @property
    def user_id(self) -> int:
        return self.place.user_id

    @property
    def may_work(self) -> bool:
        """Whether this person is given pairs."""
        return self.state in ("qualifying", "active")


def take_seat(connection: Connection, actor: Actor, project_id: int, action: str, *, writing: bool = True) -> Seat:
    """Reads who is at work, and keeps other transactions of the same person out until this one ends.

    Args:
        writing: False only reads: no lock, and an archived project is no obstacle.

    Raises:
        AccessError: for the command line.
        NoSeatError: unless the actor is a member with an active account, and to write in an archived project.
    """
    if actor.user_id is None:
        raise AccessError(f"{action}: the command line has no work of its own")
    keys = {"of_project": project_id, "of_user": actor.user_id}
    if writing and connection.dialect.name != "sqlite":
        connection.execute(_LOCK_PLACE, keys)
    row = connection.execute(_SEAT, keys).first()
    if row is None:
        raise NoSeatError("no_member", f"{action}: {actor.name} is not a member of project {project_id}")
    if not row.active:
        raise NoSeatError("switched_off", f"{action}: the account {row.user} is switched off")
    if writing and row.archived:
        raise NoSeatError("archived", f"{action}: the project {row.project} is archived")
    if writing and row.user_id is None:
        connection.execute(_MAKE_PLACE, keys | {"start": tables.QUEUE_START})
        return take_seat(connection, actor, project_id, action)
    place = Place(
        project_id=project_id, user_id=actor.user_id, group=row.member_group, num_returns=row.num_returns or 0
    )
    if row.user_id is not None:
        place.num_leased, place.num_judged = row.num_leased, row.num_judged
        if row.group_name == row.member_group:
            place.cursor_rank, place.cursor_slot = row.cursor_rank, row.cursor_slot
            place.cursor_returned = row.cursor_returned
    return Seat(
        actor=actor,
        user=row.user,
        state=row.state,
        state_since=row.state_since,
        project=row.project,
        design=Design.from_dict(row.design),
        rubric_version=row.rubric_version or 0,
        place=place,
        is_crowd=row.origin == "crowd",
    )


def save_place(connection: Connection, place: Place) -> None:
    """Writes the counters and cursors back, once at the end of a transaction."""
    connection.execute(
        _SAVE_PLACE,
        {
            "of_project": place.project_id,
            "of_user": place.user_id,
            "new_group": place.group,
            "new_leased": place.num_leased,
            "new_judged": place.num_judged,
            "new_rank": place.cursor_rank,
            "new_slot": place.cursor_slot,
            "new_returned": place.cursor_returned,
        },
    )
