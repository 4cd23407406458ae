"""Whole trainings whose completions vLLM draws, by a stand-in for its server and its engine in this process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import metrics_of
from transformers import AutoModelForCausalLM
from vllm_stand_in import StandInLLM, VllmStandIn, serving, stand_in_module

from alignment.__main__ import main
from alignment.rollouts.source import check_rollouts
from alignment.rollouts.vllm_server import VllmServer
from rewardkit.run.directory import read_status

ROOT = Path(__file__).parents[3]
REWARD = """
def count(completions):
    return [text.count("e") / 4 + len(text) / 100 for text in completions]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prompts and a reward."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(VllmServer.__init__.__kwdefaults__, "waits_s", (0.01, 0.01))
    rows = [{"prompt": f"My kettle {number} arrived broken. What now?"} for number in range(16)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rewards.py").write_text(REWARD)
    return tmp_path


@pytest.fixture
def server(policy_folders: tuple[Path, Path]) -> Iterator[VllmStandIn]:
    """A server of the policy that is trained, as it was."""
    with serving(policy_folders[0]) as running:
        yield running


def words(folder: Path, policy: Path, out: str, *, command: str = "grpo", **more: Any) -> list[str]:
    options = {"max-steps": 3, "prompts-per-step": 4, "completions-per-prompt": 3, "max-new-tokens": 5}
    options |= {"audit-every": 3, "audit-prompts": 3, "eval-share": 0.25, "precision": "fp32", "temperature": 0.8}
    options |= {"reward": f"{folder}/rewards.py:count", "learning-rate": 0.01, "out": folder / out, "sample-every": 0}
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in (options | more).items()]
    return [command, f"--model={policy}", f"--prompts={folder}/prompts.jsonl", *flags]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of PEFT's own making
@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("grpo", {}),
        ("grpo", {"lora": True, "stop": "e"}),
        ("ppo", {"passes": 2}),
        ("online-dpo", {"passes": 2}),
    ],
)
def test_the_server_draws_from_the_policy_as_it_is_at_every_step(
    folder: Path, policy_folders: tuple[Path, Path], server: VllmStandIn, command: str, more: dict[str, Any]
) -> None:
    flags = words(folder, policy_folders[0], "run", command=command, rollouts=server.url, **more)
    assert main(flags) == 0
    rows = metrics_of(folder / "run")
    for row in rows:
        assert row["sampling/logp_difference"] < 1e-5
        assert row["grad_norm"] > 0
        assert row.get("sampling/capped_share") == (None if command == "online-dpo" else 0.0)
    assert rows[2]["kl"] > 1e-3  # it moved, and was followed
    assert server.paths().count("/collective_rpc") == 5  # three steps between two audits
    assert not (folder / "run" / "vllm_weights").exists()
    AutoModelForCausalLM.from_pretrained(folder / "run")


@pytest.mark.parametrize("command", ["grpo", "ppo", "online-dpo"])
def test_a_sync_that_is_left_out_is_measured(
    folder: Path, policy_folders: tuple[Path, Path], server: VllmStandIn, command: str
) -> None:
    """The server says it has reloaded, and draws from the weights it was started with."""
    server.before = lambda path, _body: (200, {"results": [None]}) if path == "/collective_rpc" else None
    more = {"max-steps": 2, "rollouts": server.url, "importance-cap": 0.0 if command == "online-dpo" else 1.0}
    assert main(words(folder, policy_folders[0], "run", command=command, **more)) == 0
    synced, stale = metrics_of(folder / "run")
    assert synced["sampling/logp_difference"] < 1e-5
    assert stale["sampling/logp_difference"] > 1e-3
    assert command == "online-dpo" or stale["sampling/capped_share"] > 0.1


