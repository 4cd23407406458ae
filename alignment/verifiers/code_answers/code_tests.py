"""`--reward code`: 1 where the code of a completion passes the tests of its row, else 0.

Tests as data sets write them: `test_list` (MBPP: a list of assertions, with `test_setup_code` before them), `test`
(HumanEval: a text with a function `check`, called with the function that `entry_point` names), `tests` (either).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from alignment.verifiers.code_answers.sandbox import CodeTests, run_tests, walls

TEST_COLUMNS = ("test_list", "tests", "test")
_FENCE = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)


def make_code(argument: str) -> Callable[..., list[float]]:
    """1 where all tests pass, else 0; with the argument `share` the share of the tests that do.

    Raises:
        ValueError: if the argument is another, or the machine has no sandbox.
    """
    if argument not in ("", "share"):
        raise ValueError(f"code is {argument!r}, allowed are code (all tests pass) and code:share (the share that do)")
    walls()

    def code(completions: Sequence[str], **columns: Sequence[Any]) -> list[float]:
        column = next((name for name in TEST_COLUMNS if name in columns), None)
        if column is None:
            raise ValueError(f"no column {' or '.join(TEST_COLUMNS)} holds tests")
        count = len(completions)
        setups, entries = (columns.get(name) or [""] * count for name in ("test_setup_code", "entry_point"))
        rows = [
            CodeTests(tests=read_tests(value, column), setup=setup or "", entry_point=entry or "")
            for value, setup, entry in zip(columns[column], setups, entries, strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            passed = list(pool.map(run_tests, map(code_of, completions), rows))
        return [sum(one) / len(one) if argument else float(all(one)) for one in passed]

    return code


def code_of(completion: str) -> str:
    """The last block of Python of a completion; else its last block; else all of it."""
    blocks = _FENCE.findall(completion)
    python = [text for language, text in blocks if language.lower() in ("python", "python3", "py")]
    return python[-1] if python else blocks[-1][1] if blocks else completion


def read_tests(value: object, column: str) -> tuple[str, ...]:
    """A text, a list of texts, or the same as JSON.

    Raises:
        ValueError: if it is none of these, or empty.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):  # a text of Python that begins so
            value = json.loads(value)
    tests = [value] if isinstance(value, str) else value
    if (
        not isinstance(tests, list | tuple)
        or not tests
        or not all(isinstance(one, str) and one.strip() for one in tests)
    ):
        raise ValueError(
            f"column {column} holds {str(value)[:80]!r}, allowed are tests: a text of Python or a list of them"
        )
    return tuple(tests)
