"""The type of a command: name, help, arguments, and a function that does the imports only when it is run."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from annotate_app.access import Actor
from rewardkit.run.progress import REDRAW_S, Progress


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand, for example `project create`.

    Attributes:
        name: the words after `annotate-app`.
        help: one line.
        arguments: adds the arguments to a parser; module-level code of command files imports nothing heavy.
        run: does it; returns the exit code (0 done, 1 failed). ValueError and FileNotFoundError end in exit code 2
            and one line.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], Any]
    run: Callable[[argparse.Namespace], int]


ACTOR = Actor.command_line()


@contextmanager
def progress_line(things: str) -> Iterator[Callable[[int], None]]:
    """Makes a function that shows how many items are done; in a job, the job's page shows it as well."""
    from annotate_app.jobs.jobs import report_progress

    progress = Progress(things, delay_s=0.5)
    reported_at = time.monotonic()

    def tell(done: int) -> None:
        nonlocal reported_at
        progress.count(done)
        if time.monotonic() - reported_at >= REDRAW_S:
            reported_at = time.monotonic()
            report_progress(done, what=things)

    try:
        yield tell
    finally:
        progress.close()


def print_json(value: object) -> None:
    """Prints one JSON document to stdout; NaN and infinities become null."""
    json.dump(_finite(value), sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def _finite(value: object) -> object:
    match value:
        case float():
            return value if value == value and abs(value) != float("inf") else None
        case dict():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value
