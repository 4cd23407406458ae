"""Projects: their design, the versions of their rubric, their members and how far they are."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, insert, select, update

from annotate_app.access import Actor, MissingError, TakenError
from annotate_app.protocol import rubric as rubric_language
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.rights import checked_content, checked_text, lock_design, require_member
from annotate_app.store.base.slots import remake_slots
from annotate_app.store.people.invites import end_lapsed
from annotate_app.store.people.members import (
    FormerMember,
    Member,
    change_member,
    end_membership,
    insert_former,
    join_project,
    read_members,
)
from annotate_app.store.projects.first_steps import KEPT, FirstSteps, read_first_steps
from annotate_app.store.projects.further import refuse_comparing
from annotate_app.store.projects.progress import Progress, read_progress
from annotate_app.store.projects.stepped import refuse_task
from annotate_app.store.schema import tables


@dataclass(frozen=True, kw_only=True)
class RubricVersion:
    """One version of a project's rubric: its YAML and what it says; `created_by` is a name."""

    version: int
    text: str
    rubric: Rubric
    created_at: float
    created_by: str


def insert_rubric(connection: Connection, actor: Actor, project_id: int, version: int, text: str) -> None:
    """Appends a version; its text has been parsed before."""
    checked_content(text, "rubric")
    connection.execute(
        insert(tables.rubric).values(
            project_id=project_id, version=version, text=text, created_by=actor.user_id, created_at=time.time()
        )
    )


def read_rubrics(connection: Connection, project_id: int, version: int | None = None) -> list[RubricVersion]:
    """The versions of a project's rubric, oldest first; only one where it is named."""
    columns = tables.rubric.c
    query = (
        select(columns.version, columns.text, columns.created_at, tables.user.c.name)
        .outerjoin(tables.user, tables.user.c.id == columns.created_by)
        .where(columns.project_id == project_id)
        .order_by(columns.version)
    )
    if version is not None:
        query = query.where(columns.version == version)
    return [
        RubricVersion(
            version=row.version,
            text=row.text,
            rubric=rubric_language.parse_rubric(row.text, f"rubric version {row.version}"),
            created_at=row.created_at,
            created_by=row.name or "command line",
        )
        for row in connection.execute(query)
    ]


def newest_version(connection: Connection, project_id: int) -> tuple[int, str]:
    """The number and the text of the newest version."""
    columns = tables.rubric.c
    query = select(columns.version, columns.text).where(columns.project_id == project_id)
    row = connection.execute(query.order_by(columns.version.desc()).limit(1)).one()
    return row.version, row.text


