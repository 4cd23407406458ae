"""Looking through a project's comparisons: filtered, counted, sorted and paged by the database. Reading only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, FromClause, Select, func, select

from annotate_app.access import Actor
from annotate_app.store.base.database import Database, read_pairs
from annotate_app.store.base.pending import SLOT_STATE
from annotate_app.store.base.rights import require_member
from annotate_app.store.base.slots import BATCH, JUDGED, RESERVED, batches
from annotate_app.store.projects.comparisons import ANSWER_A, ANSWER_B, Gold, read_comparison, select_comparisons
from annotate_app.store.schema import desk_tables, tables
from annotate_app.store.workbench.comparison_filter import ComparisonFilter, State
from annotate_app.store.workbench.filter_conditions import Reading, conditions, read_for, tally, vote_order
from rewardkit.data.records import Comparison

EVERYTHING = ComparisonFilter(excluded="with")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One comparison in a list.

    Attributes:
        num_judged, num_wanted: its work slots; checks have none.
        overlap: judgments wanted where it is not the design's, else None.
        decided: whether an adjudicator has decided it.
        num_votes: judgments that figures count.
        agreement: share of the most frequent answer among them, None of fewer than two.
        newest_at: unix time of the newest of them, 0 without one.
        length: characters of the two responses together.
        assigned: names of people for whom a judgment of it is reserved.
    """

    comparison: Comparison
    num_judged: int
    num_wanted: int
    priority: float
    overlap: int | None
    gold: Gold | None
    decided: bool
    num_votes: int = 0
    agreement: float | None = None
    newest_at: float = 0.0
    length: int = 0
    tags: tuple[str, ...] = ()
    excluded: bool = False
    assigned: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of what a filter chooses, and how many it chooses in all."""

    page: list[Listed]
    total: int


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What a project's comparisons can be filtered by: names in use, each in order."""

    models: tuple[str, ...]
    people: tuple[str, ...]
    tags: tuple[str, ...]


