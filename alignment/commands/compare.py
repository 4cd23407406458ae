"""`compare` holds ways of aligning a policy side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from alignment.config.lab import CompareConfig, LabConfig
from rewardkit.run.command import Command
from rewardkit.run.directory import Run, write_text
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, execute

TABLE = "table.txt"


def run_experiment(
    name: str, config: LabConfig, experiment: Callable[[Progress, Path], tuple[Sequence[Any], Sequence[str]]]
) -> int:
    """Runs an experiment in its run directory, then prints its table, or its figures as JSON.

    Args:
        experiment: writes NAME.json and the report into the directory; returns what it found, and the table's lines.
    """

    def fit(run: Run | None, _interruption: Interruption, progress: Progress) -> Mapping[str, Any]:
        assert run is not None
        found, lines = experiment(progress, run.dir)
        write_text(run.dir / TABLE, "\n".join(lines) + "\n")
        return {"num_results": len(found)}

    with redirect_stdout(sys.stderr):
        code = execute(f"alignment {name}", config, fit)
    if code == 0:
        text = (Path(config.out) / (f"{name}.json" if config.json else TABLE)).read_text(encoding="utf-8")
        print(text.rstrip())
    return code


def _compare(config: CompareConfig) -> int:
    def experiment(progress: Progress, out_dir: Path) -> tuple[Sequence[Any], Sequence[str]]:
        from alignment.lab.compare import compare, screen_lines, write_comparison

        rows = compare(config, progress.say)
        write_comparison(rows, out_dir)
        return rows, screen_lines(rows)

    return run_experiment("compare", config, experiment)


COMMAND = Command(
    help="hold ways of aligning a policy side by side, in a world of known worth", config=CompareConfig, run=_compare
)
