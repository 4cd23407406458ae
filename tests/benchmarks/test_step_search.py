"""The world of the benchmark of rewards of steps: its labels, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from module_files import load_module

benchmark = load_module("step_search_benchmark", Path(__file__).parents[1] / "benchmarks" / "step_search.py")


def test_a_line_is_right_if_it_and_all_before_it_are() -> None:
    """4 + 3 = 2, + 2 = 4, + 1 = 0, + 3 = 3, + 1 = 4; a slip in the second line, a turn too many."""
    chain = benchmark.Chain(start=4, digits=(3, 2, 1, 3, 1))
    assert chain.lines([0] * 5).splitlines()[-1] == "3 + 1 = 4"
    assert chain.labels(chain.lines([0] * 5).splitlines()) == [True] * 5
    slipped = chain.lines([0, 2, 0, 0, 0]).splitlines()
    assert slipped[1:3] == ["2 + 2 = 1", "1 + 1 = 2"]
    assert chain.labels(slipped) == [True] + [False] * 4
    assert chain.labels([*chain.lines([0] * 5).splitlines(), "4 + 1 = 0"]) == [True] * 5 + [False]
    assert chain.is_solved("3 + 1 = 4\n")
    assert not chain.is_solved("3 + 1 = 3")
    assert not chain.is_solved("")


def test_held_out_problems_are_never_drawn() -> None:
    rng = np.random.default_rng(0)
    held_out = set(benchmark.draw_chains(rng, 1200))
    assert held_out.isdisjoint(benchmark.draw_chains(rng, 2000, held_out))


def test_the_table_counts_problems_of_all_seeds() -> None:
    names = [f"{name} {n}" for n in benchmark.SIZES for name in ("prm, min", "majority")]
    one = {name: np.array([1.0, 0.0]) for name in names}
    other = one | {"majority 16": np.array([0.0, 0.0])}
    row = benchmark.table([one, other]).splitlines()[-1]
    assert row.startswith("| majority | 50.0")
    assert " 25.0 (" in row.split("|")[3]
    assert " 25.0 (" in row.split("|")[4]
