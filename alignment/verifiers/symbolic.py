"""`--reward math`: whether an answer is the right expression, by math-verify: LaTeX, sets, intervals, roots, matrices.

An optional extra beside `numeric`, which knows numbers alone and needs nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

ANSWER_COLUMNS = ("final", "answer", "solution", "ground_truth", "target")
INSTALL = "math takes the package math-verify: pip install 'tiebreak[math]'"


def make_math(argument: str) -> Callable[..., list[float]]:
    """1 where a completion's last expression equals the one of its row, else 0; the argument names the column.

    Without an argument it is the first of ANSWER_COLUMNS that the rows have. math-verify stops an expression that takes
    longer than its five seconds; it is then none.

    Raises:
        ValueError: if math-verify is not installed, in one line.
    """
    if importlib.util.find_spec("math_verify") is None:
        raise ValueError(INSTALL)

    def math(completions: Sequence[str], **columns: Sequence[Any]) -> list[float]:
        from math_verify import parse, verify  # pyright: ignore[reportMissingImports] (an extra)

        column = next((name for name in ((argument,) if argument else ANSWER_COLUMNS) if name in columns), None)
        if column is None:
            raise ValueError(f"no column {argument or ' or '.join(ANSWER_COLUMNS)} holds the right answer; math:COLUMN")
        rewards = []
        for completion, value in zip(completions, columns[column], strict=True):
            target = parse(_as_math(str(value)))
            if not target:
                raise ValueError(f"column {column} holds {str(value)[:80]!r}, which has no expression")
            rewards.append(float(verify(target, parse(completion))))
        return rewards

    return math


def _as_math(text: str) -> str:
    """A bare expression between dollars, as math-verify finds it."""
    return text if "$" in text or "\\boxed" in text else f"${text}$"
