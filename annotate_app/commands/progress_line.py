"""One line on the terminal that says how far a long command is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 0.2
AFTER_S = 0.5


@contextmanager
def progress_line(what: str) -> Iterator[Callable[[int], None]]:
    """A function that takes a count and redraws the line; silent where stderr is no terminal, or all is done soon.

    Where the command runs as a job, its page is told as well.
    """
    from annotate_app.jobs.jobs import report_progress

    started = drawn = time.monotonic()
    shown = False

    def tell(count: int) -> None:
        nonlocal drawn, shown
        now = time.monotonic()
        if now - started < AFTER_S or now - drawn < EVERY_S:
            return
        drawn = now
        report_progress(count, what=what)
        if sys.stderr.isatty():
            shown = True
            print(f"\r{count:,} {what}, {count / (now - started):,.0f} a second", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if shown:
            print(file=sys.stderr)
