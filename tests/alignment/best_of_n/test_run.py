"""`alignment bon` as people type it: what it writes and says, and that a continued run is the unbroken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from alignment import simulated_world
from alignment.__main__ import main
from alignment.best_of_n import run as bon_run
from alignment.best_of_n.chosen_rows import ScoredGroup
from alignment.best_of_n.value import expected_best
from rewardkit.data.files import read_rows

REWARD = """
def count(prompts, completions, answer):
    return [text.count("e") + number / 100 for text, number in zip(completions, answer)]


def lines(completions):
    ends = [[end for end, letter in enumerate(text, start=1) if letter == " "] or [len(text)] for text in completions]
    return [[(end, 1 / end) for end in places] if text else 0 for text, places in zip(completions, ends)]


def total(completions):
    return [len(text) for text in completions]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven different prompts and reward functions."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"My kettle {number % 7} arrived broken.", "answer": number} for number in range(8)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rewards.py").write_text(REWARD)
    return tmp_path


def words(folder: Path, policy: Path, out: str, **more: Any) -> list[str]:
    options = {"n": 5, "max-new-tokens": 6, "reward": f"{folder}/rewards.py:count", "window": 3} | more
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return ["bon", f"--model={policy}", f"--prompts={folder}/prompts.jsonl", f"--out={folder}/{out}", *flags]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [dict(row) for _, row in read_rows(path)]


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[ScoredGroup]:
    """What a run scores."""
    seen: list[ScoredGroup] = []
    scored = bon_run._scored

    def spy(*arguments: Any) -> list[ScoredGroup]:
        found = scored(*arguments)
        seen.extend(found)
        return found

    monkeypatch.setattr(bon_run, "_scored", spy)
    return seen


def test_best_rows_and_the_curve(
    folder: Path, policy_folders: tuple[Path, Path], groups: list[ScoredGroup], capfd: pytest.CaptureFixture[str]
) -> None:
    more = {"audit-reward": f"{folder}/rewards.py:total"}
    assert main([*words(folder, policy_folders[0], "best.jsonl", **more), "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert [len(group.completions) for group in groups] == [5] * 7
    for number, group in enumerate(groups):  # the column of the prompt's first row reached the reward
        for one in group.completions:
            assert one.reward == pytest.approx(one.text.count("e") + number / 100)
            assert one.audit == len(one.text)
    rewards = np.array([[one.reward for one in group.completions] for group in groups])
    audits = np.array([[one.audit for one in group.completions] for group in groups], dtype=float)
    assert [each["k"] for each in summary["curve"]] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([each["reward"]["value"] for each in summary["curve"]], expected_best(rewards).mean(0))
    np.testing.assert_allclose(
        [each["audit"]["value"] for each in summary["curve"]], expected_best(rewards, audits).mean(0)
    )
    rows = rows_of(folder / "best.jsonl")
    assert summary["num_rows"] == len(rows)
    for row in rows:
        group = next(each for each in groups if each.prompt[0].content == row["prompt"][0]["content"])
        assert row["reward"] == max(one.reward for one in group.different())
    assert not (folder / "best.jsonl.partial").exists()


def test_a_continued_run_is_the_unbroken_one(
    folder: Path, policy_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*words(folder, policy_folders[0], "whole.jsonl", keep="pairs"), "--soft-labels"]) == 0
    scored = bon_run._scored

    def interrupted(*arguments: Any) -> list[ScoredGroup]:
        if arguments[5] == 3:  # the second window
            raise KeyboardInterrupt
        return scored(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(bon_run, "_scored", interrupted)
        assert main(words(folder, policy_folders[0], "broken.jsonl")) == 1
    broken = words(folder, policy_folders[0], "broken.jsonl", keep="pairs")
    assert main(broken) == 2
    assert "--resume continues it" in capfd.readouterr().err
    assert main([*words(folder, policy_folders[0], "broken.jsonl", penalty="wco"), "--resume"]) == 2
    assert "penalty was 'mean' and is 'wco'" in capfd.readouterr().err
    # what is kept may change, as it decides nothing that was drawn
    assert main([*broken, "--soft-labels", "--resume"]) == 0
    assert rows_of(folder / "broken.jsonl") == rows_of(folder / "whole.jsonl")
    assert main([*broken, "--resume"]) == 0
    assert "complete already" in capfd.readouterr().out


def test_people_see_a_table(folder: Path, policy_folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words(folder, policy_folders[0], "above.jsonl", keep="above", threshold=1.0)) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == ["1", "2", "4", "5"]
    assert lines[2].split()[1] == "0.000"
    assert "completions that reach the threshold of 7 prompts, 5 drawn of each" in lines[-1]
    assert all(row["reward"] >= 1.0 for row in rows_of(folder / "above.jsonl"))


def test_without_a_model_it_works_in_the_simulated_world(
    folder: Path, policy_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The world's policy stands in for the one that the run would fine-tune first."""
    monkeypatch.setattr(simulated_world, "fine_tune", lambda *_arguments, **_options: None)
    monkeypatch.setattr(simulated_world.WorldFiles, "sft", property(lambda _files: str(policy_folders[0])))
    words = ["bon", f"--out={folder}/world.jsonl", "--max-prompts=4", "--n=3", "--max-new-tokens=8"]
    assert main(words) == 0
    assert "best completions of 4 prompts, 3 drawn of each" in capfd.readouterr().out
    rows = rows_of(folder / "world.jsonl")
    prompt, reply = rows[0]["prompt"][0]["content"], rows[0]["completion"][0]["content"]
    assert rows[0]["reward"] == simulated_world.gold_rewards([prompt], [reply])[0]


def test_bad_input_is_one_line(
    folder: Path, policy_folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    for out, more, message in (
        ("rows.jsonl", {"max-new-tokens": 400}, "positions"),
        ("rows.txt", {}, "allowed are"),
        ("rows.jsonl", {"reward": f"{folder}/rewards.py:nothing"}, "nothing"),
    ):
        assert main(words(folder, policy_folders[0], out, **more)) in (1, 2)
        said = capfd.readouterr().err.splitlines()[-1]
        assert said.startswith("alignment bon: ")
        assert message in said


def test_beams_by_step_and_votes(
    folder: Path, policy_folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """Beams are chosen by the mean of the rewards of words; a table of choices stands where best of k would."""
    more = {"search": "beam", "steps-by": " ", "n": 4, "beam-width": 2, "reward": f"{folder}/rewards.py:lines"}
    more |= {"step-reward": "mean", "audit-reward": f"{folder}/rewards.py:total"}
    assert main(words(folder, policy_folders[0], "beams.jsonl", **more)) == 0
    told = capfd.readouterr().out
    assert "chosen by" in told
    assert "7 best completions of 7 prompts, beams of 4" in told
    assert len(rows_of(folder / "beams.jsonl")) == 7
