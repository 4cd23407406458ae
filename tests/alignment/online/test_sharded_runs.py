"""Online algorithms with weights in parts: two processes draw, learn, keep and save what one does that holds all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

import torch
from online_toys import metrics_of
from safetensors.torch import load_file
from sharded_commands import in_processes, run

REWARD = """
def count(completions):
    return [text.count("e") / 4 for text in completions]
"""
COUNTS = {"value/clipfrac", "rewards/accuracies"}  # of numbers on a border, where rounding decides
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


def drawn_ids(run_dir: Path) -> list[list[int]]:
    """The token ids of all completions of a run."""
    rows = map(json.loads, (run_dir / "rollouts.jsonl").read_text().splitlines())
    return [completion["ids"] for row in rows for completion in row["completions"]]


def check_alike(one: Path, two: Path) -> None:
    """What two processes drew, measured and learned is what one did, to rounding."""
    rows, expected = metrics_of(two), metrics_of(one)
    assert len(rows) == len(expected) > 1
    for together, alone in zip(rows, expected, strict=True):
        assert together.keys() == alone.keys()
        for name in alone.keys() - COUNTS:
            assert (together[name] is None) == (alone[name] is None), name
            assert (together[name] or 0.0) == pytest.approx(alone[name] or 0.0, rel=1e-4, abs=1e-5), name
    assert drawn_ids(two) == drawn_ids(one)
    names = {file.relative_to(one) for file in one.rglob("*.safetensors")}
    assert names
    for name in names:
        weights = load_file(two / name)
        for weight, values in load_file(one / name).items():
            torch.testing.assert_close(weights[weight], values, rtol=1e-4, atol=1e-4, msg=f"{name} {weight}")
    assert not [*(two / "checkpoints").iterdir()]


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("one_thread")
def test_two_processes_with_weights_in_parts_draw_learn_and_save_as_one(
    folder: Path, policy_folders: tuple[Path, Path]
) -> None:
    equal_one(folder, policy_folders[0], {"short": ("grpo", GRPO | {"max-steps": 2})})


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_thread")
def test_every_algorithm_with_weights_in_parts_equals_itself(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    equal_one(folder, policy_folders[0], CASES)


def equal_one(folder: Path, policy: Path, cases: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    """Runs cases in two processes with weights in parts, then in this one."""
    for number in ("two", "one"):
        commands = [
            words(folder, policy, command, folder / f"{number} {name}", **options)
            for name, (command, options) in cases.items()
        ]
        if number == "two":
            in_processes(2, [(0, words) for words in commands], folder / "commands.jsonl")
        else:
            assert [run(*words) for words in commands] == [0] * len(commands)
    for name in cases:
        check_alike(folder / f"one {name}", folder / f"two {name}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_thread")
def test_a_run_goes_on_in_another_number_of_processes(folder: Path, policy_folders: tuple[Path, Path]) -> None:
    """With a value network and a reference that moves, which are kept beside the policy."""
    more = {"checkpoint-every": 1}
    cases = {"dpo": CASES["online dpo, anchor"], "ppo": CASES["ppo separate"]}

    def command(out: str, name: str) -> list[str]:
        return words(folder, policy_folders[0], cases[name][0], folder / f"{out} {name}", **cases[name][1], **more)

    in_processes(2, [(2, command("two then one", name)) for name in cases], folder / "commands.jsonl")
    for name in cases:
        assert run(*command("whole", name)) == 0
        assert run(*command("one then two", name), stop_after=2) == 1
        assert run(*command("two then one", name), "--resume") == 0
    resumed = [(0, [*command("one then two", name), "--resume"]) for name in cases]
    in_processes(2, resumed, folder / "commands.jsonl")
    for name in cases:
        for out in ("two then one", "one then two"):
            check_alike(folder / f"whole {name}", folder / f"{out} {name}")
