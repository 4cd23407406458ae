"""The world of the benchmark of rewards of steps: its labels, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from module_files import load_module

benchmark = load_module("step_search_benchmark", Path(__file__).parents[1] / "benchmarks" / "step_search.py")


def test_a_line_is_right_if_it_and_all_before_it_are() -> None:
    """7 + 5 = 2, + 2 = 4, + 1 = 5, + 3 = 8, + 4 = 2, + 5 = 7; a slip in the second line, a turn too many."""
    chain = benchmark.Chain(start=7, digits=(5, 2, 1, 3, 4, 5))
    assert chain.lines([0] * 6).splitlines()[-1] == "2 + 5 = 7"
    assert chain.labels(chain.lines([0] * 6).splitlines()) == [True] * 6
    slipped = chain.lines([0, 3, 0, 0, 0, 0]).splitlines()
    assert slipped[1:3] == ["2 + 2 = 7", "7 + 1 = 8"]
    assert chain.labels(slipped) == [True] + [False] * 5
    assert chain.labels([*chain.lines([0] * 6).splitlines(), "7 + 1 = 8"]) == [True] * 6 + [False]
    assert chain.is_solved("2 + 5 = 7\n")
    assert not chain.is_solved("2 + 5 = 8")
    assert not chain.is_solved("")


def test_the_table_counts_problems_of_all_seeds() -> None:
    names = [f"{name} {n}" for n in benchmark.SIZES for name in ("prm, min", "majority")]
    one = {name: np.array([1.0, 0.0]) for name in names}
    other = one | {"majority 16": np.array([0.0, 0.0])}
    row = benchmark.table([one, other]).splitlines()[-1]
    assert row.startswith("| majority | 50.0")
    assert " 25.0 (" in row.split("|")[3]
    assert " 25.0 (" in row.split("|")[4]
