"""What an exercise gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Solved:
    """The figures of an exercise beside what was expected of them.

    Attributes:
        question: what is asked.
        header, rows: the table.
        num_left: columns of it that say what a row is.
        expected: the answer, in words.
        holds: whether the figures say so.
    """

    question: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_left: int = 1
    expected: str
    holds: bool
