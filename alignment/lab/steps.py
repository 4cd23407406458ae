"""The steps of an experiment: commands run as processes of their own, each in its folder, with what it took.

A step that is done is not done again; one that was stopped goes on where its own checkpoint is.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from alignment.simulated_world import SFT_OPTIONS, WorldFiles, write_start
from rewardkit.config import Members
from rewardkit.run.directory import read_metrics, read_status, write_text

SPENT = "spent.json"
GROUP = 8  # completions of a prompt for GRPO
COMPLETIONS = 64  # of a step of PPO and GRPO
LOG_LINES = 5  # of a failed step's output, told in the error


@dataclass(frozen=True, kw_only=True)
class Step:
    """A training command.

    Attributes:
        name: for people.
        words: package, command and options, without --out and --resume.
        out: its run directory.
    """

    name: str
    words: Sequence[str]
    out: Path


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Time and tokens that a step took.

    Attributes:
        seconds: wall clock, over all its processes where it was stopped in between.
        peak_mb: largest resident memory of the process, MiB, as its run says.
        num_tokens: trained on or drawn, as its metrics count them.
        num_updates: of its weights.
    """

    seconds: float
    peak_mb: float
    num_tokens: int
    num_updates: int


def run_step(step: Step, told: Callable[[str], None]) -> Spent:
    """Runs a step to its end, or reads its `Spent` if it is done.

    Args:
        told: given a line for people.

    Raises:
        OSError: with the end of its output, if it fails.
        KeyboardInterrupt: if it is stopped; it has kept its state then.
    """
    noted = step.out / SPENT
    if read_status(step.out).get("state") == "done" and noted.exists():
        return Spent(**(json.loads(noted.read_text()) | {"num_updates": _num_updates(step.out)}))
    told(step.name)
    resumed = (step.out / "config.yaml").exists()
    before = json.loads(noted.read_text())["seconds"] if noted.exists() else 0.0
    package, *words = step.words
    command = [sys.executable, "-m", package, *words, f"--out={step.out}", *(["--resume"] if resumed else [])]
    step.out.parent.mkdir(parents=True, exist_ok=True)
    log = step.out.with_name(f"{step.out.name}.log")
    start = time.perf_counter()
    with log.open("ab") as output:
        code = _wait(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output))
    peak_mb = read_status(step.out).get("peak_mb")
    spent = Spent(
        seconds=before + time.perf_counter() - start,
        peak_mb=float(peak_mb) if isinstance(peak_mb, float | int) else 0.0,
        num_tokens=_num_tokens(step.out),
        num_updates=_num_updates(step.out),
    )
    if step.out.is_dir():
        write_text(noted, json.dumps(asdict(spent)))
    if code:
        last_lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        raise OSError(f"{step.name} ended with {code}: {' | '.join(last_lines)}; its output is in {log}")
    return spent


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Waits for a process, returns its exit code; if interrupted, interrupts the process, waits, and raises again."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise


def _num_tokens(run_dir: Path) -> int:
    """Returns the token count of the last line of the metrics that has one; 0 where none has."""
    counts = [row["num_tokens"] for row in read_metrics(run_dir) if row.get("num_tokens")]
    return int(counts[-1] or 0) if counts else 0


def _num_updates(run_dir: Path) -> int:
    """Returns the optimizer steps of a run so far: a step of PPO is `passes` times `minibatches` of them."""
    file = run_dir / "config.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
    steps = read_status(run_dir).get("step")
    return int(config.get("passes", 1) * config.get("minibatches", 1) * steps) if isinstance(steps, int) else 0


def sft_step(seed: int, folder: Path, files: WorldFiles, *, copies: bool = False) -> Step:
    """The policy that every experiment begins with, in folder/sft.

    Args:
        copies: whether it begins with weights that learn to copy, which `write_start` makes, instead of `tiny`.
    """
    model = "tiny"
    if copies:
        model = files.start if Path(files.start).exists() else write_start(files, seed=seed)
    return Step(
        name="SFT on demonstrations",
        words=[
            "alignment",
            "sft",
            f"--model={model}",
            f"--data={files.demonstrations}",
            *SFT_OPTIONS,
            f"--seed={seed}",
        ],
        out=folder / "sft",
    )


def reward_step(
    seed: int, folder: Path, preferences: str, *, ensemble: int, out: Path, members: Members = "heads"
) -> Step:
    """An ensemble trained on votes, from the trunk of the policy in folder/sft."""
    return Step(
        name="reward model on votes",
        words=[
            *("rewardkit", "train", f"--model={folder / 'sft'}", f"--data={preferences}", f"--ensemble={ensemble}"),
            *(f"--members={members}", "--learning-rate=5e-4", "--epochs=2", "--batch-size=16", f"--seed={seed}"),
        ],
        out=out,
    )
