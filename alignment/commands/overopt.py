"""`overopt` pushes a proxy of a known reward until gold falls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignment.commands.compare import run_experiment
from alignment.config.lab import OveroptConfig
from rewardkit.run.command import Command
from rewardkit.run.progress import Progress


def _overopt(config: OveroptConfig) -> int:
    def experiment(progress: Progress, out_dir: Path) -> tuple[Sequence[Any], Sequence[str]]:
        from alignment.lab.overopt import overopt, screen_lines, write_overopt

        curves = overopt(config, progress.say)
        write_overopt(curves, out_dir)
        return curves, screen_lines(curves)

    return run_experiment("overopt", config, experiment)


COMMAND = Command(
    help="push a proxy of a known reward until it breaks, in a world of known worth", config=OveroptConfig, run=_overopt
)
