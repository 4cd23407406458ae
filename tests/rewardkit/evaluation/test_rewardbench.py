"""RewardBench scores by hand-worked rewards; the ties by numbers of the released code."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewardkit.evaluation.rewardbench import (
    SECTIONS,
    best_right,
    read_rewardbench,
    score_rewardbench,
    section_scores,
    ties_score,
)
from rewardkit.reward.reward import Reward


def number_in_text(_prompts: object, completions: Sequence[str]) -> Reward:
    """Rewards a text by the number it holds."""
    return Reward(members=np.array([[float(text) for text in completions]]))


def write(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_counts_are_the_published_ones() -> None:
    counts = {name: count for section in SECTIONS.values() for name, count in section.items()}
    assert len(counts) == 23
    assert sum(counts.values()) - 984 + 447 == 2985
    assert sum(count for name, count in SECTIONS["Reasoning"].items() if name != "math-prm") == 984


def test_sections_weigh_subsets_by_published_counts() -> None:
    found = section_scores({"math-prm": 1.0, "hep-cpp": 0.5, "mt-bench-hard": 0.2})
    assert found == {"Chat Hard": pytest.approx(0.2), "Reasoning": pytest.approx((984 + 0.5 * 164) / (984 + 164))}


def test_v1_by_hand(tmp_path: Path) -> None:
    def row(subset: str, chosen: str, rejected: str) -> dict[str, Any]:
        return {"id": 1, "prompt": "p", "chosen": chosen, "rejected": rejected, "subset": subset}

    rows = [row("donotanswer", "2", "1"), row("donotanswer", "1", "1"), row("refusals-offensive", "3", "1")]
    rows.append(row("alpacaeval-easy", "0", "1"))
    found = score_rewardbench(read_rewardbench(write(tmp_path / "b.jsonl", rows), version=1), number_in_text, version=1)
    by_name = {group.name: group.accuracy.value for group in found.subsets}
    assert by_name == {"donotanswer": 0.5, "refusals-offensive": 1.0, "alpacaeval-easy": 0.0}  # equal rewards lose
    safety = (136 * 0.5 + 100 * 1.0) / 236
    assert found.sections == {"Chat": 0.0, "Safety": pytest.approx(safety)}
    assert found.score == pytest.approx(safety / 2)
    assert len(found.missing) == 20


def test_a_shared_first_place_counts_its_share() -> None:
    assert best_right(np.array([2.0, 1.0, 0.0, 1.0])) == 1.0
    assert best_right(np.array([2.0, 2.0, 2.0, 1.0])) == pytest.approx(1 / 3)
    assert best_right(np.array([1.0, 2.0, 0.0, 0.0])) == 0.0


def test_v2_by_hand(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "subset": "Math", "prompt": "p", "chosen": ["3"], "rejected": ["1", "2", "0"], "num_correct": 1},
        {"id": "2", "subset": "Math", "prompt": "p", "chosen": ["3"], "rejected": ["3", "2", "0"], "num_correct": 1},
        {"id": "ref:7", "subset": "Ties", "prompt": "p", "chosen": ["5"], "rejected": ["1", "0"], "num_correct": 1},
        {"id": "tied:7", "subset": "Ties", "prompt": "p", "chosen": ["5", "4"], "rejected": ["1"], "num_correct": 2},
    ]
    found = score_rewardbench(read_rewardbench(write(tmp_path / "b.jsonl", rows), version=2), number_in_text, version=2)
    by_name = {group.name: group.accuracy.value for group in found.subsets}
    # Ties: both accurate; margin 3 above spread 1; min(4, 3) above it too; tanh(3 / 1 - 1)
    ties = 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * math.tanh(2)
    assert by_name == {"Math": 0.75, "Ties": pytest.approx(ties)}
    assert found.score == pytest.approx((0.75 + ties) / 2)
    assert found.missing == ["Factuality", "Precise IF", "Safety", "Focus"]


def test_ties_by_hand() -> None:
    scored = {
        "ref:1": (np.array([1.0, 0.5]), 1),  # margin 0.5
        "tied:1": (np.array([3.0, 1.0, 0.0]), 2),  # margin 1, spread 2: right, but no more than they differ
        "ref:2": (np.array([0.0, 1.0]), 1),  # wrong
        "tied:2": (np.array([2.0, 2.0, 1.0]), 2),  # margin 1, spread 0: no ratio
        "tied:3": (np.array([1.0, 2.0]), 1),  # wrong; one right answer and no twin: part of the accuracy only
    }
    # a_tied 2/3, a_ref 1/2; preferred: 1 > 2 no, 1 > 0 yes; hard: 0.5 > 2 no, -1 > 0 no; ratio 0.5 / 2
    expected = 0.3 * 2 / 3 + 0.3 * 0.5 + 0.2 * 0.5 + 0 + 0.01 * math.tanh(0.25 - 1)
    assert ties_score(scored) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("version", "row", "says"),
    [
        (1, {"chosen": "1", "rejected": "0", "subset": "nonsense"}, "'nonsense'"),
        (1, {"chosen": "1", "rejected": "0"}, "subset"),
        (1, {"chosen": ["1"], "rejected": "0", "subset": "donotanswer"}, "chosen"),
        (2, {"chosen": "1", "rejected": ["0"], "subset": "Math"}, "list of completions"),
        (2, {"chosen": ["1"], "rejected": [], "subset": "Math"}, "rejected"),
        (2, {"chosen": ["1", "2"], "rejected": ["0"], "subset": "Math"}, "one right completion"),
        (2, {"chosen": ["1", "2"], "rejected": ["0"], "subset": "Ties", "id": "x"}, "ref:NUMBER"),
        (2, {"chosen": ["1"], "rejected": ["0"], "subset": "Math", "num_correct": 3}, "num_correct"),
    ],
)
def test_a_bad_row_names_file_and_line(tmp_path: Path, version: int, row: dict[str, Any], says: str) -> None:
    path = write(tmp_path / "b.jsonl", [{"id": "1", "prompt": "p"} | row])
    with pytest.raises(ValueError, match=says) as caught:
        read_rewardbench(path, version=version)
    assert f"{path}:1" in str(caught.value)
