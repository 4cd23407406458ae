"""The frame of a training command: its run directory, how it may be interrupted, what it says and how it ends.

Ctrl-C and SIGTERM end it at once while nothing is lost, and after the step and its checkpoint while it trains. Before
torch is imported, the command sets what belongs to the whole process: how the C library's allocator keeps freed memory
(`keep_large_buffers`) and how threads of matrix products wait for each other (`sleep_between_products`).
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

from rewardkit.run.directory import Run, read_status
from rewardkit.run.progress import Progress


class Interruption:
    """Listens to SIGINT and SIGTERM; a second one always ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._patient = False

    @contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Within the block both signals raise KeyboardInterrupt, save where `patient` says otherwise."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Within the block a signal only sets `asked`."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked or not self._patient:
            raise KeyboardInterrupt
        self.asked = True


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # mallopt(3)


def keep_large_buffers() -> bool:
    """Lets freed buffers stay with the process instead of going back to the kernel after every operation.

    Otherwise each large tensor on a CPU is mapped and zeroed page by page again. Only for glibc; returns whether it was
    done. Belongs into a command, before torch: it changes the whole process.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    return all(
        libc.mallopt(option, value)
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 * 2**20))
    )


def peak_mb() -> float:
    """The most memory that this process had resident, MiB; without what it inherited from the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


class RunOptions(Protocol):
    """The part of every training's configuration that names the run; the whole is a dataclass."""

    @property
    def out(self) -> str: ...

    @property
    def resume(self) -> bool: ...


Config = TypeVar("Config", bound=RunOptions)
AnyConfig = TypeVar("AnyConfig", bound=RunOptions, covariant=True)


@dataclass(frozen=True, kw_only=True)
class RunContext(Generic[AnyConfig]):
    """What a training is given by the command that runs it.

    Attributes:
        config: of the command.
        run: the run directory in the first process; None in the others, which write nothing.
        interruption: whether the training has been asked to stop.
        progress: what people are shown.
    """

    config: AnyConfig
    run: Run | None
    interruption: Interruption
    progress: Progress


Results = Mapping[str, Any]
"""Plain values for status.json."""


def execute(name: str, config: Config, train: Callable[[RunContext[Config]], Results | None]) -> int:
    """Runs a training; returns the exit code, 1 where it was cancelled.

    One of several processes ends here: threads of a group that is gone can abort the interpreter on its way out.

    Args:
        name: of the command, for people; its first word is the package.
        train: returns the results, or None where it was asked to stop and can be continued.

    Raises:
        ValueError: if the run is done, or may not begin or continue; see `rewardkit.run.directory.Run`.
    """
    code = _execute(name, config, train)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _execute(name: str, config: Config, train: Callable[[RunContext[Config]], Results | None]) -> int:
    if config.resume and read_status(config.out).get("state") == "done":
        raise ValueError(f"--resume {config.out}: this run is done")
    keep_large_buffers()
    progress = Progress()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    for package in {__name__.partition(".")[0], name.partition(" ")[0]}:
        logging.getLogger(package).setLevel(logging.INFO)
    run = Run(config.out, config, resume=config.resume) if os.environ.get("RANK", "0") == "0" else None
    with Interruption().listening() as interruption:
        context = RunContext(config=config, run=run, interruption=interruption, progress=progress)
        try:
            results = train(context)
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


SPINS = "10000"  # turns of libgomp's loop, about half a millisecond


def sleep_between_products(environment: MutableMapping[str, str] = os.environ) -> None:
    """Lets OpenMP's threads sleep when they have waited for half a millisecond, instead of spinning on.

    Left to itself each spins through many time slices of others: on a busy machine a step of a small model then takes
    several times as long. But to sleep at once costs a wakening at each of the hundreds of short products of a decode
    step: on two idle cores sampling takes 1.4 times as long so. Belongs into a command, before torch; an
    OMP_WAIT_POLICY that is set already stays as it is.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT=SPINS)
