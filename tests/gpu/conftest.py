"""What the tests on a GPU share: the device, and models, a tokenizer and data that are made here.

`pytest tests/gpu --confcutdir tests/gpu` runs them on a GPU, with nothing installed but what trainings need and pytest;
with `--device cpu` they run on a CPU, which shows that they work but for what is CUDA's own.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from rewardkit.data.records import Message

OPTION = "--device"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, default="cuda", choices=("cuda", "cpu"), help="device of the tests in tests/gpu")


def asked_device(config: pytest.Config) -> str:
    """Of the command line; where these tests are collected among all others it has no such option."""
    return config.getoption(OPTION, default="cuda")


def pytest_configure(config: pytest.Config) -> None:
    if asked_device(config) == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks


def has_device(config: pytest.Config) -> bool:
    if asked_device(config) == "cpu":
        return True
    import torch

    return torch.cuda.is_available()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if importlib.util.find_spec("torch") and not has_device(terminalreporter.config):
        terminalreporter.section("NO CUDA DEVICE", sep="!", red=True, bold=True)
        terminalreporter.line("Nothing of tests/gpu was run. With --device cpu it runs on a CPU.")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest):
    """What is tested."""
    torch = pytest.importorskip("torch")
    if not has_device(request.config):
        pytest.skip("NO CUDA DEVICE")
    return torch.device(asked_device(request.config))


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files that commands read; the models have random weights and one tokenizer.

    Attributes:
        policy, reward: folders.
        pairs, prompts: JSON lines.
    """

    policy: Path
    reward: Path
    pairs: Path
    prompts: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Of Llama's shape, with grouped key heads of 32 numbers."""
    from toy_models import save_model
    from transformers import LlamaConfig

    from alignment.policy.policy import make_network
    from rewardkit.data.export_formats import turns
    from rewardkit.network.classifier import make_classifier
    from rewardkit.network.tokens import train_tokenizer
    from rewardkit.simulation.support_desk_world import World

    folder = tmp_path_factory.mktemp("gpu")
    messages = list(World(seed=0, num_prompts=40).prompts())
    tokenizer = train_tokenizer([text for one in messages for text in (one.prompt[0].content, one.responses[0].text)])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    save_model(folder / "policy", make_network(config, seed=0), tokenizer)
    save_model(folder / "reward", make_classifier(config, seed=1), tokenizer)
    rows = []
    for one in messages:
        better, worse = sorted(one.responses, key=lambda reply: -reply.gold)
        prompt: tuple[Message, ...] = one.prompt
        rows.append({"prompt": turns(prompt), "chosen": better.text, "rejected": worse.text})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = [{"prompt": row["prompt"]} for row in rows[:16]]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    return Files(
        policy=folder / "policy",
        reward=folder / "reward",
        pairs=folder / "pairs.jsonl",
        prompts=folder / "prompts.jsonl",
    )
