"""The tests of this folder run on a CPU, but for what is CUDA's own: so they are ready where there is a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.slow
def test_all_pass_on_a_cpu() -> None:
    words = [str(FOLDER), f"--confcutdir={FOLDER}", "--device=cpu", "-m=gpu", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], env=environment, cwd=FOLDER.parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
