"""What one person judged, each beside what the others answered; paged by the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import Connection, Float, Select, func, select, type_coerce

from annotate_app.access import Actor
from annotate_app.store.base.database import Database, read_pairs
from annotate_app.store.base.rights import require_member
from annotate_app.store.projects.contents import read_messages
from annotate_app.store.schema import tables
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.store.workbench.filter_conditions import (
    CHOICES,
    Reading,
    excluded_ids,
    is_apart,
    is_changed,
    is_fast,
    is_missed,
    others_majority,
    read_for,
)

Kind = Literal["all", "missed", "changed", "apart", "fast"]
KINDS: tuple[Kind, ...] = get_args(Kind)
judgment, comparison = tables.judgment.c, tables.comparison.c


@dataclass(frozen=True, kw_only=True)
class PersonJudgment:
    """One judgment, beside what else is known of its comparison.

    Attributes:
        key: id of the comparison.
        prompt: last turn of its prompt.
        check: work, import, gold, qualification or repeat.
        others: how often the others gave each answer, without those that nobody gave.
        gold: the known answer, empty without one.
        before: the person's first answer, where this one repeats it; else empty.
        pace: characters of the two responses per active second, None where no time is known.
    """

    key: str
    prompt: str
    choice: str
    strength: int
    check: str
    others: dict[str, int]
    gold: str
    before: str
    seconds: float
    pace: float | None
    created_at: float


class PersonJudgments:
    """Reads judgments of a person. For leads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, actor: Actor, project_id: int, name: str, kind: Kind = "all", *, number: int = 1, size: int = 50
    ) -> tuple[list[PersonJudgment], int]:
        """A page, from 1, of somebody's judgments that count, and how many there are. Lead or above.

        Args:
            name: of the person.
            kind: `missed` known answers, `changed` answers to what came again, those `apart` from the single most
                frequent answer of the others, those given too `fast` (the fastest first), or all, newest first.
            number: of the page.
            size: judgments on a page.

        Raises:
            ValueError: if there is nobody of the name.
        """
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}, allowed are {', '.join(KINDS)}")
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading somebody's judgments", "lead")
            reading = read_for(connection, project_id, ComparisonFilter(persons=(name,)))
            query = _select(reading, reading.people[name], kind)
            rows = connection.execute(query.offset((max(number, 1) - 1) * size).limit(size)).all()
            total = connection.execute(select(func.count()).select_from(query.order_by(None).subquery())).scalar_one()
            return _read(connection, reading, reading.people[name], [row.id for row in rows]), total


def _select(reading: Reading, user_id: int, kind: Kind) -> Select:
    """Selects the ids of judgments of a kind, in the order they are listed in."""
    mine = (*reading.judgments(), judgment.user_id == user_id, judgment.choice != "withdrawn")
    query = select(judgment.id).where(*mine, judgment.comparison_id.not_in(excluded_ids(reading.project_id)))
    match kind:
        case "all":
            pass
        case "missed":
            query = query.where(*is_missed(reading, user_id))
        case "changed":
            query = query.where(*is_changed(reading, user_id))
        case "apart":
            others = others_majority(reading, user_id)
            query = query.where(
                judgment.comparison_id.in_(select(others.c.comparison_id).where(*is_apart(others))),
                *reading.votes(),
            )
        case "fast":
            pace = type_coerce(judgment.seconds, Float) / func.nullif(comparison.length, 0)
            query = query.join(tables.comparison, comparison.id == judgment.comparison_id)
            return query.where(*is_fast(reading, user_id)).order_by(pace, judgment.id)
    return query.order_by(judgment.id.desc())


def _read(connection: Connection, reading: Reading, user_id: int, ids: list[int]) -> list[PersonJudgment]:
    """What a page shows of some judgments, in the order of their ids as given."""
    query = (
        select(tables.judgment, comparison.key, comparison.gold, comparison.length, tables.prompt.c.messages)
        .join(tables.comparison, comparison.id == judgment.comparison_id)
        .join(tables.prompt, tables.prompt.c.id == comparison.prompt_id)
        .where(judgment.id.in_(ids))
    )
    rows = {row.id: row for row in connection.execute(query)}
    of = [row.comparison_id for row in rows.values()]
    other = select(judgment.comparison_id, judgment.choice, func.count()).where(
        judgment.comparison_id.in_(of), *reading.votes(), judgment.user_id != user_id
    )
    others: dict[int, dict[str, int]] = {}
    for comparison_id, choice, count in connection.execute(other.group_by(judgment.comparison_id, judgment.choice)):
        others.setdefault(comparison_id, {})[choice] = count
    first = select(judgment.comparison_id, judgment.choice).where(
        judgment.comparison_id.in_(of), *reading.judgments(), judgment.user_id == user_id, judgment.kind != "repeat"
    )
    before = read_pairs(connection, first)
    listed = []
    for row in (rows[judgment_id] for judgment_id in ids):
        messages = read_messages(row.messages)
        counts = others.get(row.comparison_id, {})
        listed.append(
            PersonJudgment(
                key=row.key,
                prompt=messages[-1].content if messages else "",
                choice=row.choice,
                strength=row.strength,
                check=row.kind,
                others={choice: counts[choice] for choice in CHOICES if choice in counts},
                gold=row.gold["choice"] if row.gold else "",
                before=before.get(row.comparison_id, "") if row.kind == "repeat" else "",
                seconds=row.seconds,
                pace=row.length / row.seconds if row.seconds > 0 else None,
                created_at=row.created_at,
            )
        )
    return listed
