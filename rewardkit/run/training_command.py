"""The frame of a training command: its run directory, how it may be interrupted, what it says and how it ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rewardkit.run.allocator import keep_large_buffers, peak_mb
from rewardkit.run.directory import Run, read_status
from rewardkit.run.interruption import Interruption
from rewardkit.run.progress import Progress


class TrainingOptions(Protocol):
    """The part of a configuration that names the run; the whole is a dataclass."""

    @property
    def out(self) -> str:
        """The run directory."""
        ...

    @property
    def resume(self) -> bool:
        """Whether the run in it goes on."""
        ...


Fit = Callable[[Run | None, Interruption, Progress], Mapping[str, Any] | None]
"""Trains; returns the results, or None where it was asked to stop and can be continued."""


def execute(name: str, config: TrainingOptions, fit: Fit) -> int:
    """Runs a training; returns the exit code, 1 where it was cancelled.

    One of several processes ends here: threads of a group that is gone can abort the interpreter on its way out.

    Args:
        name: of the command, for people.
        fit: is given the run, None in all processes but the first, which write nothing.

    Raises:
        ValueError: if the run is done, or may not begin or go on; see `rewardkit.run.directory.Run`.
    """
    code = _execute(name, config, fit)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _execute(name: str, config: TrainingOptions, fit: Fit) -> int:
    if config.resume and read_status(config.out).get("state") == "done":
        raise ValueError(f"--resume {config.out}: this run is done")
    keep_large_buffers()
    progress = Progress()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    for package in ("rewardkit", "alignment"):
        logging.getLogger(package).setLevel(logging.INFO)
    run = Run(config.out, config, resume=config.resume) if os.environ.get("RANK", "0") == "0" else None
    with Interruption().listening() as interruption:
        try:
            results = fit(run, interruption, progress)
        except KeyboardInterrupt:
            interruption.asked, results = True, None
        except BaseException as error:
            if run:
                run.status("failed", message=f"{type(error).__name__}: {error}")
            raise
        finally:
            progress.close()
    if not run:
        return 1 if interruption.asked else 0
    if results is None:
        run.status("cancelled")
        print(f"{name}: cancelled; continue with --resume --out {run.dir}", file=sys.stderr)
        return 1
    run.status("done", results=dict(results), peak_mb=round(peak_mb(), 1))
    print(run.dir)
    return 0
