"""Alarms of a run: what one carries, and alarms.jsonl, where they lie. Light, for the app reads them too.

alarms.jsonl   one JSON object a line: an alarm (step, kind, title, severity, cause, figure, metrics, advice), or that
               one is over (step, kind, cleared: true)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from rewardkit.run.directory import write_text

FILE = "alarms.jsonl"

Severity = Literal["warning", "critical"]


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A failure mode that the metrics of a run show.

    Attributes:
        kind: names the failure mode, see `alignment.watch.failure_modes`.
        title: the same for people.
        step: at which it was first seen.
        severity: critical where going on is a waste or does harm.
        cause: what is likely wrong, a sentence.
        figure: the numbers that show it, a sentence.
        metrics: the names of those that the figure was read off.
        advice: what to change, a sentence.
        cleared_at: the step at which it was over; None while it is open.
    """

    kind: str
    title: str
    step: int
    severity: Severity
    cause: str
    figure: str
    metrics: tuple[str, ...]
    advice: str
    cleared_at: int | None = None

    def __post_init__(self) -> None:
        if self.severity not in get_args(Severity):
            raise ValueError(f"severity is {self.severity!r}, allowed are {', '.join(get_args(Severity))}")

    @property
    def is_open(self) -> bool:
        """Whether the alarm was not cleared by the last step."""
        return self.cleared_at is None


def alarm_line(alarm: Alarm) -> str:
    """An alarm as a line of the file."""
    values = asdict(alarm)
    del values["cleared_at"]
    return json.dumps(values) + "\n"


def cleared_line(step: int, kind: str) -> str:
    """Returns the line that clears an alarm."""
    return json.dumps({"step": step, "kind": kind, "cleared": True}) + "\n"


def append_lines(run_dir: str | Path, lines: Iterable[str]) -> None:
    """Adds lines to a run's alarms."""
    with (Path(run_dir) / FILE).open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def replace_lines(run_dir: str | Path, lines: Iterable[str]) -> None:
    """Replaces the run's alarms by these lines; without lines it removes the file."""
    path, text = Path(run_dir) / FILE, "".join(lines)
    if text:
        write_text(path, text)
    else:
        path.unlink(missing_ok=True)


def read_alarms(run_dir: str | Path) -> list[Alarm]:
    """A run's alarms in the order they were raised; none where there is no file.

    A last line that is still being written is left out.
    """
    path = Path(run_dir) / FILE
    if not path.exists():
        return []
    alarms: list[Alarm] = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        values = json.loads(line)
        if values.pop("cleared", False):
            alarms = [
                replace(alarm, cleared_at=values["step"]) if alarm.kind == values["kind"] and alarm.is_open else alarm
                for alarm in alarms
            ]
        else:
            alarms.append(Alarm(**(values | {"metrics": tuple(values["metrics"])})))
    return alarms
