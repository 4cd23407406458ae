"""How far the work is: one line that redraws itself on a terminal, plain lines now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

REDRAW_S = 0.2
LOG_S = 30.0
BAR_WIDTH = 20


class Progress:
    """Shows steps as they are taken; metrics keep their last value until they get another."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.started = time.monotonic()
        self.first_step: int | None = None
        self.shown_at = 0.0
        self.shown: dict[str, float] = {}

    def step(self, step: int, num_steps: int, metrics: Mapping[str, float]) -> None:
        """Tells that a step was taken."""
        if self.first_step is None:
            self.first_step = step - 1
        self.shown |= metrics
        now = time.monotonic()
        news = any(name.startswith("eval/") for name in metrics) or step == num_steps
        if now - self.shown_at < (REDRAW_S if self.terminal else LOG_S) and not news:
            return
        self.shown_at = now
        left = (now - self.started) / (step - self.first_step) * (num_steps - step)
        line = f"step {step:,} of {num_steps:,}  {self._values()}  {duration(left)} left"
        if self.terminal:
            done = round(BAR_WIDTH * step / num_steps)
            print(f"\r\x1b[K{'━' * done}{'╌' * (BAR_WIDTH - done)} {line}", end="", file=self.stream, flush=True)
        else:
            print(line, file=self.stream, flush=True)

    def say(self, text: str) -> None:
        """One line of its own."""
        self.close()
        print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Ends the line that redraws itself."""
        if self.terminal and self.shown:
            print(file=self.stream)
        self.shown = {}

    def _values(self) -> str:
        names = {
            "loss": "loss",
            "rewards/accuracies": "accuracy",
            "mean_token_accuracy": "token accuracy",
            "eval/loss": "held-out loss",
            "eval/nll": "held-out NLL",
            "eval/accuracy": "held-out accuracy",
        }
        return "  ".join(f"{said} {self.shown[name]:.3f}" for name, said in names.items() if name in self.shown)


class Count:
    """Shows how many of a known number of things are done; the first call says how many were done before."""

    def __init__(self, things: str, stream: TextIO | None = None) -> None:
        self.things = things
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.started, self.shown_at, self.first = time.monotonic(), 0.0, -1

    def __call__(self, done: int, total: int) -> None:
        """Tells that so many are done."""
        now = time.monotonic()
        if self.first < 0:
            self.first, self.started = done, now
            return
        if now - self.shown_at < (REDRAW_S if self.terminal else LOG_S) and done < total:
            return
        self.shown_at = now
        pace = (done - self.first) / max(now - self.started, 1e-9)
        left = duration((total - done) / pace) if pace else "?"
        line = f"{done:,} of {total:,} {self.things}, {pace:,.1f} a second, {left} left"
        end = "" if self.terminal and done < total else "\n"
        print(f"\r\x1b[K{line}" if self.terminal else line, end=end, file=self.stream, flush=True)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
