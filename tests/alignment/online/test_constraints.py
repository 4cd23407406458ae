"""A constraint in whole runs: its multiplier moves as the formula says, is logged, kept and resumed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from online_toys import metrics_of

from alignment.__main__ import main
from alignment.online.loop import OnlineLoop

REWARDS = """
def count(completions):
    return [text.count("e") / 4 for text in completions]


def brief(completions):
    return [-len(text) / 10 for text in completions]
"""


def words(folder: Path, policy: Path, out: str, *more: str) -> list[str]:
    rewards = [f"--reward={folder}/rewards.py:{name}" for name in ("count", "brief")]
    numbers = ("--max-steps=4", "--prompts-per-step=4", "--completions-per-prompt=4", "--max-new-tokens=6")
    options = ("--learning-rate=0.003", "--precision=fp32", "--sample-every=0", "--audit-every=2", *more)
    places = (f"--model={policy}", f"--prompts={folder}/prompts.jsonl", f"--out={folder}/{out}")
    return ["grpo", *places, *rewards, *numbers, *options]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"prompt": f"My kettle {number} arrived broken. What now?"} for number in range(24)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rewards.py").write_text(REWARDS)
    return tmp_path


@pytest.mark.slow
def test_a_multiplier_is_learned_and_resumed(
    folder: Path, policy_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    constrained = ("--constraint=brief=0", "--multiplier-rate=0.5", "--multiplier-start=0.5")
    assert main(words(folder, policy_folders[0], "whole", *constrained)) == 0
    rows = metrics_of(folder / "whole")
    multiplier = 0.5
    for row in rows:
        value, missed = row["constraint/brief/multiplier"], row["constraint/brief/missed_by"]
        mean, count = row["rewards/brief/mean"], row["rewards/count/mean"]
        assert value is not None
        assert missed is not None
        assert mean is not None
        assert count is not None
        assert value == pytest.approx(multiplier)
        assert missed == pytest.approx(-mean)
        assert row["reward/mean"] == pytest.approx((count + value * mean) / (1 + value))
        multiplier = min(math.exp(math.log(value) + 0.5 * value * missed), 20.0)
    assert multiplier > 0.6  # texts are never of no length: the constraint is missed
    step = OnlineLoop._step

    def killed(self: OnlineLoop, number: int) -> tuple[dict[str, float], str]:
        if number == 4:
            raise KeyboardInterrupt
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(OnlineLoop, "_step", killed)
        assert main(words(folder, policy_folders[0], "stopped", *constrained)) == 1
    assert main([*words(folder, policy_folders[0], "stopped", *constrained), "--resume"]) == 0
    assert metrics_of(folder / "stopped") == rows


@pytest.mark.slow
def test_gates_and_rewards_normalised_one_by_one_run(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    assert main(words(folder, policy_folders[0], "gated", "--gate=brief=-1.5", "--max-steps=1")) == 0
    (row,) = metrics_of(folder / "gated")
    gate, total, count = (row[name] for name in ("gate/brief", "reward/mean", "rewards/count/mean"))
    assert gate is not None
    assert total is not None
    assert count is not None
    assert 0 <= gate <= 1
    assert total <= count
    assert main(words(folder, policy_folders[0], "apart", "--several-rewards=normalise_first", "--max-steps=1")) == 0
    (row,) = metrics_of(folder / "apart")
    assert row["advantages/std"] == pytest.approx(1.0, abs=1e-3)
