"""A filter as conditions of SQL on `comparison`, the same on both databases.

Conditions say `comparison.id IN (...)` of what an index holds, so that none reads a text but the search for words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Integer,
    Select,
    Subquery,
    Text,
    and_,
    case,
    cast,
    func,
    or_,
    select,
    text,
    type_coerce,
    union_all,
)

from annotate_app.store.base.answers import direction_mark
from annotate_app.store.base.pending import COMPARISON_SHOWN, SLOT_WAITS
from annotate_app.store.base.slots import JUDGED, LEASED, OPEN, RESERVED, reserved_for
from annotate_app.store.projects.comparisons import ANSWER_A, ANSWER_B
from annotate_app.store.schema import desk_tables, loop_tables, tables
from annotate_app.store.schema.tables import EXCLUDED, LEASED_WORK, OPEN_WORK
from annotate_app.store.workbench.comparison_filter import (
    ANYBODY,
    SPLIT,
    UNANIMOUS,
    ComparisonFilter,
    Sort,
    State,
)
from annotate_app.votes import COLLECTED_KINDS, TOO_FAST_CHARACTERS_PER_S

CHOICES = ("a", "b", "tie", "both_bad")  # answers that are counted; a skip is none
NO_ANSWER = ("skip", "withdrawn")
DAY_S = 86_400

comparison, judgment, slot = tables.comparison.c, tables.judgment.c, tables.slot.c
Condition = ColumnElement[bool]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What conditions are written for: a project, people's ids by name, and whether an import is under way."""

    project_id: int
    people: dict[str, int]
    importing: bool
    sqlite: bool

    def judgments(self, table: FromClause = tables.judgment) -> list[Condition]:
        """What every judgment that stands fulfils."""
        chosen = [table.c.project_id == self.project_id, table.c.newest]
        if self.importing:
            under_way = select(tables.pending_import.c.id)
            chosen.append(or_(table.c.import_id.is_(None), table.c.import_id.not_in(under_way)))
        return chosen

    def votes(self, table: FromClause = tables.judgment) -> list[Condition]:
        """What every judgment that figures count fulfils."""
        return [*self.judgments(table), table.c.kind.in_(COLLECTED_KINDS), table.c.choice.in_(CHOICES)]

    def greatest(self, *values: ColumnElement[Any]) -> ColumnElement[Any]:
        """The greatest of several values."""
        return func.max(*values) if self.sqlite else func.greatest(*values)


def read_for(connection: Connection, project_id: int, chosen: ComparisonFilter) -> Reading:
    """Looks up what the conditions of a filter need.

    Raises:
        ValueError: if it names somebody who has no account.
    """
    singles = (chosen.missed, chosen.changed, chosen.fast, chosen.assigned)
    names = {*chosen.persons, *chosen.disagree, *singles} - {"", ANYBODY}
    account = tables.user.c
    found = connection.execute(select(account.name, account.id).where(account.name.in_(names))).all() if names else []
    people = {row.name: row.id for row in found}
    for name in sorted(names - people.keys()):
        raise ValueError(f"there is nobody named {name[:60]!r}")
    return Reading(
        project_id=project_id,
        people=people,
        importing=connection.execute(select(tables.pending_import.c.id).limit(1)).first() is not None,
        sqlite=connection.dialect.name == "sqlite",
    )


def conditions(reading: Reading, chosen: ComparisonFilter) -> list[Condition]:
    """What a comparison fulfils that a filter chooses; the project is among it."""
    parts = [
        comparison.project_id == reading.project_id,
        *_excluded(reading, chosen),
        *_state(reading, chosen.state),
        *_people(reading, chosen),
        *_answers(reading, chosen),
        *_contents(reading, chosen),
        *_places(reading, chosen),
    ]
    if reading.importing:
        parts.append(COMPARISON_SHOWN)
    return parts


def tally(reading: Reading, ids: Iterable[int] | None = None) -> Subquery:
    """Of each comparison with a vote: how many, how many of the most frequent answer, and when the newest came."""
    newest_at = func.max(type_coerce(judgment.created_at, Float)).label("newest_at")
    return grouped_votes(reading, _NUM_VOTES.label("num_votes"), _most(reading).label("most"), newest_at, ids=ids)


def vote_order(reading: Reading, sort: Sort) -> Subquery:
    """Of each comparison with a vote, its `position` in an order by votes, the greatest first."""
    match sort:
        case "newest":
            position = func.max(type_coerce(judgment.created_at, Float))
        case "votes":
            position = _NUM_VOTES
        case _:  # agreement: the least first; one vote agrees with nothing
            position = -(_most(reading) * 1.0 / func.nullif(_NUM_VOTES, 1))
    return grouped_votes(reading, position.label("position"))


