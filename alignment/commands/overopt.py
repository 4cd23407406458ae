"""`overopt` pushes a proxy of a known reward until gold falls."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from alignment.lab_config import OveroptConfig
from rewardkit.commands.command import Command
from rewardkit.execution import execute
from rewardkit.interruption import Interruption
from rewardkit.progress import Progress
from rewardkit.runs import Run


def _overopt(config: OveroptConfig) -> int:
    with redirect_stdout(sys.stderr):
        code = execute("alignment overopt", config, partial(_fit, config))
    if code == 0:
        text = (Path(config.out) / ("overopt.json" if config.json else "table.txt")).read_text(encoding="utf-8")
        print(text.rstrip())
    return code


def _fit(
    config: OveroptConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.overopt import overopt, write_overopt
    from alignment.overopt_report import screen_lines
    from rewardkit.runs import write_text

    assert run is not None
    found = overopt(config, progress.say)
    write_overopt(found, run.dir)
    write_text(run.dir / "table.txt", "\n".join(screen_lines(found)) + "\n")
    return {"num_curves": len(found)}


COMMAND = Command(
    help="push a proxy of a known reward until it breaks, in a world of known worth", config=OveroptConfig, run=_overopt
)
