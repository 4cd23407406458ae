"""Every training on a GPU: in fp32 its steps are a CPU's, in bf16 near them; stopped, it goes on, also on a CPU."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch

from rewardkit.distributed import collectives
from rewardkit.reward import implicit, reward_model
from rewardkit.run.directory import read_metrics, read_status
from rewardkit.run.progress import Progress

pytestmark = pytest.mark.gpu
ONLINE = ("--prompts-per-step=4", "--completions-per-prompt=4", "--max-new-tokens=16", "--audit-prompts=2")
OFFLINE = ("--batch-size=8", "--max-steps=3", "--entropy-every=1", "--eval-every=3")
RUNS: dict[str, tuple[str, ...]] = {
    "reward": ("train", "--batch-size=12"),
    "reward, three heads": ("train", "--batch-size=12", "--ensemble=3"),
    "reward, adapters": ("train", "--batch-size=12", "--mode=lora"),
    "reward, members as adapters": ("train", "--batch-size=12", "--mode=lora", "--ensemble=2", "--members=lora"),
    "sft": ("sft", *OFFLINE),
    "dpo": ("dpo", *OFFLINE),
    "dpo, live": ("dpo", *OFFLINE, "--reference=live", "--gradient-checkpointing"),
    "dpo, adapters": ("dpo", *OFFLINE, "--lora", "--reference=live"),
    "kto": ("kto", *OFFLINE),
    "grpo": ("grpo", *ONLINE, "--max-steps=3", "--beta=0.02"),
    "grpo, adapters": ("grpo", *ONLINE, "--max-steps=3", "--lora", "--passes=2"),
    "ppo": ("ppo", *ONLINE, "--completions-per-prompt=1", "--max-steps=3"),
    "ppo, own network": ("ppo", *ONLINE, "--completions-per-prompt=1", "--max-steps=3", "--value=separate"),
    "online dpo": ("online-dpo", *ONLINE, "--max-steps=3"),
}
IN_BF16 = ("reward", "reward, members as adapters", "sft", "dpo, live", "dpo, adapters", "grpo", "ppo, own network")
STOPPED = ("reward", "dpo, adapters", "grpo", "ppo")
# Options of memory, and how far the first loss may be from that of a CPU in fp32.
FROZEN = "--frozen-weights=fp32"
MEMORY: dict[str, tuple[str, float, tuple[str, ...]]] = {
    "frozen weights in bf16": ("dpo, live", 0.02, ("--precision=fp32", "--frozen-weights=bf16")),
    "adapters on bf16": ("dpo, adapters", 0.02, ("--precision=fp32", "--frozen-weights=bf16")),
    "rewards in bf16": ("reward, adapters", 0.05, ("--precision=fp32", "--frozen-weights=bf16")),
    "trained in bf16, by chance": ("sft", 0.02, ("--precision=bf16", "--trained-weights=bf16_stochastic")),
    "trained in bf16, with remainders": ("grpo", 0.05, ("--precision=bf16", "--trained-weights=bf16_kahan")),
    "reference away": ("dpo, live", 2e-3, ("--precision=fp32", FROZEN, "--offload-frozen")),
    "rewards away": ("ppo", 2e-3, ("--precision=fp32", FROZEN, "--offload-frozen")),
    "activations away": ("sft", 2e-3, ("--precision=fp32", FROZEN, "--offload-activations")),
    "activations of rewards away": ("reward", 2e-3, ("--precision=fp32", FROZEN, "--offload-activations")),
}
WITH_BITSANDBYTES: dict[str, tuple[str, tuple[str, ...]]] = {
    "rewards on 4 bits": ("reward, adapters", ("--load-in-4bit",)),
    "dpo on 4 bits": ("dpo, adapters", ("--load-in-4bit",)),
    "grpo on 4 bits": ("grpo, adapters", ("--load-in-4bit",)),
    "AdamW of 8 bits": ("sft", ("--optimizer=adamw_8bit",)),
    "paged AdamW of 8 bits": ("sft", ("--optimizer=paged_adamw_8bit",)),
}
METRICS = ("loss", "grad_norm")
Run = Callable[..., Path]


@pytest.fixture(scope="module")
def run(files, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command in this process on a device; returns its folder."""

    def command(name: str, place: torch.device, *words: str, out: Path | None = None, code: int = 0) -> Path:
        from alignment.__main__ import main as alignment
        from rewardkit.__main__ import main as rewardkit

        out = out or tmp_path_factory.mktemp("run") / "out"
        program, (command, *options) = rewardkit if name.startswith("reward") else alignment, RUNS[name]
        is_online = "--max-new-tokens=16" in options
        model = files.reward if name.startswith("reward") else files.policy
        options += [f"--model={model}", f"--out={out}", "--learning-rate=0.001"]
        if is_online:
            options += [f"--prompts={files.prompts}", f"--reward={files.reward}"]
        else:
            options += [f"--data={files.pairs}"]
        with pytest.MonkeyPatch.context() as patch:
            for module in (collectives, reward_model, implicit):
                patch.setattr(module, "default_device", lambda: place)
            assert program([command, *options, *words]) == code
        return out

    return command