class Browsing:
    """Lists comparisons with their progress; leads and above."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, actor: Actor, project_id: int, chosen: ComparisonFilter = EVERYTHING, *, offset: int = 0, limit: int = 50
    ) -> list[Listed]:
        """The comparisons that a filter chooses, without counting how many there are. Lead or above.

        Args:
            chosen: what to find, and in which order; everything in the order it came where not given.
            offset: how many to pass over.
            limit: how many to give at most.

        Raises:
            ValueError: if the filter names somebody who has no account.
        """
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "looking through comparisons", "lead")
            reading = read_for(connection, project_id, chosen)
            ids = connection.scalars(select_ids(reading, chosen).offset(offset).limit(limit)).all()
            return _read_page(connection, reading, ids)

    def page(
        self, actor: Actor, project_id: int, chosen: ComparisonFilter = EVERYTHING, *, number: int = 1, size: int = 50
    ) -> Found:
        """A page, from 1, of what a filter chooses, and how many it chooses in all. Lead or above.

        Raises:
            ValueError: if the filter names somebody who has no account.
        """
        offset = (max(number, 1) - 1) * size
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "looking through comparisons", "lead")
            reading = read_for(connection, project_id, chosen)
            found = _found(reading, chosen).cte("found")  # named twice, so databases read it once
            num_found = select(func.count()).select_from(found).scalar_subquery()
            query = select(found.c.id, num_found).order_by(*_in_order(found))
            rows = connection.execute(query.offset(offset).limit(size)).all()
            total = rows[0][1] if rows else count_ids(connection, reading, chosen) if offset else 0
            return Found(page=_read_page(connection, reading, [row[0] for row in rows]), total=total)

    def count(self, actor: Actor, project_id: int, chosen: ComparisonFilter = EVERYTHING) -> int:
        """The number of comparisons that a filter chooses. Lead or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "looking through comparisons", "lead")
            return count_ids(connection, read_for(connection, project_id, chosen), chosen)

    def keys(self, actor: Actor, project_id: int, chosen: ComparisonFilter = EVERYTHING) -> list[str]:
        """The ids of all comparisons that a filter chooses, in its order. Lead or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "looking through comparisons", "lead")
            found = _found(read_for(connection, project_id, chosen), chosen).subquery("found")
            query = select(tables.comparison.c.key).join(found, found.c.id == tables.comparison.c.id)
            return list(connection.scalars(query.order_by(*_in_order(found))))

    def vocabulary(self, actor: Actor, project_id: int) -> Vocabulary:
        """The names that a filter of this project can be made of. Lead or above."""
        tag = desk_tables.comparison_tag.c
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "looking through comparisons", "lead")
            names = select(tag.tag).where(tag.project_id == project_id).distinct().order_by(tag.tag)
            return Vocabulary(
                models=_models(connection, project_id),
                people=_people(connection, project_id),
                tags=tuple(connection.scalars(names)),
            )

    def iterate(self, actor: Actor, project_id: int, state: State = "any") -> Iterator[Comparison]:
        """All comparisons in a state, in the order they came, read as they are asked for. Lead or above."""
        chosen = ComparisonFilter(state=state)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading comparisons", "lead")
            reading = read_for(connection, project_id, chosen)
            query = select_comparisons(project_id).where(*conditions(reading, chosen))
            with connection.execute(query.execution_options(yield_per=BATCH)) as rows:
                for row in rows:
                    yield read_comparison(row)

    def stamp(self, actor: Actor, project_id: int) -> tuple[int, int]:
        """Two numbers that change whenever votes, comparisons, gold answers or the design do. Adjudicator or above.

        Judgments are only ever appended and everything else is audited, so the newest id of each will do; both are read
        from the end of an index, however large the project is. Decisions of adjudicators are left out.
        """
        audited = tables.audit.c
        judgment = select(func.max(tables.judgment.c.id))
        change = (
            select(audited.id)
            .where(audited.project_id == project_id, audited.action != "adjudicate")
            .order_by(audited.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading figures", "adjudicator")
            return connection.execute(judgment).scalar() or 0, connection.execute(change).scalar() or 0


def select_ids(reading: Reading, chosen: ComparisonFilter) -> Select:
    """Selects the database ids of what a filter chooses, in its order."""
    found = _found(reading, chosen).subquery("found")
    return select(found.c.id).order_by(*_in_order(found))


def _found(reading: Reading, chosen: ComparisonFilter) -> Select:
    """Selects the `id` of what a filter chooses and, where not the order of coming is asked for, its `position`."""
    columns = tables.comparison.c
    query = _with_texts(select(columns.id), chosen).where(*conditions(reading, chosen))
    match chosen.sort:
        case "came":
            return query
        case "longest":
            return query.add_columns(columns.length.label("position"))
        case "priority":
            return query.add_columns(columns.priority.label("position"))
        case _:
            votes = vote_order(reading, chosen.sort)
            return query.outerjoin(votes, votes.c.comparison_id == columns.id).add_columns(votes.c.position)


def _in_order(found: FromClause) -> list[ColumnElement]:
    """The order of what `_found` selects: by position, the greatest first, and as it came."""
    by_position = [found.c.position.desc().nulls_last()] if "position" in found.c else []
    return [*by_position, found.c.id]


def count_ids(connection: Connection, reading: Reading, chosen: ComparisonFilter) -> int:
    """The number of comparisons that a filter chooses."""
    query = _with_texts(select(func.count()).select_from(tables.comparison), chosen)
    return connection.execute(query.where(*conditions(reading, chosen))).scalar_one()


def _with_texts(query: Select, chosen: ComparisonFilter) -> Select:
    """Joins what a search for words reads."""
    if not chosen.text:
        return query
    columns = tables.comparison.c
    return (
        query.join(tables.prompt, tables.prompt.c.id == columns.prompt_id)
        .join(ANSWER_A, ANSWER_A.c.id == columns.response_a)
        .join(ANSWER_B, ANSWER_B.c.id == columns.response_b)
    )


def _read_page(connection: Connection, reading: Reading, ids: Sequence[int]) -> list[Listed]:
    listed: dict[int, Listed] = {}
    for part in batches(ids):
        listed |= _read_part(connection, reading, part)
    return [listed[comparison_id] for comparison_id in ids]


def _read_part(connection: Connection, reading: Reading, ids: Sequence[int]) -> dict[int, Listed]:
    extra = tables.comparison.c
    query = select_comparisons(reading.project_id).add_columns(
        extra.priority, extra.overlap, extra.gold, extra.length, extra.excluded
    )
    rows = connection.execute(query.where(extra.id.in_(ids))).all()
    slots, decided = _count_slots(connection, ids), _decided(connection, ids)
    votes = {row.comparison_id: row for row in connection.execute(select(tally(reading, ids)))}
    tags, assigned = _tags(connection, ids), _assigned(connection, ids)
    return {
        row.comparison_id: Listed(
            comparison=read_comparison(row),
            num_judged=slots.get(row.comparison_id, (0, 0))[0],
            num_wanted=slots.get(row.comparison_id, (0, 0))[1],
            priority=row.priority,
            overlap=row.overlap,
            gold=None if row.gold is None else Gold(**row.gold),
            decided=row.comparison_id in decided,
            num_votes=votes[row.comparison_id].num_votes if row.comparison_id in votes else 0,
            agreement=_share(votes.get(row.comparison_id)),
            newest_at=votes[row.comparison_id].newest_at if row.comparison_id in votes else 0.0,
            length=row.length,
            tags=tuple(tags.get(row.comparison_id, ())),
            excluded=row.excluded,
            assigned=tuple(assigned.get(row.comparison_id, ())),
        )
        for row in rows
    }


def _share(votes) -> float | None:  # noqa: ANN001 (a row of `tally`)
    return None if votes is None or votes.num_votes < 2 else votes.most / votes.num_votes


def _count_slots(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Judged and wanted work slots by comparison."""
    slot = tables.slot.c
    query = select(slot.comparison_id, SLOT_STATE, func.count()).where(slot.comparison_id.in_(ids), slot.kind == "work")
    counts: dict[int, tuple[int, int]] = {}
    for key, state, count in connection.execute(query.group_by(slot.comparison_id, SLOT_STATE)):
        judged, wanted = counts.get(key, (0, 0))
        counts[key] = (judged + (count if state == JUDGED else 0), wanted + count)
    return counts


