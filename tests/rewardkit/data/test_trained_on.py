"""What a model was trained on, read from its run again."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from rewardkit.config import RewardConfig
from rewardkit.data.training_data import load_training_data, read_trained_on


def test_a_run_of_a_policy_tells_its_rows_like_one_of_a_reward_model(tmp_path: Path) -> None:
    data, run = tmp_path / "pairs.jsonl", tmp_path / "run"
    rows = [
        {"prompt": f"How many, {number}?", "chosen": f"{number}.", "rejected": "Who knows?"} for number in range(40)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.mkdir()
    options = {"data": str(data), "eval_share": 0.4, "seed": 3}
    loaded = load_training_data(RewardConfig(model="tiny", out=str(run), **options), run)  # type: ignore[arg-type]
    # what `alignment dpo` writes: options that a reward model takes otherwise, or not at all
    others = {"model": "sft", "out": str(run), "loss": "ipo", "beta": None, "label_smoothing": None, "lora": True}
    (run / "config.yaml").write_text(yaml.safe_dump(options | others))
    found = read_trained_on(str(run))
    assert found is not None
    assert (found.train, found.held_out) == (loaded.train, loaded.held_out)
    assert 2 <= len(found.held_out) < 38


def test_a_model_without_a_run_tells_nothing(tmp_path: Path) -> None:
    assert read_trained_on(str(tmp_path)) is None
