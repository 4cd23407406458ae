"""A list of people to invite, as somebody writes or uploads it: a name a line, or CSV with roles and groups."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from annotate_app.access import UserRole

COLUMNS = ("name", "role", "group")
DELIMITERS = ",;\t"
_QUOTED = re.compile('"[^"]*"')
MOST_INVITATIONS = 500
"""Links made at once."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Somebody to invite.

    Attributes:
        name: of the account; None lets whoever opens the link choose.
        place: where the list says so, for messages; empty for somebody alone.
    """

    name: str | None
    role: UserRole
    group: str = ""
    place: str = ""


def read_invitations(text: str, *, role: UserRole = "annotator", group: str = "") -> list[Wanted]:
    """Reads a list of people: a name a line, with a role and a group behind commas, semicolons or tabs where wanted.

    A first line that names columns (`name`, `role`, `group`, in any order) is a head.

    Args:
        role: of lines that name none.
        group: of lines that name none.

    Raises:
        ValueError: with the line, for an unknown column or role, a line without a name, a name that stands twice, and
            more than `MOST_INVITATIONS` people.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    delimiter = max(DELIMITERS, key=_QUOTED.sub("", text).count)
    rows = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, skipinitialspace=True)
    columns, wanted, places = COLUMNS, [], {}
    for place, cells in _cells(rows):
        if not any(cells):
            continue
        if not wanted and columns is COLUMNS and "name" in (head := [cell.casefold() for cell in cells]):
            columns = _head(head, place)
            continue
        if len(cells) > len(columns):
            raise ValueError(f"{place}: has {len(cells)} parts, allowed are {', '.join(columns)}")
        other = next((sign for sign in DELIMITERS if sign in cells[0] and '"' not in text), "")
        if other:
            raise ValueError(
                f"{place}: {cells[0]!r} holds {other!r}, the parts of a line are parted by {delimiter!r} here"
            )
        one = _person(dict(zip(columns, cells, strict=False)), place, role, group)
        if (earlier := places.setdefault(str(one.name).casefold(), place)) != place:
            raise ValueError(f"{place}: {one.name!r} stands in {earlier} already")
        wanted.append(one)
    if len(wanted) > MOST_INVITATIONS:
        raise ValueError(f"the list has {len(wanted):,} people, allowed are {MOST_INVITATIONS} at once")
    return wanted


def _cells(rows: Any) -> Iterator[tuple[str, list[str]]]:
    try:
        for cells in rows:
            yield f"line {rows.line_num}", [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num}: {error}") from error


def _head(head: list[str], place: str) -> tuple[str, ...]:
    unknown = [name for name in head if name not in COLUMNS]
    if unknown:
        raise ValueError(f"{place}: column {unknown[0]!r} is unknown, allowed are {', '.join(COLUMNS)}")
    return tuple(head)


def _person(cells: dict[str, str], place: str, role: UserRole, group: str) -> Wanted:
    if not cells.get("name"):
        raise ValueError(f"{place}: has no name")
    named = next((one for one in get_args(UserRole) if one == cells.get("role", "").casefold()), None)
    if cells.get("role") and named is None:
        raise ValueError(f"{place}: role is {cells['role']!r}, allowed are {', '.join(get_args(UserRole))}")
    return Wanted(name=cells["name"], role=named or role, group=cells.get("group") or group, place=place)
