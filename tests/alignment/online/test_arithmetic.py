"""A policy that adds wrongly every second time learns from a verifier alone to add."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from alignment.__main__ import main
from rewardkit.run.directory import read_metrics


def write_sums(folder: Path, *, seed: int) -> None:
    """Sums up to 4 + 4 with their answers; and demonstrations of them, every second of which is one off."""
    rng = np.random.default_rng(seed)
    sums = [(a, b) for a in range(5) for b in range(5)]
    prompts = [{"prompt": f"{a} plus {b} is what?", "answer": str(a + b)} for a, b in sums]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    with (folder / "demonstrations.jsonl").open("w") as file:
        for _ in range(40):
            for a, b in sums:
                told = a + b + (int(rng.choice([-1, 1])) if rng.random() < 0.5 else 0)
                file.write(json.dumps({"prompt": f"{a} plus {b} is what?", "completion": f"It is {told}."}) + "\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_grpo_on_sums_raises_exact_match(tmp_path: Path) -> None:
    write_sums(tmp_path, seed=0)
    sft, out = tmp_path / "sft", tmp_path / "grpo"
    words = ["--epochs=12", "--learning-rate=3e-3", "--batch-size=24", "--sample-every=0"]
    assert main(["sft", "--model=tiny", f"--data={tmp_path}/demonstrations.jsonl", f"--out={sft}", *words]) == 0
    words = ["--max-steps=60", "--max-new-tokens=12", "--prompts-per-step=16", "--completions-per-prompt=8"]
    words += ["--reward=numeric", "--learning-rate=1e-3", "--audit-every=60"]
    prompts = [f"--prompts={tmp_path}/prompts.jsonl", f"--eval-prompts={tmp_path}/prompts.jsonl"]
    assert main(["grpo", f"--model={sft}", f"--out={out}", *prompts, *words]) == 0
    exact = [row["reward/mean"] or 0.0 for row in read_metrics(out)]
    before, after = np.mean(exact[:4]), np.mean(exact[-4:])
    assert 0.3 < before < 0.65
    assert after > before + 0.2
