"""Commands of both packages, one after another in one of several processes that hold weights in parts.

Run by torch's launcher with a file of lines, each a JSON list: package, command, flags. Starting processes costs more
than what they train here, so that they are started once. A line that begins with a number is asked to stop as by SIGTERM
after so many steps.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from rewardkit.run.progress import Progress

FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def run(package: str, *words: str, stop_after: int = 0) -> int:
    """Runs a command in this process; returns the exit code."""
    shown = Progress.step

    def step(self: Progress, number: int, *more: object) -> None:
        shown(self, number, *more)  # type: ignore[arg-type]
        if number == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    main = importlib.import_module(f"{package}.__main__").main
    with patch.object(Progress, "step", step), patch.object(os, "_exit"):
        return main(list(words))


def main(file: Path) -> None:
    """Runs the commands of a file."""
    from accelerate import PartialState

    os.environ |= FSDP2
    for line in file.read_text().splitlines():
        words = json.loads(line)
        stop_after = words.pop(0) if isinstance(words[0], int) else 0
        code = run(*words, stop_after=stop_after)
        assert code == (1 if stop_after else 0), words
        PartialState._reset_state()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)
