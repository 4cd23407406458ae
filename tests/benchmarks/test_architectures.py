"""The table of architectures: a row of each kind of layout is made anew and is the one of the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("Qwen 3", "Falcon (ALiBi)", "Mamba", "Mixtral", "BERT, MiniLM", "T5")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rows_made_anew_are_those_of_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "tests/benchmarks/architectures.py", *NAMES, "--show", "--out", tmp_path / "page.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    rows = [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(NAMES)
    assert set(rows) <= set((ROOT / "docs/reference/architectures.md").read_text().splitlines())
