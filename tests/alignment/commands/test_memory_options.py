"""The options that save memory, as people type them: what they change in a run, and what they leave as it is."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import torch
from safetensors.torch import load_file, save_file

from alignment.__main__ import main
from rewardkit.__main__ import main as rewardkit_main
from rewardkit.network.models import load_policy
from rewardkit.reward.load import load_reward_fn

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="BITSANDBYTES ABSENT: pip install bitsandbytes"
)
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT's own making
STEADY = ("--learning-rate=0.003", "--precision=fp32")
LORA16 = ("--lora", "--frozen-weights=bf16")
SMALL = ("--trained-weights=bf16_kahan", "--frozen-weights=bf16")
RECOMPUTED = ("--gradient-checkpointing", "--offload-activations", "--offload-frozen")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, policy_folders: tuple[Path, Path]) -> Path:
    """A policy whose weights are bf16 numbers, preferences, prompts, and a reward model with two adapters."""
    root = tmp_path_factory.mktemp("memory")
    policy = root / "policy"
    policy.mkdir()
    for file in policy_folders[0].iterdir():
        (policy / file.name).write_bytes(file.read_bytes())
    weights = load_file(policy / "model.safetensors")
    save_file({n: w.bfloat16().float() for n, w in weights.items()}, policy / "model.safetensors", {"format": "pt"})
    rows = [
        {
            "prompt": f"My kettle {number} arrived broken. What now?",
            "chosen": "We are sorry. A new kettle leaves today.",
            "rejected": f"No. Keep it, {number}.",
        }
        for number in range(32)
    ]
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "prompts.jsonl").write_text("".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in rows))
    assert train_reward(root, "reward", "--mode=lora", "--members=lora", "--ensemble=2") == 0
    return root


def train_reward(folder: Path, out: str, *more: str) -> int:
    fixed = (f"--model={folder}/policy", f"--data={folder}/pairs.jsonl", f"--out={folder}/{out}")
    return rewardkit_main(["train", *fixed, "--batch-size=8", "--eval-share=0.25", *STEADY, *more])


def train(folder: Path, command: str, out: str, *more: str) -> list[float]:
    """Runs a training of three steps; its losses."""
    online = command in ("grpo", "ppo", "online-dpo")
    data = f"--prompts={folder}/prompts.jsonl" if online else f"--data={folder}/pairs.jsonl"
    words = [
        command,
        f"--model={folder}/policy",
        data,
        f"--out={folder}/{out}",
        "--max-steps=3",
        "--learning-rate=0.003",
    ]
    own = ["--batch-size=8", "--eval-every=3"]
    if online:
        own = ["--prompts-per-step=4", "--completions-per-prompt=2", "--max-new-tokens=5", "--audit-every=3"]
        own.append(f"--reward={folder}/reward")
    assert main([*words, *own, *STEADY, *more]) == 0
    return losses(folder / out)


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("command", ["sft", "dpo", "kto"])
def test_a_base_of_bf16_numbers_held_in_bf16_changes_no_loss(folder: Path, command: str) -> None:
    wide = train(folder, command, f"{command}-wide", "--lora")
    assert train(folder, command, f"{command}-held", *LORA16) == wide
    again = train(folder, command, f"{command}-again", *LORA16, *RECOMPUTED)
    assert again == pytest.approx(wide, rel=1e-5)


def test_adapters_are_merged_into_the_weights_of_the_file(folder: Path) -> None:
    """Into float32, of a file whose weights are no bf16 numbers."""
    base = load_file(folder / "policy" / "model.safetensors")
    shifted = {name: weight * 1.001 for name, weight in base.items()}
    policy = folder / "policy"
    save_file(shifted, policy / "model.safetensors", {"format": "pt"})
    try:
        train(folder, "sft", "merged", *LORA16)
    finally:
        save_file(base, policy / "model.safetensors", {"format": "pt"})
    saved = load_file(folder / "merged" / "model.safetensors")
    adapter = load_file(folder / "merged" / "adapter" / "adapter_model.safetensors")
    assert saved.keys() == base.keys()
    for name, weight in saved.items():
        path = f"base_model.model.{name.removesuffix('.weight')}.lora_"
        expected = shifted[name]
        if f"{path}A.weight" in adapter:
            expected = expected + 2.0 * adapter[f"{path}B.weight"] @ adapter[f"{path}A.weight"]
            assert not torch.equal(weight, shifted[name])
        assert weight.dtype == torch.float32
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("grpo", ("--lora", "--beta=0.05")),
        ("ppo", ("--value=separate", *SMALL)),
        ("online-dpo", ("--reference-every=1", *SMALL)),
    ],
)
def test_learning_from_samples_with_held_models(folder: Path, command: str, more: tuple[str, ...]) -> None:
    """Reward, audit and reference models in bf16, on the CPU between uses, begin like those in float32."""
    options = [f"--audit-reward={folder}/reward", *(word for word in more if word not in SMALL)]
    wide = train(folder, command, f"{command}-wide", *options)
    held = train(folder, command, f"{command}-held", *options, *more, "--frozen-weights=bf16", *RECOMPUTED)
    assert held[0] == pytest.approx(wide[0], rel=1e-3, abs=1e-3)
    policy, _ = load_policy(folder / f"{command}-held")
    assert policy.dtype == torch.float32


def test_a_trained_bf16_model_is_an_ordinary_one_of_half_the_size(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    wide = train(folder, "sft", "full-wide")
    small = train(folder, "sft", "full-small", "--trained-weights=bf16_stochastic")
    assert small[0] == pytest.approx(wide[0], rel=1e-6)
    assert small == pytest.approx(wide, rel=0.02)
    sizes = [(folder / run / "model.safetensors").stat().st_size for run in ("full-small", "full-wide")]
    assert sizes[0] < 0.6 * sizes[1]
    AutoModelForCausalLM.from_pretrained(folder / "full-small")


@pytest.mark.parametrize("more", [(), ("--members=lora", "--ensemble=2"), ("--members=full", "--ensemble=2")])
def test_a_reward_model_on_a_held_trunk_is_saved_in_full_width(folder: Path, more: tuple[str, ...]) -> None:
    names = [f"reward-{len(more)}-{''.join(more)[10:14]}-{kind}" for kind in ("wide", "held", "again")]
    held = ("--frozen-weights=bf16",)
    assert train_reward(folder, names[0], "--mode=lora", *more) == 0
    assert train_reward(folder, names[1], "--mode=lora", *held, *more) == 0
    assert train_reward(folder, names[2], "--mode=lora", *held, *RECOMPUTED[:2], *more) == 0
    wide, narrow, again = (losses(folder / name) for name in names)
    assert narrow == wide
    assert again == pytest.approx(wide, rel=1e-4)
    saved = [load_file(folder / name / "model.safetensors") for name in names[:2]]
    assert saved[0].keys() == saved[1].keys()
    for name, weight in saved[0].items():
        torch.testing.assert_close(saved[1][name], weight, rtol=0, atol=1e-6, msg=name)
    texts = ["We are sorry.", "No."]
    prompts = [("My kettle arrived broken.",)] * 2
    members = [load_reward_fn(str(folder / name))(messages(prompts), texts).members for name in names[:2]]
    assert members[0] == pytest.approx(members[1], abs=1e-4)


def messages(prompts: list[tuple[str]]) -> list[Any]:
    from rewardkit.data.records import Message

    return [(Message(role="user", content=text),) for (text,) in prompts]


@needs_bitsandbytes
@pytest.mark.parametrize("command", ["sft", "dpo", "kto", "grpo", "ppo", "online-dpo"])
def test_every_algorithm_learns_over_a_base_in_4_bits(folder: Path, command: str) -> None:
    coarse = train(folder, command, f"{command}-4bit", "--lora", "--load-in-4bit", *RECOMPUTED)
    assert len(coarse) == 3
    out = folder / f"{command}-4bit"
    assert (out / "adapter_model.safetensors").exists()
    assert not (out / "model.safetensors").exists()
    load_policy(out)  # on the base in full width


@needs_bitsandbytes
@pytest.mark.parametrize("more", [(), ("--members=lora", "--ensemble=2")])
def test_a_reward_model_over_a_trunk_in_4_bits_is_an_ordinary_one(folder: Path, more: tuple[str, ...]) -> None:
    out = f"reward-4bit-{len(more)}"
    assert train_reward(folder, out, "--mode=lora", "--load-in-4bit", *more) == 0
    assert "quantization_config" not in json.loads((folder / out / "config.json").read_text())
    rewards = load_reward_fn(str(folder / out))(
        messages([("My kettle arrived broken.",)] * 2), ["We are sorry.", "No."]
    )
    assert rewards.members.shape == (1 + bool(more), 2)
    assert losses(folder / out)[-1] < losses(folder / out)[0]


@needs_bitsandbytes
def test_eight_bit_moments_learn_nearly_alike(folder: Path) -> None:
    wide = train(folder, "sft", "moments-wide")
    assert train(folder, "sft", "moments-8bit", "--optimizer=adamw_8bit") == pytest.approx(wide, rel=0.05)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sft", "--lora", "--trained-weights=bf16_kahan"), "adapters are few and stay fp32: leave it out with lora"),
        (("reward", "--mode=lora", "--trained-weights=bf16_kahan"), "adapters and heads are few and stay fp32"),
        (("reward", "--load-in-4bit"), "give mode lora or head"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(
    words: tuple[str, ...], says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *more = words
    if command == "reward":
        assert train_reward(folder, "refused", *more) == 2
    else:
        assert main([command, f"--model={folder}/policy", f"--data={folder}/pairs.jsonl", "--out=x", *more]) == 2
    assert says in capsys.readouterr().err
