"""Operating system processes: checks that one is still the one that was started, and ends process groups."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def started_at(pid: int) -> str:
    """When a process started, in whatever words the system has for it; empty if there is none, or it is a zombie.

    Together with the pid this names a process for good: pids are used again.
    """
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, start = answer.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else start.strip()


def is_running(pid: int, started: str) -> bool:
    """Whether that very process still runs."""
    return bool(started) and started_at(pid) == started


def signal_group(group: int, number: signal.Signals) -> None:
    """Sends a signal to all processes of a group; none left is fine."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def die_with_parent(number: signal.Signals) -> None:
    """Asks the kernel to send this process a signal when its parent ends, however it ends. Linux only.

    Called between fork and exec too, so it touches nothing but the C library.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number))


def ask_module(*words: str, timeout_s: float = 300.0) -> str:
    """What a command of a package prints; for those that answer and leave nothing behind.

    Raises:
        ValueError: with its last line, if it does not succeed or takes longer.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words], capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"no answer within {timeout_s:.0f} seconds") from error
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or [f"{words[0]} failed"])[-1])
    return done.stdout


def run_module(*words: str, out: Path | None = None) -> int:
    """Runs a command of a package and waits for it; the exit code. A signal to the group reaches it by itself.

    Args:
        out: file that takes what it prints; None leaves it where ours goes.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TIEBREAK_RUN_DIR"}
    with open(out, "wb") if out else nullcontext() as file:
        command = subprocess.Popen([sys.executable, "-u", "-m", *words], env=environment, stdout=file)
        asked = False
        while True:
            try:
                return command.wait() or int(asked)
            except KeyboardInterrupt:
                asked = True
