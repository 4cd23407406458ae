"""Rankings from people to a reward model that is measured, each step as its command."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from annotate_app.__main__ import main as annotate_app
from rewardkit.__main__ import main as rewardkit
from rewardkit.data.files import read_rows
from rewardkit.reward.metadata import read_card

RUBRIC = "title: Which is best?\nguidelines: Read all.\ntask: rank\n"


def write_rankings(file: Path, numbers: range) -> None:
    """Rankings of three answers, in any order, of which a kind one is the best and a rude one the worst."""
    draw = random.Random(0)
    lines = []
    for number in numbers:
        texts = [f"kind answer {number % 7}", f"plain answer {number % 6}", f"rude answer {number % 5}"]
        order = draw.sample(range(3), 3)
        responses = [texts[place] for place in order]
        lines.append({"prompt": f"question {number}", "responses": responses, "ranks": [place + 1 for place in order]})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.slow
def test_a_model_of_exported_rankings_knows_the_order_of_others(sqlite_url: str, tmp_path: Path) -> None:
    rubric, desk = tmp_path / "rubric.yaml", ["--db", sqlite_url]
    rubric.write_text(RUBRIC, encoding="utf-8")
    exported = {"rankings": tmp_path / "rankings.jsonl", "preference": tmp_path / "pairs.jsonl"}
    for (form, file), numbers in zip(exported.items(), (range(32), range(100, 120)), strict=True):
        write_rankings(tmp_path / "in.jsonl", numbers)
        assert annotate_app(["project", "create", form, "--rubric", str(rubric), *desk]) == 0
        assert annotate_app(["import", form, str(tmp_path / "in.jsonl"), "--labels", *desk]) == 0
        assert annotate_app(["export", form, "--form", form, "--out", str(file), *desk]) == 0
    assert [len(list(read_rows(file))) for file in exported.values()] == [32, 20 * 3]
    model = str(tmp_path / "model")
    words = ["--model=tiny", f"--data={exported['rankings']}", f"--out={model}", "--likelihood=plackett_luce"]
    assert rewardkit(["train", *words, "--batch_size=8", "--learning_rate=0.005", "--precision=fp32"]) == 0
    assert read_card(model).likelihood["name"] == "plackett_luce"
    report = tmp_path / "report"
    assert rewardkit(["evaluate", f"--model={model}", f"--data={exported['preference']}", f"--out={report}"]) == 0
    accuracy = json.loads((report / "evaluation.json").read_text())["evaluation"]["overall"]["accuracy"]
    assert accuracy["low"] > 0.5, accuracy
