"""`rewardkit train` as a process: what it leaves behind, killed and resumed, cancelled, in two processes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    """200 pairs of which a kind answer is chosen in most; prompts of very different length."""
    rng = random.Random(0)
    words = ["boat", "cake", "door", "garden", "letter", "window", "river", "engine", "paper", "winter"]
    file = tmp_path / "preferences.jsonl"
    with file.open("w") as lines:
        for number in range(200):
            prompt = f"Question {number}: " + " ".join(rng.choices(words, k=rng.randint(3, 60))) + "?"
            kind = f"Gladly, the {rng.choice(words)} comes first, then the {rng.choice(words)}. Thank you for asking."
            rude = f"No. {rng.choice(words)} {rng.choice(words)}, find out yourself."
            chosen, rejected = (kind, rude) if rng.random() < 0.9 else (rude, kind)
            lines.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")
    return file


def start(*words: str, launcher: tuple[str, ...] = ("-m",)) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "rewardkit", "train", "--model", "tiny", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def train(*words: str, launcher: tuple[str, ...] = ("-m",)) -> str:
    """Runs to the end; returns stdout."""
    process = start(*words, launcher=launcher)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out


def status(run: Path) -> dict:
    return json.loads((run / "status.json").read_text()) if (run / "status.json").exists() else {"step": 0}


def metrics(run: Path) -> list[dict]:
    """The lines of metrics.jsonl without what a clock decides."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in row.items() if not name.startswith(("time/", "tokens_per"))} for row in rows
    ]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def options(preferences: Path, run: Path) -> list[str]:
    """18 steps, an evaluation every 3, a checkpoint every 2."""
    numbers = {"batch-size": 10, "eval-every": 3, "checkpoint-every": 2, "learning-rate": 0.001, "ensemble": 2}
    return [*(f"--{name}={value}" for name, value in numbers.items()), f"--data={preferences}", f"--out={run}"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_resumes_and_ends_with_the_same_numbers(preferences: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(*options(preferences, whole)) == f"{whole}\n"
    process = start(*options(preferences, broken))
    wait_for(lambda: status(broken)["step"] >= 8, process)  # between a checkpoint and an evaluation
    process.kill()
    process.communicate()
    assert status(broken)["state"] == "running"
    train(*options(preferences, broken), "--resume")
    assert 0 < status(broken)["first_step"] < 18
    assert metrics(broken) == metrics(whole)
    assert status(broken)["results"] == status(whole)["results"]
    for name in ("model.safetensors", "heads.safetensors", "tokenizer.json", "rewardkit.json"):
        assert digest(broken / name) == digest(whole / name), name
    assert list((whole / "checkpoints").iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_a_checkpoint_and_ends_cancelled(number: int, preferences: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*options(preferences, run), "--checkpoint-every=1000"]
    process = start(*words)
    wait_for(lambda: status(run)["step"] >= 4, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "cancelled" in said
    assert "Traceback" not in said
    assert status(run)["state"] == "cancelled"
    step = status(run)["step"]
    assert 4 <= step < 18
    train(*words, "--resume")
    assert status(run)["first_step"] == step
    assert status(run)["state"] == "done"
    assert [row["step"] for row in metrics(run)] == list(range(1, 19))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_equal_one(preferences: Path, tmp_path: Path) -> None:
    # torchrun, because `accelerate launch --cpu` starts a second process only through MPI; the environment is the same
    pytest.importorskip("accelerate")
    one, two = tmp_path / "one", tmp_path / "two"
    train(*options(preferences, one), "--precision=fp32")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
    train(*options(preferences, two), "--precision=fp32", launcher=launcher)
    assert (status(one)["num_processes"], status(two)["num_processes"]) == (1, 2)
    assert len(metrics(two)) == len(metrics(one)) == 18
    for alone, together in zip(metrics(one), metrics(two), strict=True):
        assert together.keys() == alone.keys()
        for name, value in alone.items():
            assert together[name] == pytest.approx(value, rel=1e-3, abs=1e-4), (name, alone["step"])
    for name, value in metrics(one)[0].items():  # before rounding has grown
        assert metrics(two)[0][name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    for name in ("accuracy", "nll", "best_step", "num_steps"):
        assert status(two)["results"][name] == pytest.approx(status(one)["results"][name], rel=1e-3), name


@pytest.mark.slow
def test_an_existing_run_is_refused_and_a_finished_one_is_not_resumed(preferences: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*options(preferences, run), "--batch-size=100"]
    train(*words)
    for more, says in (([], "already holds a run"), (["--resume"], "is done"), (["--resume", "--seed=3"], "is done")):
        process = start(*words, *more)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1
    assert status(run)["state"] == "done"


def test_a_run_that_failed_before_it_began_may_be_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        process = start("--data", str(tmp_path / "nowhere.jsonl"), "--out", str(tmp_path / "run"))
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (2, "")
        assert "nowhere.jsonl" in err
        assert err.count("\n") == 1
        assert status(tmp_path / "run")["state"] == "failed"
