"""The page on our rewards in TRL, carried out with TRL itself (`make bench`)."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", exc_type=ImportError)
pytestmark = [pytest.mark.bench, pytest.mark.filterwarnings("default")]  # their warnings are not ours to mend

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "rewards-in-trl.md").read_text(encoding="utf-8")


def test_grpo_of_trl_trains_on_our_rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = ROOT / "data" / "samples" / "comparisons.jsonl"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    from rewardkit import read_rows, write_rows

    pairs = [
        {"prompt": row["prompt"], "chosen": row["response_a"], "rejected": row["response_b"]}
        for _, row in read_rows(samples)
    ]
    write_rows("pairs.jsonl", pairs)
    for command in (
        "rewardkit train --model tfidf --data pairs.jsonl --out baseline",
        "alignment sft --model tiny --data pairs.jsonl --out sft --max-steps 2 --batch-size 8 --max-length 128",
    ):
        subprocess.run([sys.executable, "-m", *command.split()], check=True)
    (function,) = re.findall(r'```python title="desk_reward.py"\n(.*?)```', PAGE, flags=re.DOTALL)
    (training,) = re.findall(r"<!-- not run: needs TRL.*?-->\n```python\n(.*?)```", PAGE, flags=re.DOTALL)
    Path("desk_reward.py").write_text(function)
    Path("training.py").write_text(training)
    trainer = runpy.run_path("training.py")["trainer"]
    assert trainer.state.global_step == 1
    assert any("rewards/desk_reward/mean" in line for line in trainer.state.log_history)
