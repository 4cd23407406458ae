"""A judge's probabilities as rows, a scalar model trained on them, and how faithful it is on held-out rows."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from judge_endpoint import Reply, answers_of, said, serve

from alignment.__main__ import main as alignment
from rewardkit.__main__ import main as rewardkit

ANSWERS = {"Sorry, it comes soon.": 1.0, "No.": -1.0, "Please wait.": 0.0, "Thanks, I will refund it.": 2.0}


def write_answers(path: Path, count: int, name: str) -> str:
    rng = random.Random(name)
    rows = [
        {
            "prompt": f"{name} {number}: where is my parcel?",
            "responses": [{"text": text} for text in rng.sample(list(ANSWERS), 2)],
        }
        for number in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def by_worth(body: dict[str, Any], number: int) -> Reply:
    """Prefers by sigma of the difference in worth, and tells the probabilities."""
    first, second = (ANSWERS[text] for text in answers_of(body))
    p = 1 / (1 + math.exp(second - first))
    return said(json.dumps({"overall": "A" if p > 0.5 else "B"}), logps={"A": math.log(p), "B": math.log(1 - p)})


@pytest.mark.slow
def test_a_judge_is_distilled_and_its_fidelity_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(by_worth) as endpoint:
        for name, count in (("train", 80), ("held", 40)):
            answers = write_answers(tmp_path / f"{name}.jsonl", count, name)
            judge = ["--judge", endpoint.url, "--judge_model", "m", "--rounds", "0"]
            assert (
                alignment(["constitution", "--input", answers, *judge, "--out", str(tmp_path / f"{name}_judged")]) == 0
            )
    pairs = {name: tmp_path / f"{name}_judged" / "pairs.jsonl" for name in ("train", "held")}
    for line in pairs["held"].read_text().splitlines():
        row = json.loads(line)
        worth = [ANSWERS[row[side][0]["content"]] for side in ("chosen", "rejected")]
        assert row["p_chosen"] == pytest.approx(1 / (1 + math.exp(worth[1] - worth[0])))
    model = str(tmp_path / "distilled")
    assert rewardkit(["train", "--data", str(pairs["train"]), "--model", "tiny", "--out", model, "--epochs", "4"]) == 0
    capsys.readouterr()
    options = ["--data", str(pairs["held"]), "--out", str(tmp_path / "fidelity"), "--json"]
    assert rewardkit(["evaluate", "--model", model, *options]) == 0
    figures = json.loads(capsys.readouterr().out)["evaluation"]
    agreement, correlation = figures["overall"]["accuracy"], figures["human"]["correlation"]
    assert agreement["low"] > 0.6
    assert 0.5 < correlation["low"] <= correlation["value"] <= 1
