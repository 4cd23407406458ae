"""Judgments between their rows and `rewardkit.data.records`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Float, Row, Select, case, select, type_coerce

from annotate_app.store.base.pending import JUDGMENT_SHOWN
from annotate_app.store.schema import tables
from rewardkit.data.records import Judgment, Span
from rewardkit.data.times import LAST_TIME, LONGEST_STORED_S

# The same in SQL as the columns' types do in Python: what is no time, or no duration, is 0.
_made_at = type_coerce(tables.judgment.c.created_at, Float)
_spent = type_coerce(tables.judgment.c.seconds, Float)
MADE_AT: ColumnElement[float] = case(((_made_at > 0) & (_made_at < LAST_TIME), _made_at), else_=0.0)
SPENT_S: ColumnElement[float] = case(((_spent > 0) & (_spent <= LONGEST_STORED_S), _spent), else_=0.0)


def select_judgments(project_id: int) -> Select:
    """The query whose rows `read_judgment` takes: those that count, oldest first."""
    columns = tables.judgment.c
    return (
        select(tables.judgment, tables.comparison.c.key, tables.user.c.name)
        .join(tables.comparison, tables.comparison.c.id == columns.comparison_id)
        .join(tables.user, tables.user.c.id == columns.user_id)
        .where(columns.project_id == project_id, columns.newest, columns.choice != "withdrawn", JUDGMENT_SHOWN)
        .order_by(columns.id)
    )


def read_judgment(row: Row) -> Judgment:
    """A judgment from a row of `select_judgments`."""
    return Judgment(
        comparison_id=row.key,
        annotator=row.name,
        choice=row.choice,
        strength=row.strength,
        criteria=read_criteria(row.criteria),
        flags={side: tuple(names) for side, names in row.flags.items()},
        spans=read_spans(row.spans or ()),
        edited=row.edited or {},
        rationale=row.rationale,
        reason=row.reason,
        seconds=row.seconds,
        shown_left=row.shown_left,
        created_at=row.created_at,
        rubric_version=row.rubric_version,
        ranks=read_ranking(row.ranking, "ranks"),
        shown=read_ranking(row.ranking, "shown"),
        step_labels=tuple(row.step_labels or ()),
    )


def plain_ranking(judgment: Judgment) -> dict[str, list[int | None]] | None:
    """A ranking as it is stored, None for a judgment that is none."""
    return {"ranks": list(judgment.ranks), "shown": list(judgment.shown)} if judgment.ranks else None


def read_ranking(stored: Mapping[str, list[Any]] | None, part: str) -> tuple[Any, ...]:
    """The `ranks`, or the order that was `shown`, of a stored ranking; empty where it is none."""
    return tuple((stored or {}).get(part) or ())


def plain_criteria(criteria: Mapping[str, int | tuple[int, int]]) -> dict[str, int | list[int]]:
    """Criteria as they are stored; `read_criteria` is the way back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in criteria.items()}


def read_criteria(stored: Mapping[str, int | list[int]]) -> dict[str, int | tuple[int, int]]:
    """Criteria as a Judgment has them."""
    return {name: (value[0], value[1]) if isinstance(value, list) else value for name, value in stored.items()}


def directions(criteria: Mapping[str, int | list[int]]) -> str:
    """Which way each stored criterion points, as filters look for it: see `direction_mark`."""
    differences = {name: value[1] - value[0] if isinstance(value, list) else value for name, value in criteria.items()}
    return "".join(direction_mark(name, "<=>"[(value > 0) - (value < 0) + 1]) for name, value in differences.items())


def direction_mark(name: str, direction: str) -> str:
    """What `directions` holds of a criterion: `<` where a is better, `>` where b is, `=` where neither is.

    No mark is part of another: quotes inside a name are escaped.
    """
    return f";{json.dumps(name, ensure_ascii=False)}{direction}"


def plain_spans(spans: Iterable[Span]) -> list[list[object]] | None:
    """Spans as they are stored, None where there are none; `read_spans` is the way back."""
    return [[span.side, span.start, span.end, span.flag] for span in sorted(spans)] or None


def read_spans(stored: Iterable[Sequence]) -> tuple[Span, ...]:
    """Spans as a Judgment has them."""
    return tuple(Span(side=side, start=start, end=end, flag=flag) for side, start, end, flag in stored)