def grouped_votes(reading: Reading, *figures: ColumnElement[Any], ids: Iterable[int] | None = None) -> Subquery:
    """Figures over the votes of each comparison that has one; each costs time, whether it is read or not."""
    query = select(judgment.comparison_id, *figures).where(*reading.votes())
    if ids is not None:
        query = query.where(judgment.comparison_id.in_(ids))
    return query.group_by(judgment.comparison_id).subquery("tally")


_NUM_VOTES = func.count()
_ANSWER_COUNTS = [func.count().filter(judgment.choice == choice) for choice in CHOICES]


def _most(reading: Reading) -> ColumnElement[int]:
    """The votes for the most frequent answer."""
    return reading.greatest(*_ANSWER_COUNTS)


def excluded_ids(project_id: int) -> Select:
    """Selects the ids of what is excluded, by its own index."""
    return select(comparison.id).where(comparison.project_id == project_id, text(EXCLUDED))


def _excluded(reading: Reading, chosen: ComparisonFilter) -> list[Condition]:
    match chosen.excluded:
        case "without" if not chosen.keys:  # what a link names is shown in any case
            return [comparison.id.not_in(excluded_ids(reading.project_id))]
        case "only":
            return [comparison.id.in_(excluded_ids(reading.project_id))]
        case _:
            return []


def _state(reading: Reading, state: State) -> list[Condition]:
    work = select(slot.id).where(slot.comparison_id == comparison.id, slot.kind == "work").exists()
    # Of a comparison that is neither a check nor excluded, a judgment is wanted or there.
    has_work = or_(and_(comparison.gold_use == "", ~comparison.excluded), work)
    missing = comparison.id.in_(_missing(reading))
    match state:
        case "any":
            return []
        case "unjudged":
            judged = select(judgment.id).where(
                *reading.judgments(),
                judgment.comparison_id == comparison.id,
                judgment.kind.in_(COLLECTED_KINDS),
                judgment.choice.not_in(NO_ANSWER),
            )
            return [missing, ~judged.exists()]
        case "open":
            return [missing]
        case "complete":
            return [has_work, ~missing]
        case "gold":
            return [comparison.gold_use != ""]
        case "decided":
            decided = tables.adjudication.c
            return [comparison.id.in_(select(decided.comparison_id).where(decided.project_id == reading.project_id))]


def _missing(reading: Reading) -> Select:
    """Selects comparisons of which a judgment is wanted that is not there."""
    of_project = slot.project_id == reading.project_id
    parts = [select(slot.comparison_id).where(of_project, text(condition)) for condition in (OPEN_WORK, LEASED_WORK)]
    if reading.importing:
        parts.append(
            select(slot.comparison_id).where(of_project, slot.kind == "work", slot.state == JUDGED, SLOT_WAITS)
        )
    return union_all(*parts)  # type: ignore[return-value]


def _people(reading: Reading, chosen: ComparisonFilter) -> list[Condition]:
    parts: list[Condition] = [
        comparison.id.in_(
            select(judgment.comparison_id).where(
                *reading.judgments(), judgment.user_id == reading.people[name], judgment.choice != "withdrawn"
            )
        )
        for name in chosen.persons
    ]
    if len(chosen.disagree) == 2:
        one, other = (reading.people[name] for name in chosen.disagree)
        parts.append(comparison.id.in_(_two_differ(reading, one, other)))
    elif chosen.disagree:
        parts.append(comparison.id.in_(apart_from_majority(reading, reading.people[chosen.disagree[0]])))
    for name, query in ((chosen.missed, missed), (chosen.changed, changed), (chosen.fast, too_fast)):
        if name:
            person = None if name == ANYBODY else reading.people[name]
            parts.append(comparison.id.in_(query(reading, person)))
    return parts


def _two_differ(reading: Reading, one: int, other: int) -> Select:
    first, second = tables.judgment.alias("first"), tables.judgment.alias("second")
    return (
        select(first.c.comparison_id)
        .join(second, second.c.comparison_id == first.c.comparison_id)
        .where(*reading.votes(first), *reading.votes(second))
        .where(first.c.user_id == one, second.c.user_id == other, first.c.choice != second.c.choice)
    )


def others_majority(reading: Reading, user_id: int) -> Subquery:
    """By comparison that a person judged, how often the others gave each answer, and the votes of the most frequent."""
    own = tables.judgment.alias("own")
    return (
        select(
            judgment.comparison_id,
            own.c.choice.label("answer"),
            *(count.label(f"num_{choice}") for choice, count in zip(CHOICES, _ANSWER_COUNTS, strict=True)),
            _most(reading).label("most"),
        )
        .join(own, own.c.comparison_id == judgment.comparison_id)
        .where(*reading.votes(), judgment.user_id != user_id, *reading.votes(own), own.c.user_id == user_id)
        .group_by(judgment.comparison_id, own.c.choice)
        .subquery("others")
    )