@pytest.fixture(scope="module")
def on_cpu(run: Run) -> Callable[[str], list[dict[str, Any]]]:
    """The metrics of a run on a CPU in fp32, computed once."""

    @cache
    def metrics(name: str) -> list[dict[str, Any]]:
        return list(read_metrics(run(name, torch.device("cpu"), "--precision=fp32", FROZEN)))

    return metrics


def assert_close(found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]], share: float) -> None:
    assert len(found) == len(expected) >= 3
    for row, other in zip(found, expected, strict=True):
        for name in METRICS:
            assert row[name] == pytest.approx(other[name], rel=share, abs=share), (row["step"], name)


@pytest.mark.parametrize("name", RUNS)
def test_steps_are_those_of_a_cpu(name: str, run: Run, on_cpu: Any, device: torch.device) -> None:
    out = run(name, device, "--precision=fp32", FROZEN)
    assert read_status(out)["state"] == "done"
    assert_close(list(read_metrics(out)), on_cpu(name), 2e-3)


@pytest.mark.parametrize("name", IN_BF16)
def test_bf16_begins_where_fp32_does(name: str, run: Run, on_cpu: Any, device: torch.device) -> None:
    out = run(name, device, "--precision=bf16")
    (first, *others), expected = list(read_metrics(out)), on_cpu(name)[0]
    if "--max-new-tokens=16" not in RUNS[name]:  # other completions may be drawn
        assert first["loss"] == pytest.approx(expected["loss"], rel=0.05, abs=0.05)
    assert all(row["loss"] == row["loss"] for row in others)
    assert read_status(out)["state"] == "done"


@pytest.mark.parametrize("name", STOPPED)
def test_a_stopped_run_goes_on(
    name: str, run: Run, on_cpu: Any, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = Progress.step

    def stop(self: Progress, step: int, *rest: Any) -> None:
        show(self, step, *rest)
        if step == 1:  # a training on rows asks before it tells, and ends after the next
            os.kill(os.getpid(), signal.SIGINT)

    outs = {}
    for place in dict.fromkeys((device.type, "cpu")):  # what a GPU began goes on without one
        with monkeypatch.context() as patch:
            patch.setattr(Progress, "step", stop)
            out = run(name, device, "--precision=fp32", FROZEN, code=1)
        assert read_status(out)["state"] == "cancelled"
        run(name, torch.device(place), "--precision=fp32", FROZEN, "--resume", out=out)
        outs[place] = out
    for out in outs.values():
        assert_close(list(read_metrics(out)), on_cpu(name), 2e-3)


@pytest.mark.parametrize("name", MEMORY)
def test_options_of_memory(name: str, run: Run, on_cpu: Any, device: torch.device) -> None:
    of, share, words = MEMORY[name]
    out = run(of, device, *words)
    (first, *others), expected = list(read_metrics(out)), on_cpu(of)
    assert first["loss"] == pytest.approx(expected[0]["loss"], rel=share, abs=share)
    if FROZEN in words:  # exact
        assert_close([first, *others], expected, share)
    assert read_status(out)["state"] == "done"


@pytest.mark.skipif(not importlib.util.find_spec("bitsandbytes"), reason="bitsandbytes is not installed")
@pytest.mark.parametrize("name", WITH_BITSANDBYTES)
def test_what_bitsandbytes_gives(name: str, run: Run, on_cpu: Any, device: torch.device) -> None:
    of, words = WITH_BITSANDBYTES[name]
    out = run(of, device, "--precision=bf16", *words)
    first = next(iter(read_metrics(out)))
    assert first["loss"] == pytest.approx(on_cpu(of)[0]["loss"], rel=0.2, abs=0.2)
    assert read_status(out)["state"] == "done"
