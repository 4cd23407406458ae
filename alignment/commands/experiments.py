"""Experiments in the simulated world, as commands: each runs in its run directory and prints its table.

`compare` puts ways of aligning a policy side by side; `overopt` trains on a proxy of a reward until gold falls;
`loop-lab` holds turns of the loop against other ways to spend the same labels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence, Sized
from contextlib import redirect_stdout
from pathlib import Path

from alignment.config.lab import CompareConfig, LabConfig, LoopLabConfig, OveroptConfig
from rewardkit.run.directory import write_text
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, Results, RunContext, execute

TABLE = "table.txt"
Experiment = Callable[[Progress, Interruption, Path], tuple[Sized, Sequence[str]]]
"""Writes NAME.json and the report into the run directory; returns its results, and the lines of its table."""


def run_compare(config: CompareConfig) -> int:
    """Runs `alignment compare`; returns the exit code."""

    def experiment(progress: Progress, _interruption: Interruption, out_dir: Path) -> tuple[Sized, Sequence[str]]:
        if config.objectives:
            from alignment.lab import objectives, objectives_report

            points = objectives.compare_objectives(config, progress.say)
            objectives_report.write_objectives(points, out_dir)
            return points, objectives_report.screen_lines(points)
        from alignment.lab.methods.compare import compare, write_comparison
        from alignment.lab.methods.compare_report import screen_lines

        measured = compare(config, progress.say)
        write_comparison(config, measured, out_dir)
        return measured, screen_lines(config, measured.rows, measured.reward_models)

    return _run_experiment("compare", config, experiment)


def run_overopt(config: OveroptConfig) -> int:
    """Runs `alignment overopt`; returns the exit code."""

    def experiment(progress: Progress, _interruption: Interruption, out_dir: Path) -> tuple[Sized, Sequence[str]]:
        if config.world == "phrases":
            from alignment.phrase_lab import phrase_experiment, phrase_report

            rows = phrase_experiment.overopt_phrases(config, progress.say)
            phrase_experiment.write_phrases(
                rows, config, phrase_report.markdown(config, rows), phrase_report.report_page(config, rows)
            )
            return rows, phrase_report.screen_lines(config, rows)
        from alignment.lab.overopt import overopt, write_overopt
        from alignment.lab.overopt_report import screen_lines

        curves = overopt(config, progress.say)
        write_overopt(curves, out_dir)
        return curves, screen_lines(curves)

    return _run_experiment("overopt", config, experiment)


def run_loop_lab(config: LoopLabConfig) -> int:
    """Runs `alignment loop-lab`; returns the exit code."""

    def experiment(progress: Progress, interruption: Interruption, out_dir: Path) -> tuple[Sized, Sequence[str]]:
        from alignment.loop_lab.experiment import loop_lab
        from alignment.loop_lab.loop_report import markdown, screen_lines

        results = loop_lab(config, interruption, progress.say)
        write_text(out_dir / "loop-lab.md", markdown(results.bases, results.rows) + "\n")
        return results, screen_lines(config, results.bases, results.rows)

    return _run_experiment("loop-lab", config, experiment)


def _run_experiment(name: str, config: LabConfig | LoopLabConfig, experiment: Experiment) -> int:
    """Runs an experiment in its run directory, then prints its table, or its figures as JSON."""

    def train(context: RunContext[LabConfig | LoopLabConfig]) -> Results:
        assert context.run is not None
        results, lines = experiment(context.progress, context.interruption, context.run.dir)
        write_text(context.run.dir / TABLE, "\n".join(lines) + "\n")
        return {"num_results": len(results)}

    with redirect_stdout(sys.stderr):
        code = execute(f"alignment {name}", config, train)
    if code == 0:
        text = (Path(config.out) / (f"{name}.json" if config.json else TABLE)).read_text(encoding="utf-8")
        print(text.rstrip())
    return code