def is_apart(others: Subquery) -> tuple[Condition, Condition]:
    """That the others have a single most frequent answer, and the person gave another one."""
    counts = {choice: others.c[f"num_{choice}"] for choice in CHOICES}
    tops = sum(case((count == others.c.most, 1), else_=0) for count in counts.values())
    own = case(*((others.c.answer == choice, count) for choice, count in counts.items()))
    return type_coerce(tops == 1, Boolean), own != others.c.most


def apart_from_majority(reading: Reading, user_id: int) -> Select:
    """Selects comparisons on which a person's answer is not the single most frequent one of the others."""
    others = others_majority(reading, user_id)
    return select(others.c.comparison_id).where(*is_apart(others))


def missed(reading: Reading, user_id: int | None) -> Select:
    """Selects comparisons whose known answer somebody missed; repeats are no check."""
    return select(judgment.comparison_id).where(*is_missed(reading, user_id))


def is_missed(reading: Reading, user_id: int | None) -> list[Condition]:
    """What a judgment fulfils that missed a known answer."""
    gold = tables.comparison.alias("gold")
    wrong = select(gold.c.id).where(
        gold.c.id == judgment.comparison_id, gold.c.gold["choice"].as_string() != judgment.choice
    )
    checks = select(gold.c.id).where(gold.c.project_id == reading.project_id, text("gold_use <> ''"))
    return [
        *_of(reading, user_id),
        judgment.comparison_id.in_(checks),
        judgment.kind != "repeat",
        judgment.choice.not_in(NO_ANSWER),
        wrong.correlate(tables.judgment).exists(),
    ]


def changed(reading: Reading, user_id: int | None) -> Select:
    """Selects comparisons that somebody answered differently when they came again."""
    return select(judgment.comparison_id).where(*is_changed(reading, user_id))


def is_changed(reading: Reading, user_id: int | None) -> list[Condition]:
    """What a repeat fulfils whose answer is not the first one."""
    before = tables.judgment.alias("before")
    differs = select(before.c.id).where(
        before.c.comparison_id == judgment.comparison_id,
        before.c.user_id == judgment.user_id,
        *reading.judgments(before),
        before.c.kind != "repeat",
        before.c.choice.not_in(NO_ANSWER),
        before.c.choice != judgment.choice,
    )
    return [
        *_of(reading, user_id),
        judgment.kind == "repeat",
        judgment.choice.not_in(NO_ANSWER),
        differs.correlate(tables.judgment).exists(),
    ]


def too_fast(reading: Reading, user_id: int | None) -> Select:
    """Selects comparisons that somebody answered faster than anybody reads."""
    return select(judgment.comparison_id).where(*is_fast(reading, user_id))


def is_fast(reading: Reading, user_id: int | None) -> list[Condition]:
    """What a judgment fulfils that took less time than reading takes."""
    read = tables.comparison.alias("read")
    seconds = type_coerce(judgment.seconds, Float)
    short = select(read.c.id).where(
        read.c.id == judgment.comparison_id, seconds * TOO_FAST_CHARACTERS_PER_S < read.c.length
    )
    return [
        *_of(reading, user_id),
        seconds > 0,
        judgment.choice != "withdrawn",
        short.correlate(tables.judgment).exists(),
    ]


def _of(reading: Reading, user_id: int | None) -> list[Condition]:
    return [*reading.judgments(), *([] if user_id is None else [judgment.user_id == user_id])]


