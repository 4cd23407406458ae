"""Online algorithms with weights in parts: two processes draw, learn, keep and save what one does that holds all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

import sharded_commands
import torch
from online_toys import metrics_of
from safetensors.torch import load_file

ROOT = Path(__file__).parents[3]
REWARD = """
def count(completions):
    return [text.count("e") / 4 for text in completions]
"""
GRPO = {"completions-per-prompt": 4, "beta": 0.05, "passes": 2}
PPO = {"completions-per-prompt": 1, "passes": 2, "minibatches": 2, "prompts-per-step": 8}
DPO = {"completions-per-prompt": 4, "passes": 2, "minibatches": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo": ("grpo", GRPO),
    "grpo lora": ("grpo", GRPO | {"lora": True, "gradient-checkpointing": True}),
    "grpo skips groups": ("grpo", {"completions-per-prompt": 2, "prompts-per-step": 3}),
    "ppo trunk": ("ppo", PPO),
    "ppo separate": ("ppo", PPO | {"value": "separate"}),
    "online dpo": ("online-dpo", DPO),
    "online dpo, anchor": ("online-dpo", DPO | {"reference-every": 2}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts of different length and a reward function."""
    folder = tmp_path_factory.mktemp("sharded")
    rows = [{"prompt": f"My kettle {'again and ' * (number % 5)}{number} broke. What now?"} for number in range(16)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rewards.py").write_text(REWARD)
    return folder


def words(folder: Path, policy: Path, command: str, out: Path, **more: Any) -> list[str]:
    numbers = {"max-steps": 3, "prompts-per-step": 4, "max-new-tokens": 6, "audit-every": 3, "eval-share": 0.25}
    numbers |= {"reward": f"{folder}/rewards.py:count", "learning-rate": 0.003, "precision": "fp32", "token-budget": 96}
    numbers |= {"keep-rollouts": True, "draw-budget": 256}
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in (numbers | more).items()]
    return ["alignment", command, f"--model={policy}", f"--prompts={folder}/prompts.jsonl", f"--out={out}", *flags]


def in_two_processes(commands: list[list[Any]], file: Path) -> None:
    file.write_text("".join(json.dumps(command) + "\n" for command in commands))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, *launcher, sharded_commands.__file__, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=580)
    assert done.returncode == 0, done.stderr


def drawn_ids(run: Path) -> list[list[int]]:
    """The token ids of all completions of a run."""
    rows = map(json.loads, (run / "rollouts.jsonl").read_text().splitlines())
    return [completion["ids"] for row in rows for completion in row["completions"]]


def check_alike(one: Path, two: Path) -> None:
    """What two processes drew, measured and learned is what one did, to rounding."""
    rows, expected = metrics_of(two), metrics_of(one)
    assert len(rows) == len(expected)
    for together, alone in zip(rows, expected, strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-5, nan_ok=True)
    assert drawn_ids(two) == drawn_ids(one)
    names = {file.relative_to(one) for file in one.rglob("*.safetensors")}
    assert names
    for name in names:
        weights = load_file(two / name)
        for weight, values in load_file(one / name).items():
            torch.testing.assert_close(weights[weight], values, rtol=1e-4, atol=1e-5, msg=f"{name} {weight}")
    assert not [*(two / "checkpoints").iterdir()]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as the processes have: another number adds up in another order."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_thread")
def test_two_processes_with_weights_in_parts_equal_one(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    commands = {
        name: words(folder, policy_folders[0], command, folder / f"two {name}", **options)
        for name, (command, options) in CASES.items()
    }
    in_two_processes(list(commands.values()), folder / "commands.jsonl")
    for name, (command, options) in CASES.items():
        alone = words(folder, policy_folders[0], command, folder / f"one {name}", **options)
        assert sharded_commands.run(*alone) == 0
        check_alike(folder / f"one {name}", folder / f"two {name}")
