"""The process beside a sandbox: starts an answer and its tests behind walls, waits no longer than it says, ends both.

Walls are `behind_walls` (Landlock, seccomp, limits, another user where it is root), and around them bubblewrap where
it is installed and works: then there are no other files, processes and networks at all. Where neither bubblewrap nor
Landlock can be had, nothing is run.
"""

from __future__ import annotations

import json
import os
import platform
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alignment.verifiers.code_answers import behind_walls

MOST_RESULT = 1 << 16  # bytes
_ENVIRONMENT = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an answer and its tests may take, each.

    Attributes:
        wall_s: seconds for both together.
        cpu_s: seconds of a processor.
        memory: bytes of address space.
    """

    wall_s: float = 10.0
    cpu_s: int = 2
    memory: int = 1 << 30


@dataclass(frozen=True, kw_only=True)
class CodeTests:
    """Tests of an answer.

    Attributes:
        tests: Python texts, each one test.
        setup: run before them, imports say.
        entry_point: name of the function that `check` of the tests is called with; empty for none.
    """

    tests: tuple[str, ...]
    setup: str = ""
    entry_point: str = ""


class NoSandboxError(ValueError):
    """This machine has no walls that code can be run behind."""


def packages() -> list[str]:
    """Folders of the installed packages."""
    return list(dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib")))


def libraries() -> list[str]:
    """What Python itself reads: its own folders, shared libraries, time zones, a source of chance."""
    own = [*(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")), *packages()]
    shared = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", os.path.join(sys.base_prefix, "lib")]
    others = ["/etc/ld.so.cache", "/usr/share/zoneinfo", "/dev/urandom", "/dev/null"]
    return [path for path in dict.fromkeys([*own, *shared, *others]) if os.path.exists(path)]


@cache
def walls() -> tuple[str, ...]:
    """The walls of this machine, tried: `bubblewrap`, `landlock` or both.

    Raises:
        NoSandboxError: if there is neither, in one line.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NoSandboxError(
            f"code is run in a sandbox of Linux on x86_64, this is {sys.platform} {platform.machine()}"
        )
    probe = CodeTests(tests=("assert f(2) == 4",))
    landlock = ("landlock",) if behind_walls.landlock_version() else ()
    tried = [("bubblewrap", *landlock)] if shutil.which("bwrap") else []
    tried += [landlock] if landlock else []
    for names in tried:
        if run_tests("def f(x):\n    return 2 * x", probe, Limits(), names=names) == [True]:
            return names
    without = "" if tried else ": Landlock is not in its kernel, and bubblewrap (bwrap) is not installed"
    raise NoSandboxError(f"code is run in a sandbox, and this machine allows none{without}")


def run_tests(
    code: str, tests: CodeTests, limits: Limits | None = None, *, names: Sequence[str] | None = None
) -> list[bool]:
    """Whether each test passes; none does where the answer cannot be loaded, takes too much, or ends its process.

    Args:
        names: the walls; None for those of the machine.

    Raises:
        NoSandboxError: if the machine has no walls.
    """
    limits, names = limits or Limits(), walls() if names is None else names
    for_answer, for_tests = socket.socketpair()
    result, written = os.pipe()
    jobs = {
        "answer": {"code": code},
        "tests": {"tests": tests.tests, "setup": tests.setup, "entry_point": tests.entry_point},
    }
    processes: list[subprocess.Popen[bytes]] = []
    try:
        deadline = time.monotonic() + limits.wall_s
        for (role, job), channel in zip(jobs.items(), (for_answer, for_tests), strict=True):
            told = written if role == "tests" else -1  # what passed is for the tests alone to say
            processes.append(_start(role, job, channel.fileno(), told, limits, names))
            channel.close()
        os.close(written)
        written = -1
        body = _read(result, deadline)
    finally:
        for channel in (for_answer, for_tests):
            channel.close()
        for descriptor in (result, written):
            if descriptor >= 0:
                os.close(descriptor)
        for process in processes:
            _end(process)
    try:
        passed = json.loads(body)
    except ValueError:
        return [False] * len(tests.tests)
    return [bool(one) for one in passed]


def _start(
    role: str, job: Mapping[str, object], channel: int, result: int, limits: Limits, names: Sequence[str]
) -> subprocess.Popen[bytes]:
    told = {**job, "libraries": libraries(), "packages": packages()}
    own = [sys.executable, "-I", "-S", behind_walls.__file__, role]
    own += [str(value) for value in (channel, result, limits.cpu_s, limits.memory)]
    own.append("landlock" if "landlock" in names else "none")
    process = subprocess.Popen(
        [*(_bubblewrap() if "bubblewrap" in names else ()), *own],
        pass_fds=(channel,) if result < 0 else (channel, result),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        with process.stdin:
            process.stdin.write(json.dumps(told).encode())
    except BrokenPipeError:  # it has ended; nothing passes
        pass
    return process


def _bubblewrap() -> list[str]:
    """bubblewrap with Python's libraries and nothing else."""
    read = (*libraries(), sys.executable, os.path.realpath(sys.executable), behind_walls.__file__)
    binds = [(path, "dev-bind" if path.startswith("/dev/") else "ro-bind") for path in read]
    binds.append((str(Path(sys.prefix) / "pyvenv.cfg"), "ro-bind-try"))
    binds_words = [word for path, bind in binds for word in (f"--{bind}", path, path)]
    command = "bwrap --unshare-all --die-with-parent --new-session --cap-drop ALL --remount-ro /"
    first, *words = command.split()
    return [str(shutil.which(first)), *words[:-2], *binds_words, *words[-2:]]


def _read(descriptor: int, deadline: float) -> bytes:
    """What the tests say, until they end, the time is over, or they say too much."""
    parts = bytearray()
    while len(parts) <= MOST_RESULT:
        ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return b""
        part = os.read(descriptor, MOST_RESULT)
        if not part:
            return bytes(parts)
        parts += part
    return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
