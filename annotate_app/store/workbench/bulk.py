"""What is done to all comparisons of a view at once: each call one transaction, audited, for leads.

Each has its way back: a tag is taken off, what is excluded is included, a known answer, a priority or a number of
judgments is set again (the log keeps how many were changed and by which view), an assignment is freed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select, update

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, bulk_insert
from annotate_app.store.base.rights import checked_content, checked_text, lock_design, require_member
from annotate_app.store.base.slots import BATCH, batches, rank_slots, remake_slots
from annotate_app.store.projects.comparisons import Gold, check_overlap, keys_to_ids
from annotate_app.store.schema import desk_tables, tables
from annotate_app.store.workbench.browsing import select_ids
from annotate_app.store.workbench.comparison_filter import LONGEST_TAG, ComparisonFilter, to_address
from annotate_app.store.workbench.filter_conditions import read_for

IDS_AT_ONCE = 500  # in one statement

comparison = tables.comparison
tag_table = desk_tables.comparison_tag


@dataclass(frozen=True, kw_only=True)
class View:
    """The comparisons of one action, inside its transaction."""

    connection: Connection
    project_id: int
    design: Design
    ids: Sequence[int]

    def batches(self) -> Iterator[Sequence[int]]:
        """The ids, in parts that a statement takes."""
        return batches(self.ids, IDS_AT_ONCE)

    def set(self, **values: object) -> None:
        """Sets columns of them all."""
        for ids in self.batches():
            self.connection.execute(update(comparison).where(comparison.c.id.in_(ids)).values(**values))

    def remake_slots(self) -> None:
        """Brings the open work slots of them all in line."""
        for ids in batches(self.ids, BATCH):
            remake_slots(self.connection, self.project_id, self.design, list(ids))


@contextmanager
def open_view(
    database: Database, actor: Actor, project_id: int, chosen: ComparisonFilter, action: str
) -> Iterator[View]:
    """A transaction in which a view is changed; a lead's.

    Raises:
        ValueError: if the filter names somebody who has no account.
    """
    with database.write() as connection:
        require_member(connection, actor, project_id, action, "lead")
        design = lock_design(connection, project_id)
        ids = connection.scalars(select_ids(read_for(connection, project_id, chosen), chosen)).all()
        yield View(connection=connection, project_id=project_id, design=design, ids=ids)


def record_view(view: View, actor: Actor, action: str, chosen: ComparisonFilter, num: int, **detail: object) -> None:
    """Writes an action on a view into the log: which view, how many, and what was set."""
    address: dict[str, object] = {word: values[:20] for word, values in to_address(chosen).items()}
    detail = {"num": num, "view": address, **detail}
    audit.record(view.connection, actor, action, project_id=view.project_id, detail=detail)


class Bulk:
    """Changes all comparisons that a filter chooses, also those beyond the page; returns how many were changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_gold(self, actor: Actor, project_id: int, chosen: ComparisonFilter, gold: Gold | None) -> int:
        """Gives them all one known answer, or takes known answers away. Lead or above.

        The work slots of a check that nobody has taken are removed; work again gets them back.
        """
        if gold is not None:
            checked_content(gold.explanation, "gold explanation")
        with open_view(self._database, actor, project_id, chosen, "setting gold answers") as view:
            view.set(gold=None if gold is None else asdict(gold), gold_use="" if gold is None else gold.use)
            view.remake_slots()
            value = None if gold is None else gold.choice
            record_view(view, actor, "gold set on a view", chosen, len(view.ids), choice=value)
            return len(view.ids)

    def set_golds(self, actor: Actor, project_id: int, golds: Mapping[str, Gold]) -> int:
        """Gives each of some comparisons a known answer of its own, all or none. Lead or above.

        Raises:
            ValueError: if a comparison is not in the project.
        """
        for gold in golds.values():
            checked_content(gold.explanation, "gold explanation")
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "setting gold answers", "lead")
            design = lock_design(connection, project_id)
            for keys in batches(list(golds), IDS_AT_ONCE):
                ids = keys_to_ids(connection, project_id, keys)
                if missing := [key for key in keys if key not in ids]:
                    raise ValueError(f"there is no comparison {missing[0]!r:.80} in the project")
                for key in keys:
                    values = {"gold": asdict(golds[key]), "gold_use": golds[key].use}
                    connection.execute(update(comparison).where(comparison.c.id == ids[key]).values(**values))
                remake_slots(connection, project_id, design, list(ids.values()))
            detail = {"num": len(golds)}
            audit.record(connection, actor, "gold answers set", project_id=project_id, detail=detail)
        return len(golds)

    def set_priority(self, actor: Actor, project_id: int, chosen: ComparisonFilter, priority: float) -> int:
        """Gives them all one priority, higher goes first. Lead or above."""
        if not math.isfinite(priority):
            raise ValueError(f"priority is {priority}, allowed are finite numbers")
        with open_view(self._database, actor, project_id, chosen, "setting priorities") as view:
            view.set(priority=float(priority))
            if view.design.policy == "priority":
                for ids in batches(view.ids, BATCH):
                    rank_slots(view.connection, project_id, view.design, list(ids))
            record_view(view, actor, "priority set on a view", chosen, len(view.ids), priority=priority)
            return len(view.ids)

    def set_overlap(self, actor: Actor, project_id: int, chosen: ComparisonFilter, overlap: int | None) -> int:
        """Sets how many judgments each of them gets, None for what the design asks. Lead or above.

        Judgments that are there stay; unused where the design asks by group.
        """
        check_overlap(overlap)
        with open_view(self._database, actor, project_id, chosen, "setting an overlap") as view:
            view.set(overlap=overlap)
            view.remake_slots()
            record_view(view, actor, "overlap set on a view", chosen, len(view.ids), overlap=overlap)
            return len(view.ids)

    def exclude(self, actor: Actor, project_id: int, chosen: ComparisonFilter, excluded: bool = True) -> int:
        """Excludes them all, or includes them again; the number of those that changed. Lead or above.

        What is excluded is kept with its votes, but neither handed out nor counted in any figure, agreement or export.
        Who has one in hand may still answer it; nobody gets it after that. What people did stays in their own counts.
        """
        with open_view(self._database, actor, project_id, chosen, "excluding comparisons") as view:
            ids: list[int] = []
            for part in view.batches():
                query = select(comparison.c.id).where(
                    comparison.c.id.in_(part), comparison.c.excluded.is_(not excluded)
                )
                ids += view.connection.scalars(query).all()
            changed = View(connection=view.connection, project_id=project_id, design=view.design, ids=ids)
            changed.set(excluded=excluded)
            changed.remake_slots()
            action = "view excluded" if excluded else "view included"
            record_view(view, actor, action, chosen, len(ids))
            return len(ids)

    def tag(self, actor: Actor, project_id: int, chosen: ComparisonFilter, tag: str) -> int:
        """Puts a tag on them all; the number of those that did not bear it. Lead or above."""
        tag = checked_text(tag.strip(), "tag", LONGEST_TAG)
        with open_view(self._database, actor, project_id, chosen, "tagging comparisons") as view:
            added = 0
            for ids in view.batches():
                there = select(tag_table.c.comparison_id).where(
                    tag_table.c.tag == tag, tag_table.c.comparison_id.in_(ids)
                )
                tagged = set(view.connection.scalars(there))
                rows = [(project_id, comparison_id, tag) for comparison_id in ids if comparison_id not in tagged]
                bulk_insert(view.connection, tag_table, ("project_id", "comparison_id", "tag"), rows)
                added += len(rows)
            record_view(view, actor, "view tagged", chosen, added, tag=tag)
            return added

    def untag(self, actor: Actor, project_id: int, chosen: ComparisonFilter, tag: str) -> int:
        """Takes a tag off them all; the number of those that bore it. Lead or above."""
        with open_view(self._database, actor, project_id, chosen, "tagging comparisons") as view:
            removed = 0
            for ids in view.batches():
                bears = (tag_table.c.tag == tag, tag_table.c.comparison_id.in_(ids))
                removed += view.connection.execute(delete(tag_table).where(*bears)).rowcount
            record_view(view, actor, "view untagged", chosen, removed, tag=tag)
            return removed

    def import_marks(
        self, actor: Actor, project_id: int, tags: Mapping[str, Sequence[str]], excluded: Sequence[str]
    ) -> None:
        """Sets tags and exclusions by comparison id, as a project elsewhere had them. Lead or above."""
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "importing tags", "lead")
            design = lock_design(connection, project_id)
            for keys in batches(list(tags), IDS_AT_ONCE):
                ids = keys_to_ids(connection, project_id, keys)
                rows = [
                    {"project_id": project_id, "comparison_id": ids[key], "tag": checked_text(tag, "tag", LONGEST_TAG)}
                    for key in keys
                    for tag in dict.fromkeys(tags[key])
                ]
                if rows:
                    connection.execute(insert(tag_table), rows)
            for keys in batches(list(excluded), IDS_AT_ONCE):
                of_keys = list(keys_to_ids(connection, project_id, keys).values())
                connection.execute(update(comparison).where(comparison.c.id.in_(of_keys)).values(excluded=True))
                remake_slots(connection, project_id, design, of_keys)
            detail = {"num_tagged": len(tags), "num_excluded": len(excluded)}
            audit.record(connection, actor, "marks imported", project_id=project_id, detail=detail)