MOST_DIGITS = 18
"""Of an id that every database can look for."""
_NUMBERED = re.compile("#[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project as its members see it; `simulated` projects hold made-up judgments and say so."""

    id: int
    name: str
    description: str
    design: Design
    simulated: bool
    archived: bool
    created_at: float

    @property
    def number(self) -> str:
        """What commands call it by when it must be this one, whatever it or another is named by then."""
        return f"#{self.id}"


class Projects:
    """Stores projects, their rubrics and members."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        actor: Actor,
        name: str,
        *,
        rubric_text: str,
        design: Design,
        description: str = "",
        simulated: bool = False,
    ) -> Project:
        """Makes a project with version 1 of its rubric; who makes it becomes a member. Lead or above.

        Raises:
            ValueError: if the name is taken, or the rubric has a mistake.
        """
        actor.require("lead", "creating a project")
        design.check_size()
        checked_content(description, "description")
        rubric_language.parse_rubric(rubric_text, f"rubric of {name}")
        with self._database.write() as connection:
            name = _free_name(connection, name)
            values = {"description": description, "design": design.as_dict(), "simulated": simulated}
            project_id = insert_row(connection, tables.project, name=name, created_at=time.time(), **values)
            key = secrets.token_hex(32)
            connection.execute(insert(tables.pseudonym_key).values(project_id=project_id, key=key))
            insert_rubric(connection, actor, project_id, 1, rubric_text)
            if actor.user_id is not None:
                join_project(connection, project_id, actor.user_id, "", "active")
            audit.record(connection, actor, "project create", project_id=project_id, subject=name)
            return _project(_row(connection, project_id))

    def get(self, actor: Actor, name_or_id: str | int) -> Project:
        """The project of a name, or of an id (also as digits) where no name matches; `#7` is the id 7, never a name.

        Raises:
            ValueError: if there is none.
            AccessError: if the actor is not a member of it.
        """
        with self._database.read() as connection:
            numbered = isinstance(name_or_id, str) and _NUMBERED.fullmatch(name_or_id)
            row = _by_name(connection, name_or_id) if isinstance(name_or_id, str) and not numbered else None
            digits = str(name_or_id).removeprefix("#") if numbered else str(name_or_id)
            if row is None and digits.isdecimal() and len(digits) <= MOST_DIGITS:
                row = connection.execute(select(tables.project).where(tables.project.c.id == int(digits))).first()
            if row is None and isinstance(name_or_id, int):  # as for one that is there, to who is no member
                require_member(connection, actor, name_or_id, "opening the project")
            if row is None:
                raise MissingError(f"there is no project {name_or_id!r}")
            require_member(connection, actor, row.id, "opening the project")
            return _project(row)

    def update(
        self,
        actor: Actor,
        project_id: int,
        *,
        name: str | None = None,
        design: Design | None = None,
        description: str | None = None,
        archived: bool | None = None,
    ) -> Project:
        """Changes what is given. A new design re-makes the open slots and their order. Lead or above.

        Raises:
            ValueError: if another project has the name.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "changing the project", "lead")
            before = lock_design(connection, project_id)
            if design is not None and _queue(design) != _queue(before):
                design.check_size()
            values: dict[str, object] = {}
            if name is not None:
                values["name"] = _free_name(connection, name, project_id)
            if design is not None:
                values["design"] = design.as_dict()
            if description is not None:
                checked_content(description, "description")
                values["description"] = description
            if archived is not None:
                values["archived"] = archived
            if values:
                connection.execute(update(tables.project).where(tables.project.c.id == project_id).values(**values))
                audit.record(connection, actor, "project update", project_id=project_id, detail=values)
            if design is not None and _queue(design) != _queue(before):
                remake_slots(connection, project_id, design)
            return _project(_row(connection, project_id))

    def save_rubric(self, actor: Actor, project_id: int, text: str) -> RubricVersion:
        """Stores a new version of the rubric; the same text as the newest makes none. Lead or above.

        Raises:
            ValueError: if the text has a mistake, with its line.
        """
        task = rubric_language.parse_rubric(text, "rubric").task
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "saving the rubric", "lead")
            lock_design(connection, project_id)
            refuse_comparing(connection, project_id, task)
            refuse_task(connection, project_id, task)
            version, newest = newest_version(connection, project_id)
            if newest != text:
                version += 1
                insert_rubric(connection, actor, project_id, version, text)
                audit.record(connection, actor, "rubric save", project_id=project_id, detail={"version": version})
            return read_rubrics(connection, project_id, version)[0]

    def rubric(self, actor: Actor, project_id: int, version: int | None = None) -> RubricVersion:
        """One version of the rubric, the newest when none is named."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading the rubric")
            wanted = newest_version(connection, project_id)[0] if version is None else version
            rubrics = read_rubrics(connection, project_id, wanted)
        if not rubrics:
            raise MissingError(f"the rubric has no version {version}")
        return rubrics[0]

    def rubrics(self, actor: Actor, project_id: int) -> list[RubricVersion]:
        """All versions of the rubric, oldest first."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading the rubric")
            return read_rubrics(connection, project_id)

    def members(self, actor: Actor, project_id: int) -> list[Member]:
        """Who works on the project, by name. Adjudicator or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "listing members", "adjudicator")
            return read_members(connection, project_id)

    def add_member(self, actor: Actor, project_id: int, user_id: int, group: str = "") -> None:
        """Lets somebody work on the project, or moves a member to another group. Lead or above.

        Where the design asks for a qualification, a new member begins with it.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "adding a member", "lead")
            name = join_project(connection, project_id, user_id, group)
            audit.record(connection, actor, "member add", project_id=project_id, subject=name, detail={"group": group})

    def import_members(self, actor: Actor, project_id: int, former: Sequence[FormerMember], *, pseudonyms: bool) -> int:
        """Lets in those who worked on the project elsewhere; see `members.insert_former`. Lead or above.

        Args:
            pseudonyms: whether the names are such, so that nobody will ever sign in by them.

        Returns:
            The number of accounts made for it.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "importing members", "lead")
            num_made = insert_former(connection, project_id, former, pseudonyms=pseudonyms)
            detail = {"num_members": len(former), "num_accounts": num_made}
            audit.record(connection, actor, "members import", project_id=project_id, detail=detail)
        return num_made

    def set_member_state(self, actor: Actor, project_id: int, user_id: int, state: str) -> None:
        """Sets a member qualifying, active, paused or failed. Lead or above."""
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "changing a member", "lead")
            change_member(connection, project_id, user_id, state)
            detail = {"user_id": user_id, "state": state}
            audit.record(connection, actor, "member state", project_id=project_id, detail=detail)

    def remove_member(self, actor: Actor, project_id: int, user_id: int) -> None:
        """Ends somebody's part in the project and their invites to it; their judgments stay. Lead or above."""
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "removing a member", "lead")
            end_membership(connection, project_id, user_id)
            end_lapsed(connection, user_id)
            audit.record(connection, actor, "member remove", project_id=project_id, detail={"user_id": user_id})

    def pseudonym_key(self, actor: Actor, project_id: int) -> bytes:
        """What the project's pseudonyms are made with, the same for good. Adjudicator or above."""
        columns = tables.pseudonym_key.c
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "making pseudonyms", "adjudicator")
            query = select(columns.key).where(columns.project_id == project_id)
            return bytes.fromhex(connection.execute(query).scalar_one())

    def progress(self, actor: Actor, project_id: int) -> Progress:
        """How far the project is. Adjudicator or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading the progress", "adjudicator")
            return read_progress(connection, project_id)

    def first_steps(self, actor: Actor, project_id: int) -> FirstSteps:
        """What the project has of what it needs before its first judgment. Lead or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading the first steps", "lead")
            return read_first_steps(connection, actor, project_id)

    def keep_rubric(self, actor: Actor, project_id: int) -> None:
        """Says that the rubric was read and is right as it is; changes nothing else. Lead or above."""
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "keeping the rubric", "lead")
            version, _ = newest_version(connection, project_id)
            audit.record(connection, actor, KEPT, project_id=project_id, detail={"version": version})

    def list(self, actor: Actor) -> list[Project]:
        """The projects the actor is a member of, all of them for admins; oldest first."""
        query = select(tables.project).order_by(tables.project.c.id)
        if actor.role != "admin":
            mine = select(tables.membership.c.project_id).where(tables.membership.c.user_id == actor.user_id)
            query = query.where(tables.project.c.id.in_(mine))
        if actor.only_project is not None:
            query = query.where(tables.project.c.id == actor.only_project)
        with self._database.read() as connection:
            return [_project(row) for row in connection.execute(query)]


def _row(connection: Connection, project_id: int) -> Row:
    return connection.execute(select(tables.project).where(tables.project.c.id == project_id)).one()


def _free_name(connection: Connection, name: str, project_id: int | None = None) -> str:
    """The name without blanks around it; ValueError where another project has it, or where it stands for a number."""
    name = checked_text(name.strip(), "project name", 120)
    holder = _by_name(connection, name)
    if holder is not None and holder.id != project_id:
        raise TakenError(f"there is a project named {name!r} already")
    if holder is None and _NUMBERED.fullmatch(name):
        raise ValueError(f"project name is {name!r}, allowed is any but # and a number: projects go by number so")
    return name


def _by_name(connection: Connection, name: str) -> Row | None:
    return connection.execute(select(tables.project).where(tables.project.c.name == name)).first()


def _project(row: Row) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        description=row.description,
        design=Design.from_dict(row.design),
        simulated=row.simulated,
        archived=row.archived,
        created_at=row.created_at,
    )


def _queue(design: Design) -> tuple[object, ...]:
    """The fields of a design that decide on the open slots and their order."""
    return design.overlap, dict(design.groups), design.policy, design.seed
