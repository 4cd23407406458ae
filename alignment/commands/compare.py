"""`compare` holds ways of aligning a policy side by side."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from alignment.lab_config import CompareConfig
from rewardkit.commands.command import Command
from rewardkit.execution import execute
from rewardkit.interruption import Interruption
from rewardkit.progress import Progress
from rewardkit.runs import Run


def _compare(config: CompareConfig) -> int:
    with redirect_stdout(sys.stderr):
        code = execute("alignment compare", config, partial(_fit, config))
    if code == 0:
        text = (Path(config.out) / ("compare.json" if config.json else "table.txt")).read_text(encoding="utf-8")
        print(text.rstrip())
    return code


def _fit(
    config: CompareConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.compare import compare, write_comparison
    from alignment.compare_report import screen_lines
    from rewardkit.runs import write_text

    assert run is not None
    found = compare(config, progress.say)
    write_comparison(found, run.dir)
    write_text(run.dir / "table.txt", "\n".join(screen_lines(found)) + "\n")
    return {"num_rows": len(found)}


COMMAND = Command(
    help="hold ways of aligning a policy side by side, in a world of known worth", config=CompareConfig, run=_compare
)
