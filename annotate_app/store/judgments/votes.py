"""A project's judgments as columns, read straight from the driver's tuples: a million in a few seconds."""

from __future__ import annotations

import json
import math
from itertools import chain
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, Text, case, cast, func, select, text

from annotate_app.store.base.answers import MADE_AT, SPENT_S
from annotate_app.store.base.database import read_pairs
from annotate_app.store.base.pending import COMPARISON_COUNTED, COMPARISON_SHOWN, JUDGMENT_SHOWN
from annotate_app.store.judgments.ranked_votes import Answers, expand, read_further_responses
from annotate_app.store.judgments.stepped_votes import expand_steps, read_step_lengths
from annotate_app.store.schema import tables
from annotate_app.votes import CHOICE_CODES, KIND_CODES, Votes

CHUNK = 50_000


def read_votes(
    connection: Connection, project_id: int, since: float, until: float, *, with_sources: bool, excluded: bool = False
) -> Votes:
    """The newest, not withdrawn judgments made at or after `since` and before `until`; items are all comparisons.

    Args:
        connection: of the transaction to read in.
        project_id: of the project.
        since, until: unix times.
        with_sources: False leaves out who wrote the completions.
        excluded: whether excluded comparisons, and what was said of them, are among it.
    """
    columns = tables.judgment.c
    chosen = [columns.project_id == project_id, columns.newest, columns.choice != "withdrawn", JUDGMENT_SHOWN]
    if not excluded:
        chosen.append(columns.comparison_id.not_in(_excluded(project_id)))
    if since > 0:
        chosen.append(since <= MADE_AT)
    if math.isfinite(until):
        chosen.append(until > MADE_AT)
    query = select(
        columns.id,
        columns.comparison_id,
        columns.user_id,
        case(CHOICE_CODES, value=columns.choice),
        case({"a": -columns.strength, "b": columns.strength}, value=columns.choice, else_=0),
        case(KIND_CODES, value=columns.kind),
        case({"a": 0, "b": 1}, value=columns.shown_left, else_=-1),
        SPENT_S,
        MADE_AT,
    ).where(*chosen)
    numbers = read_numbers(connection, query)
    numbers = numbers[np.argsort(numbers[:, 0])]
    judgment_ids, comparison_ids, user_ids = numbers[:, :3].astype(np.int64).T
    item_ids, items = _read_items(connection, project_id, with_sources, excluded)
    criteria = select(columns.id, cast(columns.criteria, Text)).where(*chosen, cast(columns.criteria, Text) != "{}")
    by_criterion = read_criteria_columns(connection, criteria, judgment_ids)
    item = np.searchsorted(item_ids, comparison_ids)
    further = read_further_responses(connection, project_id, with_sources)
    lengths = {} if further else read_step_lengths(connection, project_id)
    if further or lengths:
        said = columns.ranking if further else columns.step_labels
        texts = dict(connection.execute(select(columns.id, cast(said, Text)).where(*chosen, said.is_not(None))).all())
        if further:
            answers = Answers(item=item, codes=numbers[:, 3:], rankings=texts)
            items, expanded, item, codes = expand(items, item_ids, further, answers, judgment_ids)
        else:
            votes = (item, numbers[:, 3:], texts, judgment_ids)
            items, expanded, item, codes = expand_steps(items, item_ids, lengths, *votes)
        numbers = np.column_stack([numbers[expanded, :3], codes])
        user_ids = user_ids[expanded]
        by_criterion = {name: values[expanded] for name, values in by_criterion.items()}
    people, annotator = np.unique(user_ids, return_inverse=True)
    names = read_pairs(connection, select(tables.user.c.id, tables.user.c.name))
    return Votes(
        **items,
        annotators=tuple(names[int(user_id)] for user_id in people),
        item=item.astype(np.int32),
        annotator=annotator.astype(np.int32),
        choice=numbers[:, 3].astype(np.int8),
        score=numbers[:, 4].astype(np.int8),
        kind=numbers[:, 5].astype(np.int8),
        shown_left=numbers[:, 6].astype(np.int8),
        seconds=numbers[:, 7].astype(np.float32),
        created_at=numbers[:, 8].copy(),
        criteria=by_criterion,
    )


def read_numbers(connection: Connection, query: Select) -> np.ndarray:
    """The rows of an all-number query as float64 (rows, columns); ids are exact below 2^53."""
    width = len(query.selected_columns)
    result = connection.execute(query.execution_options(yield_per=CHUNK))
    parts = [
        np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=len(rows) * width).reshape(-1, width)
        for rows in result.partitions(CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty((0, width))


def read_criteria_columns(connection: Connection, query: Select, judgment_ids: np.ndarray) -> dict[str, np.ndarray]:
    """By criterion, the signed degree of each judgment, b minus a for ratings, NaN where there is none."""
    by_criterion: dict[str, tuple[list[int], list[float]]] = {}
    parsed: dict[str, dict[str, float]] = {}  # few distinct answers, so each is parsed once
    for judgment_id, stored in connection.execute(query.execution_options(yield_per=CHUNK)):
        if stored not in parsed:
            answers = json.loads(stored).items()
            parsed[stored] = {
                name: value[1] - value[0] if isinstance(value, list) else value for name, value in answers
            }
        for name, value in parsed[stored].items():
            ids, values = by_criterion.setdefault(name, ([], []))
            ids.append(judgment_id)
            values.append(value)
    columns = {}
    for name in sorted(by_criterion):
        ids, values = by_criterion[name]
        columns[name] = np.full(len(judgment_ids), np.nan, dtype=np.float32)
        columns[name][np.searchsorted(judgment_ids, ids)] = values
    return columns


def _excluded(project_id: int) -> Select:
    columns = tables.comparison.c
    return select(columns.id).where(columns.project_id == project_id, text(tables.EXCLUDED))


def _read_items(
    connection: Connection, project_id: int, with_sources: bool, excluded: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """Database ids of all comparisons, ascending, and the fields of Votes about them."""
    a, b = tables.response.alias("a"), tables.response.alias("b")
    columns = tables.comparison.c
    query = (
        select(columns.id, columns.key, a.c.source, b.c.source, func.length(a.c.text), func.length(b.c.text))
        .join(a, a.c.id == columns.response_a)
        .join(b, b.c.id == columns.response_b)
        .where(columns.project_id == project_id, COMPARISON_SHOWN if excluded else COMPARISON_COUNTED)
        .order_by(columns.id)
    )
    rows = connection.execute(query).all()
    gold = select(columns.id, columns.gold).where(columns.project_id == project_id, columns.gold.is_not(None))
    answers = {comparison_id: CHOICE_CODES[value["choice"]] for comparison_id, value in connection.execute(gold)}
    written = [(row[2], row[3]) if with_sources else ("", "") for row in rows]
    sources = sorted({source for pair in written for source in pair})
    number = {source: code for code, source in enumerate(sources)}
    fields = {
        "items": tuple(row[1] for row in rows),
        "sources": tuple(sources),
        "item_source_a": np.array([number[source] for source, _ in written], dtype=np.int32),
        "item_source_b": np.array([number[source] for _, source in written], dtype=np.int32),
        "item_length_a": np.array([row[4] for row in rows], dtype=np.int32),
        "item_length_b": np.array([row[5] for row in rows], dtype=np.int32),
        "item_gold": np.array([answers.get(row[0], -1) for row in rows], dtype=np.int8),
    }
    return np.array([row[0] for row in rows], dtype=np.int64), fields
