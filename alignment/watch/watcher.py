"""The watcher of a run: reads its metrics step by step and says in plain words what goes wrong.

It remembers a bounded part of the metrics and is cheap: about a millisecond a step. An alarm is raised
once, and once more only if it was over in between: that is, its rule has been silent for `QUIET` steps.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from alignment.watch.alarms import Alarm, alarm_line, append_lines, cleared_line, replace_lines
from alignment.watch.failure_modes import FAILURE_MODES, READ
from alignment.watch.history import History
from rewardkit.run.directory import read_metrics

logger = logging.getLogger(__name__)
QUIET = 10


class Watcher:
    """Watches one run; made by the process that writes it, on a resumed run after `Run.truncate_metrics`.

    What metrics.jsonl already holds is taken in anew, so that a resumed run raises the alarms that an uninterrupted
    one would; alarms.jsonl is written again from it, without those of steps that are to come again.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.dir = Path(run_dir)
        self.history = History(READ)
        self.seen: dict[str, int] = {}
        """Open alarms, with the step at which their rule last held."""
        lines: list[str] = []
        for row in read_metrics(self.dir):
            raised, over = self._look(int(row["step"] or 0), row)
            lines += _lines(int(row["step"] or 0), raised, over)
        replace_lines(self.dir, lines)

    def step(self, step: int, metrics: Mapping[str, float | None]) -> list[Alarm]:
        """Takes the metrics of a step; returns the alarms it raises, after logging and writing them."""
        raised, over = self._look(step, metrics)
        for alarm in raised:
            words = (alarm.step, alarm.severity, alarm.title, alarm.figure, alarm.cause, alarm.advice)
            logger.warning("step %d, %s: %s: %s. Likely cause: %s. What to change: %s.", *words)
        for kind in over:
            logger.info("step %d: %s is over", step, kind)
        if raised or over:
            append_lines(self.dir, _lines(step, raised, over))
        return raised

    def _look(self, step: int, metrics: Mapping[str, float | None]) -> tuple[list[Alarm], list[str]]:
        """The alarms that this step raises, and the kinds that are over with it."""
        self.history.add(step, metrics)
        raised: list[Alarm] = []
        for mode in FAILURE_MODES:
            alarm = mode.alarm(self.history)
            if alarm is None:
                continue
            if mode.kind not in self.seen:
                raised.append(alarm)
            self.seen[mode.kind] = step
        over = [kind for kind, last in self.seen.items() if step - last >= QUIET]
        for kind in over:
            del self.seen[kind]
        return raised, over


def _lines(step: int, raised: list[Alarm], over: list[str]) -> list[str]:
    return [*(alarm_line(alarm) for alarm in raised), *(cleared_line(step, kind) for kind in over)]
