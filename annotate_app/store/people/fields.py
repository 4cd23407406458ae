"""What is known of people (`{"country": "KE"}`), by which agreement and results are divided into groups.

Fields are personal data. They are the account's, leads of a project read and change those of its people, no annotator
sees them, no export holds them, and the audit log names the fields and the number of people, never the values.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, exists, or_, select, update

from annotate_app.access import Actor
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database
from annotate_app.store.base.rights import checked_text, require_member
from annotate_app.store.schema import tables
from annotate_app.store.schema.door_tables import crowd_link, crowd_visit

GROUP = "group"
"""The field that every member has: the annotator group in the project."""
MOST_FIELDS, LONGEST_NAME, LONGEST_VALUE = 60, 64, 200


class Fields:
    """Stores fields of people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def people(self, actor: Actor, project_id: int) -> dict[str, dict[str, str]]:
        """By name of everybody who is a member or has judged, their fields; `group` is that of the project. Lead."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading fields of people", "lead")
            rows = connection.execute(_people(project_id)).all()
        return {
            row.name: (row.fields or {}) | ({GROUP: row.group_name} if row.group_name else {})
            for row in sorted(rows, key=lambda row: row.name)
        }

    def set(self, actor: Actor, project_id: int, values: Mapping[str, Mapping[str, str]]) -> int:
        """Sets fields of people by name, the others of theirs stay; "" takes a field away. Lead or above.

        Returns:
            The number of people whose fields changed.

        Raises:
            ValueError: if somebody is no member and has judged nothing here, or a field cannot be stored.
        """
        for name, fields in values.items():
            _check(name, fields)
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "setting fields of people", "lead")
            people = {row.name: row for row in connection.execute(_people(project_id))}
            unknown = [name for name in values if name not in people]
            if unknown:
                raise ValueError(f"{unknown[0]!r} is nobody of this project ({len(unknown)} such in all)")
            num_changed = 0
            for name, fields in values.items():
                before = people[name].fields or {}
                after = {key: value for key, value in (before | dict(fields)).items() if value}
                if after != before:
                    _check(name, after)
                    _write(connection, people[name].id, after)
                    num_changed += 1
            named = sorted({key for fields in values.values() for key in fields})
            detail = {"fields": named, "num_people": num_changed}
            audit.record(connection, actor, "person fields", project_id=project_id, detail=detail)
        return num_changed

    def platform_names(self, actor: Actor, project_id: int) -> dict[str, str]:
        """By id on a crowd platform, the name of the person here; ids of two people are left out. Lead or above."""
        query = (
            select(crowd_visit.c.platform_id, tables.user.c.name)
            .join(crowd_link, crowd_link.c.id == crowd_visit.c.link_id)
            .join(tables.user, tables.user.c.id == crowd_visit.c.user_id)
            .where(crowd_link.c.project_id == project_id)
            .distinct()
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading visits", "lead")
            rows = connection.execute(query).all()
        names: dict[str, set[str]] = {}
        for row in rows:
            names.setdefault(row.platform_id, set()).add(row.name)
        return {platform_id: next(iter(those)) for platform_id, those in names.items() if len(those) == 1}


def _people(project_id: int):  # noqa: ANN202 (a select)
    account, member, judged = tables.user.c, tables.membership.c, tables.judgment.c
    works = exists(select(judged.id).where(judged.user_id == account.id, judged.project_id == project_id))
    return (
        select(account.id, account.name, account.fields, member.group_name)
        .outerjoin(tables.membership, (member.user_id == account.id) & (member.project_id == project_id))
        .where(or_(member.user_id.is_not(None), works))
    )


def _write(connection: Connection, user_id: int, fields: dict[str, str]) -> None:
    connection.execute(update(tables.user).where(tables.user.c.id == user_id).values(fields=fields or None))


def _check(name: str, fields: Mapping[str, str]) -> None:
    if len(fields) > MOST_FIELDS:
        raise ValueError(f"{name!r} has {len(fields)} fields, allowed are {MOST_FIELDS}")
    for key, value in fields.items():
        checked_text(key, "name of a field", LONGEST_NAME)
        checked_text(value, f"field {key}", LONGEST_VALUE, empty=True)
        if key == GROUP:
            raise ValueError("field is 'group', which is the annotator group: set it where people join the project")
