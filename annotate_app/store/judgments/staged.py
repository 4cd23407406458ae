"""Judgments made elsewhere, checked and laid down in a temporary file before the database's write lock is taken."""

from __future__ import annotations

import json
import pickle
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, NamedTuple

from annotate_app.store.base.answers import (
    directions,
    plain_criteria,
    plain_ranking,
    plain_spans,
    read_ranking,
    read_spans,
)
from annotate_app.store.base.database import to_json
from annotate_app.store.base.pending import IMPORTED_AT_ONCE
from annotate_app.store.base.rights import checked_content, checked_text
from rewardkit.data.records import Judgment, content_id
from rewardkit.data.times import LAST_TIME, LONGEST_STORED_S


class StagedJudgment(NamedTuple):
    """A judgment ready to be stored.

    `digest` is a hash of all it says; `criteria`, `flags`, `spans` and `edited` are JSON. One that is not `timed` said
    no time: it counts as made when it was imported.
    """

    comparison_id: str
    annotator: str
    digest: str
    timed: bool
    choice: str
    strength: int
    criteria: str
    flags: str
    rationale: str
    reason: str
    seconds: float
    shown_left: str
    rubric_version: int
    created_at: float
    spans: str | None
    edited: str | None
    ranking: str | None
    step_labels: str | None
    directions: str

    def marks(self) -> Judgment:
        """Its marked words, edits and labels of steps, as a judgment of nothing else."""
        return Judgment(
            comparison_id=self.comparison_id,
            annotator=self.annotator,
            choice="skip",
            spans=read_spans(json.loads(self.spans or "[]")),
            edited=json.loads(self.edited or "{}"),
            step_labels=tuple(json.loads(self.step_labels or "[]")),
        )

    def answer(self) -> tuple[object, ...]:
        """The part that is the answer, in the form of `_answer` of a row."""
        criteria, flags = json.loads(self.criteria), json.loads(self.flags)
        more = tuple(None if value is None else json.loads(value) for value in (self.spans, self.edited))
        ranks = read_ranking(json.loads(self.ranking) if self.ranking else None, "ranks")
        labels = tuple(json.loads(self.step_labels or "[]"))
        return self.choice, self.strength, criteria, flags, self.rationale, self.reason, *more, ranks, labels


@contextmanager
def stage_judgments(judgments: Iterable[Judgment]) -> Iterator[IO[bytes]]:
    """Judgments, read once and checked, in a temporary file, ready to be imported while the block lasts.

    It is done before the write lock is taken, under which rows are only handed to the driver.

    Raises:
        ValueError: if a text cannot be stored.
    """
    stream = iter(judgments)
    with tempfile.TemporaryFile() as file:
        while batch := list(islice(stream, IMPORTED_AT_ONCE)):
            pickle.dump([_staged(judgment) for judgment in batch], file, protocol=pickle.HIGHEST_PROTOCOL)
        yield file


def staged_batches(file: IO[bytes]) -> Iterator[list[StagedJudgment]]:
    """What `stage_judgments` laid down."""
    file.seek(0)
    while True:
        try:
            yield pickle.load(file)
        except EOFError:
            return


def _staged(judgment: Judgment) -> StagedJudgment:
    check_texts(judgment)
    criteria = plain_criteria(judgment.criteria)
    flags = {side: list(names) for side, names in judgment.flags.items()}
    spans, edited = plain_spans(judgment.spans), dict(judgment.edited) or None
    more = [] if spans is None and edited is None else [spans, edited]  # so that what was imported before is known
    digest = content_id(
        judgment.comparison_id,
        judgment.annotator,
        judgment.choice,
        judgment.strength,
        criteria,
        flags,
        judgment.rationale,
        judgment.reason,
        judgment.created_at,
        *more,
        *([list(judgment.ranks)] if judgment.ranks else []),
        *([{"steps": list(judgment.step_labels)}] if judgment.step_labels else []),
    )
    ranking = plain_ranking(judgment)
    return StagedJudgment(
        comparison_id=judgment.comparison_id,
        annotator=judgment.annotator,
        digest=digest,
        timed=judgment.created_at > 0,
        choice=judgment.choice,
        strength=judgment.strength,
        criteria=to_json(criteria),
        flags=to_json(flags),
        rationale=judgment.rationale,
        reason=judgment.reason,
        seconds=judgment.seconds,
        shown_left=judgment.shown_left,
        rubric_version=judgment.rubric_version,
        created_at=judgment.created_at or time.time(),
        spans=None if spans is None else to_json(spans),
        edited=None if edited is None else to_json(edited),
        ranking=None if ranking is None else to_json(ranking),
        step_labels=to_json(list(judgment.step_labels)) if judgment.step_labels else None,
        directions=directions(criteria),
    )


def check_texts(judgment: Judgment) -> None:
    """Raises ValueError for a judgment made elsewhere whose texts or times cannot be stored."""
    label = f"judgment of {judgment.comparison_id!r} by {judgment.annotator!r}"
    checked_content(judgment.rationale, f"{label}, rationale")
    checked_text(judgment.reason, f"{label}, reason", 200, empty=True)
    for side, text in judgment.edited.items():
        checked_content(text, f"{label}, edited.{side}")
    if not 0 <= judgment.seconds <= LONGEST_STORED_S:
        raise ValueError(f"{label}: seconds is {judgment.seconds}, allowed is 0 to {LONGEST_STORED_S:.0f}")
    if not 0 <= judgment.created_at < LAST_TIME:
        raise ValueError(f"{label}: created_at is {judgment.created_at}, allowed are unix seconds up to the year 2099")