def _answers(reading: Reading, chosen: ComparisonFilter) -> list[Condition]:
    parts: list[Condition] = []
    if chosen.agreement in (UNANIMOUS, SPLIT):
        differ = func.min(judgment.choice) < func.max(judgment.choice)
        one = and_(func.count() > 1, func.min(judgment.choice) == func.max(judgment.choice))
        by_comparison = select(judgment.comparison_id).where(*reading.votes()).group_by(judgment.comparison_id)
        parts.append(comparison.id.in_(by_comparison.having(differ if chosen.agreement == SPLIT else one)))
    elif (shares := chosen.shares()) is not None:
        votes = grouped_votes(reading, _NUM_VOTES.label("num_votes"), _most(reading).label("most"))
        share = votes.c.most * 1.0 / votes.c.num_votes
        within = (votes.c.num_votes > 1, share >= shares[0], share <= shares[1])
        parts.append(comparison.id.in_(select(votes.c.comparison_id).where(*within)))
    if chosen.criterion:
        parts.append(comparison.id.in_(_differ_on(reading, chosen.criterion)))
    if chosen.flag:
        named = cast(judgment.flags, Text).contains(json.dumps(chosen.flag, ensure_ascii=False), autoescape=True)
        flagged = select(judgment.comparison_id).where(*reading.judgments(), judgment.choice != "withdrawn", named)
        parts.append(comparison.id.in_(flagged))
    if chosen.since or chosen.until:
        when = type_coerce(judgment.created_at, Float)
        bounds = [*reading.judgments(), judgment.choice != "withdrawn", when > 0]
        if chosen.since:
            bounds.append(when >= datetime.combine(chosen.since, datetime.min.time(), UTC).timestamp())
        if chosen.until:
            after = datetime.combine(chosen.until, datetime.min.time(), UTC) + timedelta(days=1)
            bounds.append(when < after.timestamp())
        parts.append(comparison.id.in_(select(judgment.comparison_id).where(*bounds)))
    return parts


def _differ_on(reading: Reading, criterion: str) -> Select:
    """Selects comparisons on which answers to a criterion point in different directions."""
    position = func.instr if reading.sqlite else func.strpos
    marks = (direction_mark(criterion, "<"), direction_mark(criterion, "="), direction_mark(criterion, ">"))
    given = [func.max(case((position(judgment.directions, mark) > 0, 1), else_=0)) for mark in marks]
    return (
        select(judgment.comparison_id)
        .where(*reading.votes(), judgment.directions != "")
        .group_by(judgment.comparison_id)
        .having(given[0] + given[1] + given[2] > 1)
    )


def _contents(reading: Reading, chosen: ComparisonFilter) -> list[Condition]:
    parts: list[Condition] = []
    if chosen.keys:
        parts.append(comparison.key.in_(chosen.keys))
    if chosen.text:
        places = (comparison.key, cast(tables.prompt.c.messages, Text), ANSWER_A.c.text, ANSWER_B.c.text)
        for_case = "contains" if reading.sqlite else "icontains"  # SQLite's LIKE is blind to the case of letters itself
        parts.append(or_(*(getattr(column, for_case)(chosen.text, autoescape=True) for column in places)))
    sides = (comparison.response_a, comparison.response_b)
    wrote = [select(tables.response.c.id).where(tables.response.c.source == name) for name in chosen.models]
    match wrote:
        case [one]:
            parts.append(or_(*(side.in_(one) for side in sides)))
        case [one, other]:
            a, b = sides
            parts.append(or_(and_(a.in_(one), b.in_(other)), and_(a.in_(other), b.in_(one))))
    if chosen.shortest:
        parts.append(comparison.length >= chosen.shortest)
    if chosen.longest:
        parts.append(comparison.length <= chosen.longest)
    return parts


def _places(reading: Reading, chosen: ComparisonFilter) -> list[Condition]:
    """Conditions on what a comparison is put into: tags, a turn, a round, questions, someone's hands."""
    parts: list[Condition] = []
    tag = desk_tables.comparison_tag.c
    for name in chosen.tags:
        parts.append(
            comparison.id.in_(select(tag.comparison_id).where(tag.project_id == reading.project_id, tag.tag == name))
        )
    if chosen.turn:
        turn, pair = loop_tables.turn.c, loop_tables.turn_pair.c
        of_turn = select(pair.comparison_id).join(loop_tables.turn, turn.id == pair.turn_id)
        parts.append(
            comparison.id.in_(of_turn.where(turn.project_id == reading.project_id, turn.number == chosen.turn))
        )
    if chosen.round:
        pair = loop_tables.blind_pair.c
        parts.append(comparison.id.in_(select(pair.comparison_id).where(pair.round_id == chosen.round)))
    if chosen.asked:
        question = desk_tables.question.c
        waiting = (question.project_id == reading.project_id, question.answered_at.is_(None))
        parts.append(comparison.id.in_(select(question.comparison_id).where(*waiting)))
    if chosen.assigned:
        parts.append(comparison.id.in_(_reserved(reading, chosen.assigned)))
    return parts


def _reserved(reading: Reading, name: str) -> Select:
    """Selects comparisons with an open or leased judgment that is reserved."""
    if name == ANYBODY:
        whose = slot.group_name.startswith(RESERVED)
    else:
        whose = slot.group_name == reserved_for(reading.people[name])
    unjudged = cast(slot.state, Integer).in_((OPEN, LEASED))
    return select(slot.comparison_id).where(slot.project_id == reading.project_id, slot.kind == "work", unjudged, whose)
