"""What `precision: auto` means on a CPU: tried where there are instructions for bf16, and kept by a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rewardkit.distributed import bf16_trial
from rewardkit.distributed.optimization import wants_bf16
from rewardkit.run.directory import Run, read_status

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Config:
    out: str
    resume: bool = False


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16_trial, "_chosen", None)
    monkeypatch.setattr(bf16_trial, "TRIAL_S", 0.0)


def test_a_run_keeps_what_it_chose_also_where_the_machine_would_choose_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bf16_trial, "has_instructions", lambda: True)
    seconds = {torch.float32: 2.0, torch.bfloat16: 1.0}
    monkeypatch.setattr(bf16_trial, "fastest_products", lambda dtypes: seconds)
    bf16_trial.keep_through_run(Run(tmp_path / "run", Config(out="")), CPU)
    assert wants_bf16("auto", CPU)
    assert read_status(tmp_path / "run")["bf16"] is True
    seconds[torch.bfloat16] = 1.9  # too little for what casting costs
    bf16_trial.keep_through_run(Run(tmp_path / "other", Config(out="")), CPU)
    assert not wants_bf16("auto", CPU)
    resumed = Run(tmp_path / "run", Config(out="", resume=True), resume=True)
    bf16_trial.keep_through_run(resumed, CPU)
    assert wants_bf16("auto", CPU)
    resumed.status("done")
    assert read_status(tmp_path / "run")["bf16"] is True
    assert not wants_bf16("fp32", CPU)


def test_without_instructions_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16_trial, "has_instructions", lambda: False)
    monkeypatch.setattr(bf16_trial, "fastest_products", lambda dtypes: pytest.fail("was tried"))
    assert not wants_bf16("auto", CPU)


@pytest.mark.parametrize(
    ("limit", "has_any"), [("avx512_core", False), ("AVX2", False), ("AVX512_CORE_BF16", True), ("", True)]
)
def test_a_limit_of_onednn_counts_as_much_as_the_cpu(
    monkeypatch: pytest.MonkeyPatch, limit: str, has_any: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert bf16_trial.has_instructions() is has_any


def test_the_trial_times_products_of_both_formats() -> None:
    seconds = bf16_trial.fastest_products((torch.float32, torch.bfloat16))
    assert all(0.0 < each < float("inf") for each in seconds.values())
    rows, inputs, outputs = bf16_trial.SHAPE  # no CPU core does 100 TFLOP/s
    assert seconds[torch.float32] > 2 * rows * inputs * outputs / 1e14
