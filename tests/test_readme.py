"""The README's commands run as they stand, on data/samples; its map names files that exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PROGRAMS = {"annotate-app": "annotate_app", "rewardkit": "rewardkit", "alignment": "alignment"}


def commands() -> list[list[str]]:
    lines = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line]


@pytest.mark.slow
def test_every_command_runs_on_the_samples(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "data" / "samples", tmp_path / "data" / "samples")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIEBREAK_")}
    ran = 0
    for command in commands():
        if command[0] not in PROGRAMS or command[1] in ("serve", "worker"):
            continue
        argv = [sys.executable, "-m", PROGRAMS[command[0]], *command[1:]]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        ran += 1
    assert ran >= 10


def test_make_knows_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [command[1] for command in commands() if command[0] == "make"]
    assert targets[:2] == ["start", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\((data/[^)]+)\)", README))))
def test_pictures_and_links_exist(name: str) -> None:
    assert (ROOT / name).exists()
