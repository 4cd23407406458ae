"""What the comparison on real votes shuffles, shows and counts; and that it says so where there are no votes."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from module_files import load_module

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "annotators_on_real_votes.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_module("annotators_on_real_votes_benchmark", BENCHMARK)


def test_half_of_each_pairs_votes_are_seen(benchmark):
    pair = np.array([3, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3])
    seen = benchmark.split_votes(pair, np.random.default_rng(0))
    assert np.bincount(pair, seen).tolist() == [2, 1, 3, 1]


def test_careless_people_keep_their_answers_and_lose_their_pairs(benchmark):
    votes = benchmark.RealVotes(
        name="",
        pair=np.repeat(np.arange(200), 3),
        annotator=np.tile(np.arange(3), 200),
        code=np.repeat(np.arange(200) % 3, 3),
        prompt=np.arange(200),
    )
    shuffled = benchmark.careless(votes, 0.33, np.random.default_rng(0))
    changed = [(shuffled.code != votes.code)[votes.annotator == person].mean() for person in range(3)]
    assert sorted(changed)[:2] == [0, 0]
    assert 0.5 < max(changed) < 0.8
    assert np.bincount(shuffled.code).tolist() == np.bincount(votes.code).tolist()


def test_figures_by_hand(benchmark):
    """Votes a, b and a tie on pair 0, a on pair 1; margins log 3 say 3/4."""
    votes = benchmark.RealVotes(
        name="",
        pair=np.array([0, 0, 0, 1]),
        annotator=np.arange(4),
        code=np.array([benchmark.A, benchmark.B, benchmark.TIE, benchmark.A]),
        prompt=np.arange(2),
    )
    margins = {"shares": np.full(4, math.log(3.0)), "other": np.zeros(4)}
    compared = benchmark.compared([benchmark.asked(votes, margins)], np.array([1, 0]), np.arange(2))
    rows = {row["method"]: row for row in compared}
    right, wrong, even = -math.log(0.75), -math.log(0.25), math.log(2.0)
    assert rows["shares"]["nll"] == pytest.approx((2 * right + wrong + (right + wrong) / 2) / 4)
    assert rows["other"]["nll"] == pytest.approx(even)
    assert rows["other"]["nll_gap"][0] == pytest.approx(even - rows["shares"]["nll"])
    assert rows["shares"]["vote"] == pytest.approx(2 / 3)  # the tie is on neither side
    assert rows["shares"]["majority"] == 1.0  # of pair 1; pair 0 is a draw
    assert rows["shares"]["gold"] == pytest.approx(3 / 4)
    share = 0.625  # the best constant: (1 + 0 + 0.5 + 1) / 4
    assert rows["shares"]["scaled"] == pytest.approx(
        -share * math.log(share) - (1 - share) * math.log(1 - share), abs=1e-6
    )


def test_dawid_skene_sees_which_of_three_people_is_careless(benchmark, shared_data):
    votes = next(benchmark.read_votes(shared_data))
    part = next(benchmark.measure(votes, 0.33, [0], []))
    rows = {row["method"]: row for row in part["rows"]}
    assert rows["dawid-skene"]["scaled_gap"][2] < 0 < rows["dawid-skene"]["vote_gap"][1]
    assert "dawid-skene, named" not in rows
    (spread, p_value) = part["spreads"][0]
    assert spread > 0.5
    assert p_value < 1e-9


def test_where_there_are_no_votes_it_says_so(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["annotators_on_real_votes.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match="nothing was measured"):
        benchmark.main()
