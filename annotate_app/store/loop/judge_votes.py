"""Votes of judges: one by one, and as columns, read from the driver's tuples: a hundred thousand in about a second."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from sqlalchemy import Connection, Float, Row, Text, case, cast, func, select, text, type_coerce

from annotate_app.store.base.answers import plain_criteria, read_criteria
from annotate_app.store.base.database import bulk_execute, read_pairs
from annotate_app.store.base.pending import COMPARISON_COUNTED
from annotate_app.store.base.rights import checked_content
from annotate_app.store.base.slots import batches
from annotate_app.store.judgments.votes import read_criteria_columns, read_numbers
from annotate_app.store.projects.comparisons import keys_to_ids
from annotate_app.store.schema import loop_tables, tables
from rewardkit.data.records import CHOICES, Judgment

JUDGE_CHOICES = (*CHOICES, "refused", "unreadable")
JUDGE_CHOICE_CODES: dict[str, int] = {name: code for code, name in enumerate(JUDGE_CHOICES)}
Shown = Literal["a", "b", ""]
LONGEST_RAW = 100_000
_COLUMNS = (
    *("project_id", "judge_id", "comparison_id", "rubric_version", "shown_first", "sample", "choice", "p_a"),
    *("strength", "criteria", "raw", "usage", "examples", "created_at"),
)
_INSERT = (
    f"INSERT INTO judge_vote ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT DO NOTHING"
)
SPENT = ("prompt_tokens", "completion_tokens", "seconds", "cost")


@dataclass(frozen=True, kw_only=True)
class JudgeVote:
    """One answer of a judge, in content space: its position is undone already.

    Attributes:
        comparison_id: key of the comparison.
        shown_first: which answer it saw first; empty where it saw no order.
        sample: number of the answer to the same question.
        choice: one of `rewardkit.data.records.CHOICES`, or refused, or unreadable.
        p_a: its probability that a is the better one, a tie as half; None where it names a choice only.
        strength: degree of the preference, as in `rewardkit.data.records.Judgment`.
        criteria: by criterion, a signed degree (below 0 prefers a) or the two ratings.
        raw: what it answered, as it came: text from elsewhere, to be rendered as such.
        created_at: unix seconds, 0 where it is not known.
        usage: prompt_tokens, completion_tokens, tries, seconds, cost, as far as they are known.
        examples: hash of the examples that it was shown; empty for none.
        judge: its name, where votes are read.
    """

    comparison_id: str
    rubric_version: int
    choice: str
    shown_first: Shown = ""
    sample: int = 0
    p_a: float | None = None
    strength: int = 0
    criteria: Mapping[str, int | tuple[int, int]] = field(default_factory=dict)
    raw: str = ""
    usage: Mapping[str, float] = field(default_factory=dict)
    examples: str = ""
    created_at: float = 0.0
    judge: str = ""

    def __post_init__(self) -> None:
        if self.choice not in JUDGE_CHOICES:
            raise ValueError(f"choice is {self.choice!r:.40}, allowed are {', '.join(JUDGE_CHOICES)}")
        if (self.choice in ("a", "b")) != (self.strength > 0):
            raise ValueError(f"strength is {self.strength} with choice {self.choice}: a and b take 1 or more, others 0")
        if self.p_a is not None and not 0 <= self.p_a <= 1:
            raise ValueError(f"p_a is {self.p_a}, allowed is 0 to 1")
        if self.shown_first not in get_args(Shown):
            raise ValueError(f"shown_first is {self.shown_first!r:.40}, allowed are a, b and nothing")


def vote_of(judgment: Judgment, *, sample: int = 0) -> JudgeVote:
    """The vote of a judge whose answer came as a judgment; its rationale is the raw answer."""
    return JudgeVote(
        comparison_id=judgment.comparison_id,
        rubric_version=judgment.rubric_version,
        choice=judgment.choice,
        shown_first=judgment.shown_left,
        sample=sample,
        strength=judgment.strength,
        criteria=judgment.criteria,
        raw=judgment.rationale,
        usage={"seconds": judgment.seconds} if judgment.seconds else {},
        created_at=judgment.created_at,
    )


@dataclass(frozen=True, kw_only=True)
class VoteTable:
    """N votes of J judges on I comparisons ("items"), in the order they came; content space as `annotate_app.votes`.

    Attributes:
        items: (I,) comparison ids, those of `annotate_app.votes.Votes.items` in the same order.
        judges: (J,) names of the judges.
        example_hashes: hashes of examples that were shown, the empty one for none among them; `examples` indexes it.
        item: (N,) int32, index into items.
        judge: (N,) int32, index into judges.
        choice: (N,) int8, index into `JUDGE_CHOICES`.
        score: (N,) int8, signed degree, below 0 for a; 0 for every choice but a and b.
        p_a: (N,) float64, probability that a is better, a tie as half; NaN where it named a choice only.
        shown_first: (N,) int8, 0 when a was shown first, 1 when b was, -1 where it saw no order.
        sample: (N,) int16, number of the answer to the same question.
        rubric_version: (N,) int32.
        examples: (N,) int32, index into example_hashes.
        created_at: (N,) float64, unix seconds.
        criteria: by criterion, (N,) float32 signed degree (b minus a for rated criteria), NaN where not judged.
        spent: by name of `SPENT`, (N,) float64, NaN where it is not known.
    """

    items: tuple[str, ...]
    judges: tuple[str, ...]
    example_hashes: tuple[str, ...]
    item: np.ndarray
    judge: np.ndarray
    choice: np.ndarray
    score: np.ndarray
    p_a: np.ndarray
    shown_first: np.ndarray
    sample: np.ndarray
    rubric_version: np.ndarray
    examples: np.ndarray
    created_at: np.ndarray
    criteria: Mapping[str, np.ndarray]
    spent: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.item)


def insert_votes(connection: Connection, judge_id: int, rows: Iterable[JudgeVote]) -> int:
    """Inserts votes within a transaction; see `Judges.add_votes`."""
    project_id = connection.execute(
        select(loop_tables.judge.c.project_id).where(loop_tables.judge.c.id == judge_id)
    ).scalar()
    if project_id is None:
        raise ValueError(f"there is no judge {judge_id}")
    rows = list(rows)
    mine = select(func.count()).where(loop_tables.judge_vote.c.judge_id == judge_id)
    before = connection.execute(mine).scalar_one()
    ids: dict[str, int] = {}
    for keys in batches(sorted({row.comparison_id for row in rows})):
        ids |= keys_to_ids(connection, project_id, keys)
    if missing := [row.comparison_id for row in rows if row.comparison_id not in ids]:
        raise ValueError(f"there is no comparison {missing[0]!r:.80} in the project")
    values = []
    for row in rows:
        checked_content(row.raw[:LONGEST_RAW], "raw answer")
        values.append(
            (
                *(project_id, judge_id, ids[row.comparison_id], row.rubric_version, row.shown_first, row.sample),
                *(row.choice, row.p_a, row.strength, json.dumps(plain_criteria(row.criteria)), row.raw[:LONGEST_RAW]),
                *(json.dumps(dict(row.usage)), row.examples, row.created_at),
            )
        )
    bulk_execute(connection, _INSERT, values)
    return connection.execute(mine).scalar_one() - before


def read_vote(row: Row) -> JudgeVote:
    """A vote from a row of the table, with the comparison's `key` and the judge's `name`."""
    values: dict[str, Any] = {name: getattr(row, name) for name in _COLUMNS[3:]}
    values["criteria"] = read_criteria(row.criteria)
    return JudgeVote(comparison_id=row.key, judge=row.name, **values)


def read_vote_table(connection: Connection, project_id: int, judge_id: int | None) -> VoteTable:
    """The votes of one judge of a project, or of all; without what is excluded."""
    columns, comparison = loop_tables.judge_vote.c, tables.comparison.c
    shown = select(comparison.id, comparison.key).where(comparison.project_id == project_id, COMPARISON_COUNTED)
    listed = connection.execute(shown.order_by(comparison.id)).all()
    item_ids = np.array([row[0] for row in listed], dtype=np.int64)
    judge = loop_tables.judge.c
    named = select(judge.id, judge.name).where(judge.project_id == project_id).order_by(judge.id)
    names = read_pairs(connection, named)
    excluded = select(comparison.id).where(comparison.project_id == project_id, text(tables.EXCLUDED))
    chosen = [columns.project_id == project_id, columns.comparison_id.not_in(excluded)]
    chosen += [] if judge_id is None else [columns.judge_id == judge_id]
    shown_first = case({"a": 0, "b": 1}, value=columns.shown_first, else_=-1)
    spent = [func.coalesce(columns.usage[name].as_float(), -1.0) for name in SPENT]
    numbers = read_numbers(
        connection,
        select(
            *(columns.id, columns.comparison_id, columns.judge_id),
            case(JUDGE_CHOICE_CODES, value=columns.choice),
            case({"a": -columns.strength, "b": columns.strength}, value=columns.choice, else_=0),
            *(func.coalesce(columns.p_a, -1.0), shown_first, columns.sample, columns.rubric_version),
            type_coerce(columns.created_at, Float),
            *spent,
        ).where(*chosen),
    )
    numbers = numbers[np.argsort(numbers[:, 0])]
    vote_ids = numbers[:, 0].astype(np.int64)
    measured = np.where(numbers < 0, np.nan, numbers)
    hashes = read_pairs(connection, select(columns.id, columns.examples).where(*chosen, columns.examples != ""))
    example_hashes = ("", *sorted(set(hashes.values())))
    code = {examples_hash: index for index, examples_hash in enumerate(example_hashes)}
    criteria = select(columns.id, cast(columns.criteria, Text)).where(*chosen, cast(columns.criteria, Text) != "{}")
    return VoteTable(
        items=tuple(row[1] for row in listed),
        judges=tuple(names.values()),
        example_hashes=example_hashes,
        item=np.searchsorted(item_ids, numbers[:, 1].astype(np.int64)).astype(np.int32),
        judge=np.searchsorted(np.array([*names], dtype=np.int64), numbers[:, 2].astype(np.int64)).astype(np.int32),
        choice=numbers[:, 3].astype(np.int8),
        score=numbers[:, 4].astype(np.int8),
        p_a=measured[:, 5].copy(),
        shown_first=numbers[:, 6].astype(np.int8),
        sample=numbers[:, 7].astype(np.int16),
        rubric_version=numbers[:, 8].astype(np.int32),
        examples=np.array([code[hashes.get(vote_id, "")] for vote_id in vote_ids.tolist()], dtype=np.int32),
        created_at=numbers[:, 9].copy(),
        criteria=read_criteria_columns(connection, criteria, vote_ids),
        spent={name: measured[:, 10 + index].copy() for index, name in enumerate(SPENT)},
    )