def test_a_server_that_is_started_anew_leaves_no_trace(
    folder: Path, policy_folders: tuple[Path, Path], server: VllmStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(words(folder, policy_folders[0], "whole", rollouts=server.url)) == 0
    server.begin()
    server.asked.clear()
    num_down = 0

    def restart(path: str, _body: dict) -> None:
        nonlocal num_down
        if server.paths().count("/v1/completions") >= 6 and num_down < 2:  # within the second step
            num_down += 1
            server.begin()
            raise ConnectionError

    server.before = restart
    with caplog.at_level(logging.WARNING):
        assert main(words(folder, policy_folders[0], "again", rollouts=server.url)) == 0
    assert num_down
    assert metrics_of(folder / "again") == metrics_of(folder / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("num_loads", "step"), [(3, 1), (4, 2)])
def test_a_server_that_dies_ends_the_run_in_one_line_and_it_goes_on(
    folder: Path,
    policy_folders: tuple[Path, Path],
    server: VllmStandIn,
    capfd: pytest.CaptureFixture[str],
    num_loads: int,
    step: int,
) -> None:
    """In the second step, and in the audit after it."""
    more = {"audit-every": 2, "rollouts": server.url}
    assert main(words(folder, policy_folders[0], "whole", **more)) == 0
    server.asked.clear()

    def dead(_path: str, _body: dict) -> None:
        if server.paths().count("/collective_rpc") >= num_loads:
            raise ConnectionError

    server.before = dead
    assert main(words(folder, policy_folders[0], "broken", **more)) == 1
    said = capfd.readouterr().err
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith(f"alignment grpo: vLLM server {server.url}: no answer after 3 tries, the last: ")
    assert last.endswith(f"; continue with --resume --out {folder}/broken")
    assert read_status(folder / "broken")["state"] == "failed"
    assert torch.load(folder / "broken" / "checkpoints" / "last.pt", weights_only=True)["state"]["step"] == step
    server.before = lambda _path, _body: None
    more["rollouts"] = server.url.replace("127.0.0.1", "localhost")  # it may come back under another address
    assert main([*words(folder, policy_folders[0], "broken", **more), "--resume"]) == 0
    broken, whole = metrics_of(folder / "broken"), metrics_of(folder / "whole")
    assert [row["step"] for row in broken] == [1, 2, 3]
    for row, expected in zip(broken, whole, strict=True):
        # Of an audit that was not answered the step's own record stands.
        assert row == {name: value for name, value in expected.items() if name in row}
    assert ("audit/raw" in broken[1]) == (step == 1)


def test_what_the_server_drew_is_learned_from_again(
    folder: Path, policy_folders: tuple[Path, Path], server: VllmStandIn
) -> None:
    assert main([*words(folder, policy_folders[0], "kept", rollouts=server.url), "--keep-rollouts"]) == 0
    stored = folder / "kept" / "rollouts.jsonl"
    assert main(words(folder, policy_folders[0], "again", replay=stored)) == 0
    for before, after in zip(metrics_of(folder / "kept"), metrics_of(folder / "again"), strict=True):
        for name in ("reward/mean", "loss", "grad_norm", "completions/length"):
            assert after[name] == pytest.approx(before[name], abs=1e-5), name


def test_vllm_in_this_process(folder: Path, policy_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[StandInLLM] = []
    module = stand_in_module()
    monkeypatch.setattr(module, "LLM", lambda **options: started.append(StandInLLM(**options)) or started[-1])
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "")
    assert main(words(folder, policy_folders[0], "run", rollouts="vllm")) == 0
    rows = metrics_of(folder / "run")
    assert all(row["sampling/logp_difference"] < 1e-5 for row in rows)
    assert rows[2]["kl"] > 1e-3
    (llm,) = started
    assert llm.options == {
        "dtype": "float32",
        "max_model_len": 256,
        "gpu_memory_utilization": 0.3,
        "logprobs_mode": "processed_logprobs",
        "seed": 0,
    }
    assert (llm.num_resets, llm.is_open) == (5, False)


def test_an_engine_in_this_process_that_fails_is_one_line(
    folder: Path,
    policy_folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Failing(StandInLLM):
        def generate(self, prompts: Any, sampling_params: Any, *, use_tqdm: bool) -> Any:
            if self.num_resets == 3:
                raise RuntimeError("CUDA error:\nan illegal memory access")
            return super().generate(prompts, sampling_params, use_tqdm=use_tqdm)

    module = stand_in_module()
    monkeypatch.setattr(module, "LLM", Failing)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "")
    assert main(words(folder, policy_folders[0], "run", rollouts="vllm")) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == (
        "alignment grpo: vLLM: RuntimeError: CUDA error: an illegal memory access; "
        f"continue with --resume --out {folder}/run"
    )
    assert torch.load(folder / "run" / "checkpoints" / "last.pt", weights_only=True)["state"]["step"] == 1


def test_without_vllm_the_way_to_it_is_named(
    folder: Path,
    policy_folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert main(words(folder, policy_folders[0], "run", rollouts="vllm")) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == 'alignment grpo: rollouts by vLLM in this process need it: pip install "tiebreak[vllm]"'


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rollouts": "vLLM"}, "rollouts is 'vLLM', allowed is own, vllm, or http://HOST:PORT"),
        ({"rollouts": "http://me:secret@host:8000"}, "rollouts is an address with a user or a password"),
        ({"rollouts": "vllm", "top-p": 0.9}, "top_p is 0.9, allowed with rollouts by vLLM is 1"),
        ({"rollouts": "http://h:1", "load-in-4bit": True, "lora": True}, "which load_in_4bit does not keep whole"),
    ],
)
def test_what_vllm_would_do_otherwise_is_refused(
    folder: Path,
    policy_folders: tuple[Path, Path],
    more: dict[str, Any],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(words(folder, policy_folders[0], "run", **more)) == 2
    assert message in capfd.readouterr().err.splitlines()[-1]


def test_a_server_does_not_serve_a_world_that_is_yet_to_be_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["grpo", f"--out={tmp_path}/run", "--rollouts=http://127.0.0.1:9"]) == 2
    assert "rollouts is own or vllm" in capfd.readouterr().err.splitlines()[-1]