def _decided(connection: Connection, ids: Sequence[int]) -> set[int]:
    columns = tables.adjudication.c
    return set(connection.scalars(select(columns.comparison_id).where(columns.comparison_id.in_(ids))))


def _tags(connection: Connection, ids: Sequence[int]) -> dict[int, list[str]]:
    tag = desk_tables.comparison_tag.c
    query = select(tag.comparison_id, tag.tag).where(tag.comparison_id.in_(ids)).order_by(tag.comparison_id, tag.tag)
    return _grouped(connection, query)


def _assigned(connection: Connection, ids: Sequence[int]) -> dict[int, list[str]]:
    slot, account = tables.slot.c, tables.user.c
    query = select(slot.comparison_id, slot.group_name).where(
        slot.comparison_id.in_(ids), slot.kind == "work", slot.state != JUDGED, slot.group_name.startswith(RESERVED)
    )
    groups = _grouped(connection, query.order_by(slot.comparison_id, slot.id))
    users = {int(group[1:]) for names in groups.values() for group in names if group[1:].isdigit()}
    names = read_pairs(connection, select(account.id, account.name).where(account.id.in_(users))) if users else {}
    return {key: [names.get(int(group[1:]), group) for group in of_key] for key, of_key in groups.items()}


def _grouped(connection: Connection, query: Select) -> dict[int, list[str]]:
    by_key: dict[int, list[str]] = {}
    for key, value in connection.execute(query):
        by_key.setdefault(key, []).append(value)
    return by_key


def _models(connection: Connection, project_id: int) -> tuple[str, ...]:
    """Names of the models of a project: those there are, each looked for in it."""
    source, prompt = tables.response.c.source, tables.prompt.c
    of_project = (
        select(tables.response.c.id)
        .join(tables.prompt, prompt.id == tables.response.c.prompt_id)
        .where(source == (there := select(source).distinct().subquery()).c.source, prompt.project_id == project_id)
        .correlate(there)
        .exists()
    )
    query = select(there.c.source).where(there.c.source != "", of_project).order_by(there.c.source)
    return tuple(connection.scalars(query))


def _people(connection: Connection, project_id: int) -> tuple[str, ...]:
    """Names of members, and of those who have judged."""
    account, member, judgment = tables.user.c, tables.membership.c, tables.judgment.c
    inside = select(member.user_id).where(member.project_id == project_id)
    judged = select(judgment.id).where(judgment.user_id == account.id, judgment.project_id == project_id).exists()
    return tuple(connection.scalars(select(account.name).where(account.id.in_(inside) | judged).order_by(account.name)))
