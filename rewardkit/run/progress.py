"""How far the work is: a bar on a terminal (tqdm), and a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

LOG_S = 30.0
REDRAW_S = 0.2
LINE = "{desc}  {rate_noinv_fmt}, {remaining} left"
BAR = "{bar:20} " + LINE
OPEN_LINE = "{desc}  {rate_noinv_fmt}"  # where the total is not known
SHOWN_METRICS = {
    "loss": "loss",
    "rewards/accuracies": "accuracy",
    "mean_token_accuracy": "token accuracy",
    "eval/loss": "held-out loss",
    "eval/nll": "held-out NLL",
    "eval/accuracy": "held-out accuracy",
}


class Progress:
    """Shows the steps of a training with their metrics, or how many things of a number are done.

    A step or count that goes back, or has another total, begins a new bar.

    Args:
        things: what `count` counts, for example `rows scored`.
        delay_s: a terminal shows nothing before so many seconds.
    """

    def __init__(self, things: str = "", stream: TextIO | None = None, *, delay_s: float = 0.0) -> None:
        self.things, self.delay_s = things, delay_s
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self._metrics: dict[str, float] = {}
        self._bar: tqdm | None = None
        self._first, self._done, self._total = 0, 0, -1
        self._started = self._shown_at = 0.0

    def step(self, step: int, num_steps: int, metrics: Mapping[str, float]) -> None:
        """Shows that a step was taken; metrics keep their last value until they get another."""
        self._metrics |= metrics
        values = [f"{name} {self._metrics[key]:.3f}" for key, name in SHOWN_METRICS.items() if key in self._metrics]
        is_first = self._begin(step, num_steps)
        text = "  ".join([f"step {step:,} of {num_steps:,}", *values])
        self._show(text, at_once=is_first or any(name.startswith("eval/") for name in metrics))

    def count(self, done: int, total: int = 0) -> None:
        """Shows that so many are done, of an unknown number where `total` is 0; the first call starts the clock."""
        is_first = self._begin(done, total)
        if not is_first or self.terminal:
            self._show(f"{done:,} of {total:,} {self.things}" if total else f"{done:,} {self.things}")
        if self._is_complete:
            self.close()

    def say(self, text: str) -> None:
        """Prints a line of its own, above a bar that goes on."""
        if self._is_complete:
            self.close()
        if self._bar is None:
            print(text, file=self.stream, flush=True)
        else:
            self._bar.write(text, file=self.stream)

    def close(self) -> None:
        """Ends the bar and forgets the metrics."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._total, self._metrics = None, -1, {}

    @property
    def _is_complete(self) -> bool:
        return self._total > 0 and self._done >= self._total

    def _begin(self, done: int, total: int) -> bool:
        """Takes note of where the work is; true where a new bar begins."""
        is_first = total != self._total or done < self._done
        if is_first:
            if self._bar is not None:
                self._bar.close()
            self._bar = None
            self._first, self._total = done, total
            self._started = self._shown_at = time.monotonic()
        self._done = done
        return is_first

    def _show(self, text: str, *, at_once: bool = False) -> None:
        from tqdm import tqdm

        at_once = at_once or self._is_complete
        now = time.monotonic()
        if self.terminal:
            if self._bar is None:
                self._bar = _make_bar(self._first, self._total, self.stream, self.delay_s)
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(self._done - self._bar.n)
            if at_once and now - self._started >= self.delay_s:
                self._bar.refresh()
        elif at_once or now - self._shown_at >= LOG_S:
            self._shown_at = now
            line = tqdm.format_meter(
                self._done,
                self._total or None,  # type: ignore[arg-type] (tqdm takes None for what is not known)
                now - self._started,
                initial=self._first,
                prefix=text,
                unit="",
                bar_format=LINE if self._total else OPEN_LINE,
            )
            print(line, file=self.stream, flush=True)


def show_briefly(text: str) -> None:
    """Shows a line on a terminal until the next one takes its place; an empty text removes it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text} ..." if text else "\r\033[K", end="", file=sys.stderr, flush=True)


def _make_bar(first: int, total: int, stream: TextIO, delay_s: float) -> tqdm:
    from tqdm import tqdm

    class Bar(tqdm):
        monitor_interval = 0  # no thread: the next step redraws it

    return Bar(
        total=total or None,
        initial=first,
        file=stream,
        delay=delay_s,
        mininterval=REDRAW_S,
        miniters=0,
        dynamic_ncols=True,
        ascii="╌━",
        unit="",
        bar_format=BAR if total else OPEN_LINE,
    )
