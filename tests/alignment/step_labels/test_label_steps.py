"""`alignment label-steps` as people type it: labels of N rollouts; a continued run is the unbroken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from alignment.__main__ import main
from alignment.step_labels import run as labels_run
from rewardkit.data.files import read_rows
from rewardkit.data.stepwise.stepwise_rows import read_stepwise

REWARD = """
def even(completions, answer):
    return [float((text.count("e") + number) % 2 == 0) for text, number in zip(completions, answer)]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four prompts, the last with two answers of its own, and a reward function that reads a column."""
    monkeypatch.chdir(tmp_path)
    rows: list[dict[str, Any]] = [
        {"prompt": f"Kettle {number} arrived broken.", "answer": number} for number in range(3)
    ]
    rows += [
        {"prompt": "And now?", "answer": 0, "completions": steps}
        for steps in (["one", "six"], ["one", "two e", "three"])
    ]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rewards.py").write_text(REWARD)
    return tmp_path


def words(folder: Path, policy: Path, out: str, *more: str) -> list[str]:
    options = {"n": 2, "num-rollouts": 3, "max-new-tokens": 8, "window": 2, "reward": f"{folder}/rewards.py:even"}
    flags = [f"--{name}={value}" for name, value in options.items()]
    paths = [f"--model={policy}", f"--prompts={folder}/prompts.jsonl", f"--out={folder}/{out}"]
    return ["label-steps", *paths, *flags, "--steps-by= ", *more]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [dict(row) for _, row in read_rows(path)]


def test_labels_are_shares_of_rollouts(
    folder: Path, policy_folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*words(folder, policy_folders[0], "steps.jsonl"), "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    rows = rows_of(folder / "steps.jsonl")
    assert summary["num_rows"] == len(rows) <= 8
    assert rows[-2]["completions"] == ["one", "six"]
    assert rows[-1]["completions"] == ["one", "two e", "three"]
    assert rows[-1]["labels"][-1] == 1.0  # four e and answer 0: even
    for row in rows:
        assert row["num_rollouts"] == [3] * (len(row["completions"]) - 1) + [1]
        for label, number in zip(row["labels"], row["num_rollouts"], strict=True):
            assert label * number == pytest.approx(round(label * number))
        text = " ".join(row["completions"])
        assert row["labels"][-1] == float((text.count("e") + row["answer"]) % 2 == 0)
    assert summary["num_drawn"] + summary["num_reused"] > 6
    answers = read_stepwise(str(folder / "steps.jsonl")).rows
    assert [list(answer.labels) for answer in answers] == [row["labels"] for row in rows]
    assert summary["num_steps"] == sum(map(len, (row["labels"] for row in rows)))


@pytest.mark.slow
def test_a_continued_run_is_the_unbroken_one(
    folder: Path, policy_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folder, policy_folders[0], "whole.jsonl")) == 0
    assert "rollouts used again" in capfd.readouterr().out
    labelled = labels_run._labelled

    def interrupted(*arguments: Any) -> list[dict[str, Any]]:
        if arguments[2][0] == 2:  # the second window
            raise KeyboardInterrupt
        return labelled(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(labels_run, "_labelled", interrupted)
        assert main(words(folder, policy_folders[0], "broken.jsonl")) == 1
    assert main(words(folder, policy_folders[0], "broken.jsonl", "--labels=hard", "--resume")) == 2
    assert "labels was 'soft' and is 'hard'" in capfd.readouterr().err
    assert main(words(folder, policy_folders[0], "broken.jsonl", "--resume")) == 0
    assert rows_of(folder / "broken.jsonl") == rows_of(folder / "whole.jsonl")


def test_what_cannot_be_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, folder, "x.jsonl", "--temperature=0")) == 2
    assert "all rollouts of a step are the same" in capfd.readouterr().err
