"""Commands of both packages, one after another in each of several processes that hold weights in parts.

Starting processes costs more than what they train here, so that they are started once. Each command has a port of its
own, where its processes meet.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

from rewardkit.run.progress import Progress

ROOT = Path(__file__).parents[2]
FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def run(package: str, *words: str, stop_after: int = 0) -> int:
    """Runs a command in this process and asks it to stop, as by SIGTERM, after a step; returns its exit code."""
    shown = Progress.step

    def step(self: Progress, number: int, *more: object) -> None:
        shown(self, number, *more)  # type: ignore[arg-type]
        if number == stop_after and os.environ.get("RANK", "0") == "0":
            os.kill(os.getpid(), signal.SIGTERM)

    main = importlib.import_module(f"{package}.__main__").main
    with patch.object(Progress, "step", step), patch.object(os, "_exit"):
        return main(list(words))


def in_processes(count: int, commands: list[tuple[int, list[str]]], file: Path) -> None:
    """Runs commands in so many processes.

    Args:
        commands: with the step that each is asked to stop after; 0 for one that ends by itself.
        file: where they are noted.
    """
    file.write_text("".join(json.dumps([_free_port(), stop, words]) + "\n" for stop, words in commands))
    shared = FSDP2 | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
    }
    shared |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    processes = []
    for rank in range(count):
        environment = os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, __file__, str(file)]
        with file.with_suffix(f".{rank}.txt").open("w") as said:
            processes.append(subprocess.Popen(command, env=environment, stdout=said, stderr=said))
    deadline = time.monotonic() + 580
    try:
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            if any(process.poll() for process in processes):
                break  # the others wait for one that failed
            time.sleep(0.1)
        codes = [process.poll() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0] * count, [file.with_suffix(f".{rank}.txt").read_text()[-3000:] for rank in range(count)]


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def main(file: Path) -> None:
    """Runs the commands of a file."""
    from accelerate import PartialState

    for line in file.read_text().splitlines():
        port, stop_after, words = json.loads(line)
        os.environ["MASTER_PORT"] = str(port)
        code = run(*words, stop_after=stop_after)
        asked = stop_after and os.environ["RANK"] == "0"
        assert code == (1 if asked else 0), words
        PartialState._reset_state()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)
