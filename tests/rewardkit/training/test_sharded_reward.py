"""Reward models with weights in parts: two processes train, calibrate, keep and save what one does that holds all."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

from safetensors.torch import load_file
from sharded_commands import in_processes, run

from rewardkit.data.records import Message
from rewardkit.reward.reward_model import RewardModel
from rewardkit.run.directory import read_metrics, read_status

CLOCKED = ("time/", "tokens_per")
# The scalar of a likelihood with ties is not sharded, the rest is.
TIES = {"ensemble": 3, "likelihood": "rao_kupper"}
CASES: dict[str, dict[str, Any]] = {
    "heads": TIES | {"patience": 1},
    "lora": {"mode": "lora", "gradient-checkpointing": True},
    "adapters as members": {"mode": "lora", "ensemble": 3, "members": "lora", "lora-layers": 2},
}
KEPT = {"checkpoint-every": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pairs, some of them ties; prompts of very different length."""
    folder, rng = tmp_path_factory.mktemp("sharded"), random.Random(0)
    words = ["boat", "cake", "door", "garden", "letter", "window", "river", "engine", "paper", "winter"]
    lines = []
    for number in range(60):
        prompt = f"Question {number}: " + " ".join(rng.choices(words, k=rng.randint(3, 40))) + "?"
        kind, rude = f"Gladly, the {rng.choice(words)} comes first. Thank you.", f"No. {rng.choice(words)}, find out."
        lines.append({"prompt": prompt, "chosen": kind, "rejected": rude, "p_chosen": rng.choice([1.0, 1.0, 0.5])})
    (folder / "preferences.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def words(folder: Path, out: str, **more: Any) -> list[str]:
    numbers = {"model": "tiny", "batch-size": 16, "eval-every": 2, "token-budget": 256, "precision": "fp32"} | more
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in numbers.items()]
    return ["rewardkit", "train", f"--data={folder}/preferences.jsonl", f"--out={folder / out}", "--epochs=2", *flags]


def numbers_of(values: Any, path: str = "") -> dict[str, Any]:
    """What nested values hold, by path."""
    if not isinstance(values, dict | list):
        return {path: values}
    items = values.items() if isinstance(values, dict) else enumerate(values)
    return {key: number for name, value in items for key, number in numbers_of(value, f"{path}/{name}").items()}


def check_alike(one: Path, two: Path) -> None:
    rows, expected = list(read_metrics(two)), list(read_metrics(one))
    assert len(rows) == len(expected) > 2
    for together, alone in zip(rows, expected, strict=True):
        values = {name: value for name, value in alone.items() if not name.startswith(CLOCKED)}
        assert {name: together[name] for name in values} == pytest.approx(values, rel=1e-4, abs=1e-5)
    results, of_one = (numbers_of(read_status(run_dir)["results"]) for run_dir in (two, one))
    assert results.keys() == of_one.keys()
    of_one.pop("/calibration/num_iterations", None)  # how often a zero is approached turns by the last bit
    for name, value in of_one.items():
        assert results[name] == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value), name
    names = {file.relative_to(one) for file in one.rglob("*.safetensors")}
    assert {file.relative_to(two) for file in two.rglob("*.safetensors")} == names
    for name in names:
        weights, alone = load_file(two / name), load_file(one / name)
        assert weights.keys() == alone.keys()
        for weight, values in alone.items():  # Adam moves a weight without gradient by the sign of its rounding
            assert (weights[weight] - values).norm() <= 2e-4 * values.norm(), f"{name} {weight}"
    prompt, answers = (Message(role="user", content="Which door?"),), ["Gladly, the blue one.", "No."]
    scores = [RewardModel.load(folder)([prompt] * 2, answers).members for folder in (one, two)]
    assert scores[1] == pytest.approx(scores[0], rel=1e-3, abs=1e-4)
    assert not [*(two / "checkpoints").iterdir()]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_thread")
def test_two_processes_with_weights_in_parts_equal_one(folder: Path) -> None:
    in_processes(2, [(0, words(folder, f"two {name}", **CASES[name])) for name in CASES], folder / "commands.jsonl")
    for name in CASES:
        assert run(*words(folder, f"one {name}", **CASES[name])) == 0
        check_alike(folder / f"one {name}", folder / f"two {name}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_thread")
def test_a_run_goes_on_in_another_number_of_processes(folder: Path) -> None:
    """Kept by one and by three, continued by two, and kept by two, continued by one.

    The step that they are asked to stop after is shown when the next one has been agreed on.
    """
    assert run(*words(folder, "whole", **TIES)) == 0
    assert run(*words(folder, "one then two", **TIES, **KEPT), stop_after=3) == 1
    in_processes(3, [(3, words(folder, "three then two", **TIES, **KEPT))], folder / "commands.jsonl")
    resumed = [(0, [*words(folder, out, **TIES, **KEPT), "--resume"]) for out in ("one then two", "three then two")]
    in_processes(2, [(3, words(folder, "two then one", **TIES, **KEPT)), *resumed], folder / "commands.jsonl")
    kept = {file.name for file in (folder / "two then one" / "checkpoints").iterdir()}
    assert kept == {"base.pt", "best-2.pt", "best-2.safetensors", "last.pt", "last-4.safetensors"}
    assert run(*words(folder, "two then one", **TIES, **KEPT), "--resume") == 0
    for out in ("one then two", "two then one", "three then two"):
        assert read_status(folder / out)["first_step"] == 4
        check_alike(folder / "whole", folder / out)