def test_several_processes_take_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    from alignment.config.online import GrpoConfig

    monkeypatch.setenv("WORLD_SIZE", "2")
    config = GrpoConfig(model="m", prompts="p", reward=["json"], out="o", rollouts="vllm")
    with pytest.raises(ValueError, match="for one process: start a vLLM server, give its address"):
        check_rollouts(config)


SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def in_two_processes(*words: str, asked: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "alignment")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *launcher, *words]
    return subprocess.run(command, env=environment | (asked or {}), capture_output=True, text=True, timeout=280)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("num_answered", "asked", "more"),
    [(1000, {}, {}), (5, {}, {}), (1000, SHARDED, {}), (5, SHARDED, {"lora": True})],
    ids=["all", "restarted", "sharded", "sharded, restarted"],
)
def test_two_processes_ask_for_their_own_prompts(
    folder: Path,
    policy_folders: tuple[Path, Path],
    server: VllmStandIn,
    num_answered: int,
    asked: dict[str, str],
    more: dict[str, Any],
) -> None:
    """Of the same server; where it restarts, whoever notices sends the weights again."""
    assert main(words(folder, policy_folders[0], "one", rollouts=server.url, **more)) == 0
    server.begin()
    server.asked.clear()
    if num_answered < 1000:
        left = iter([True])

        def restart(_path: str, _body: dict) -> None:
            if server.paths().count("/v1/completions") >= num_answered and next(left, False):
                server.begin()

        server.before = restart
    done = in_two_processes(*words(folder, policy_folders[0], "two", rollouts=server.url, **more), asked=asked)
    assert done.returncode == 0, done.stderr
    if num_answered == 1000:
        assert server.paths().count("/collective_rpc") == 5
    one, two = metrics_of(folder / "one")[0], metrics_of(folder / "two")[0]
    for name in ("reward/mean", "loss", "grad_norm", "completions/length"):
        assert two[name] == pytest.approx(one[name], rel=1e-4, abs=2e-4), name
    assert all(row["sampling/logp_difference"] < 1e-4 for row in metrics_of(folder / "two"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("refused", ["/collective_rpc", "/v1/completions"])
def test_two_processes_end_together(
    folder: Path, policy_folders: tuple[Path, Path], server: VllmStandIn, refused: str
) -> None:
    """Also where only one of them, the first or the other, was not answered."""
    num_before = {"/collective_rpc": 2, "/v1/completions": 10}[refused]
    server.before = lambda path, _body: (
        (400, b"no") if path == refused and server.paths().count(refused) >= num_before else None
    )
    done = in_two_processes(*words(folder, policy_folders[0], "two", rollouts=server.url))
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("alignment grpo: ")]
    assert said
    assert all("HTTP status 400: 'no'" in line and line.endswith("/two") for line in said)
    assert read_status(folder / "two")["state"] == "failed"
    assert torch.load(folder / "two" / "checkpoints" / "last.pt", weights_only=True)["state"]["step"] == 1
