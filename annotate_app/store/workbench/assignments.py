"""Comparisons assigned to a person: one of the judgments that are wanted of each is kept for them alone.

A reserved judgment is a slot whose group is this one person; see `slots.reserved_for`. Nothing is added, so that no
comparison gets more judgments than are wanted, and each of the others stays open to all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from annotate_app.access import Actor
from annotate_app.store.base.database import Database, read_pairs
from annotate_app.store.base.rights import require_member
from annotate_app.store.base.slots import (
    LEASED,
    OPEN,
    RESERVED,
    base_group,
    free_slots,
    hold_places,
    member_groups,
    reserved_for,
    rewind,
)
from annotate_app.store.schema import tables
from annotate_app.store.workbench.bulk import View, open_view, record_view
from annotate_app.store.workbench.comparison_filter import ComparisonFilter

slot = tables.slot.c


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """What came of assigning a view to people.

    Attributes:
        num_reserved: judgments that are kept for somebody now.
        num_full: times that every judgment that is still wanted is kept for others, or none is wanted.
        num_had: times that the person has, had, or passed over the comparison, or it is theirs already.
    """

    num_reserved: int
    num_full: int
    num_had: int


class Assignments:
    """Keeps judgments for people, and frees them. For leads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def assign(self, actor: Actor, project_id: int, chosen: ComparisonFilter, users: Sequence[int]) -> Assigned:
        """Keeps a judgment of each comparison of a view for each of some members. Lead or above.

        They come first for them, before all other work. Paused members keep theirs until they are freed.

        Raises:
            ValueError: if somebody is no member, or in none of the groups that the design asks for.
        """
        with open_view(self._database, actor, project_id, chosen, "assigning comparisons") as view:
            groups = _groups_of(view, users)
            counts = [0, 0, 0]
            hold_places(view.connection, project_id)
            for ids in view.batches():
                free = _free_slots(view, ids)
                had = _touched(view.connection, ids, users)
                taken: dict[str, list[int]] = {}
                for comparison_id in ids:
                    for user_id in users:
                        if (comparison_id, user_id) in had:
                            counts[2] += 1
                            continue
                        fitting = [one for one in free.get(comparison_id, []) if one[1] == groups[user_id]]
                        if not fitting:
                            counts[1] += 1
                            continue
                        free[comparison_id].remove(fitting[0])
                        taken.setdefault(reserved_for(user_id), []).append(fitting[0][0])
                        counts[0] += 1
                for group, slots in taken.items():
                    change = update(tables.slot).where(slot.id.in_(slots)).values(group_name=group)
                    view.connection.execute(change)
            names = _names(view.connection, users)
            record_view(view, actor, "view assigned", chosen, counts[0], people=names)
            rewind(view.connection, project_id)
        return Assigned(num_reserved=counts[0], num_full=counts[1], num_had=counts[2])

    def free(self, actor: Actor, project_id: int, chosen: ComparisonFilter, user_id: int | None = None) -> int:
        """Frees what is kept of a view for a person, or for anybody; how many judgments. Lead or above.

        What a person has in hand stays in hand; if they give it back, it is anybody's.
        """
        with open_view(self._database, actor, project_id, chosen, "freeing comparisons") as view:
            freed = 0
            hold_places(view.connection, project_id)
            for ids in view.batches():
                reserved = [slot.comparison_id.in_(ids), slot.kind == "work", slot.state.in_((OPEN, LEASED))]
                if user_id is not None:
                    reserved.append(slot.group_name == reserved_for(user_id))
                found = view.connection.scalars(select(tables.slot.c.id).where(*reserved)).all()
                freed += free_slots(view.connection, project_id, found)
            record_view(view, actor, "assignments freed", chosen, freed)
            rewind(view.connection, project_id)
        return freed

    def counts(self, actor: Actor, project_id: int) -> dict[str, int]:
        """By name of a person, the judgments that are kept for them and not made yet. Lead or above."""
        query = select(slot.group_name, func.count()).where(
            slot.project_id == project_id, slot.kind == "work", slot.state.in_((OPEN, LEASED))
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading assignments", "lead")
            rows = connection.execute(query.where(slot.group_name.startswith(RESERVED)).group_by(slot.group_name)).all()
            names = _by_id(connection, [int(group[1:]) for group, _ in rows])
        return {names[int(group[1:])]: count for group, count in rows if int(group[1:]) in names}


def _groups_of(view: View, users: Sequence[int]) -> dict[int, str]:
    """The group of the design that each person's judgments count for."""
    members = member_groups(view.connection, view.project_id)
    if not users:
        raise ValueError("people is empty: name who is to judge these")
    for user_id in users:
        if user_id not in members:
            raise ValueError(f"the account {user_id} is not a member of the project")
        if view.design.groups and members[user_id] not in view.design.groups:
            (name,) = _names(view.connection, [user_id])
            allowed = ", ".join(view.design.groups)
            raise ValueError(f"{name} is in the group {members[user_id]!r}, judgments are wanted of {allowed}")
    return {user_id: base_group(reserved_for(user_id), view.design, members) for user_id in users}


def _free_slots(view: View, ids: Sequence[int]) -> dict[int, list[tuple[int, str]]]:
    """By comparison, its open work slots that nobody has reserved, locked, with their groups."""
    query = (
        select(slot.comparison_id, slot.id, slot.group_name)
        .where(slot.comparison_id.in_(ids), slot.kind == "work", slot.state == OPEN)
        .order_by(slot.comparison_id, slot.id)
        .with_for_update(skip_locked=True)  # what is being handed out at this moment is not open any more
    )
    free: dict[int, list[tuple[int, str]]] = {}
    for comparison_id, slot_id, group in view.connection.execute(query):
        if not group.startswith(RESERVED):
            free.setdefault(comparison_id, []).append((slot_id, group))
    return free


def _touched(connection: Connection, ids: Sequence[int], users: Sequence[int]) -> set[tuple[int, int]]:
    """Who has had which comparison in hand, or has it reserved."""
    held = select(slot.comparison_id, slot.user_id).where(slot.comparison_id.in_(ids), slot.user_id.in_(users))
    whose = {reserved_for(user_id): user_id for user_id in users}
    kept = select(slot.comparison_id, slot.group_name).where(slot.comparison_id.in_(ids), slot.group_name.in_(whose))
    touched = {(comparison_id, user_id) for comparison_id, user_id in connection.execute(held)}
    return touched | {(comparison_id, whose[group]) for comparison_id, group in connection.execute(kept)}


def _by_id(connection: Connection, users: Sequence[int]) -> dict[int, str]:
    account = tables.user.c
    return read_pairs(connection, select(account.id, account.name).where(account.id.in_(users)))


def _names(connection: Connection, users: Sequence[int]) -> list[str]:
    names = _by_id(connection, users)
    return [names[user_id] for user_id in users]
