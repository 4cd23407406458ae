"""Models at hand: processes that hold one each, started when first asked, ended when nobody asks.

The page server never imports torch; it writes a line to a process and reads one (`rewardkit.run.line_server`). A
process ends by itself when the server does, because its input ends then. Reward models and policies share one table, so
that there are never more than MOST_MODELS in memory, whoever asks for which.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

IDLE_S = 300.0
"""Without a question, after which a process is ended."""
ANSWER_S = 180.0
"""Longest wait for an answer, loading included."""
MOST_MODELS = 4
"""Processes at a time: three policies side by side, and a reward model."""


class ModelProcess:
    """One process with one model; answers one question at a time.

    Args:
        module: what the process runs, with the model's folder as its argument.
    """

    def __init__(self, module: str, model: Path) -> None:
        self.module, self.model = module, model
        self.asked_at = time.monotonic()
        self.lock = threading.Lock()
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._buffer = b""
        self._ready = False

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Mapping[str, object], *, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """What the process says to a question, which gets an id of its own.

        Raises:
            ValueError: with the model's own words, or if no answer came in time, after which the process is ended.
        """
        with self.lock:
            deadline = time.monotonic() + timeout_s
            self.asked_at = time.monotonic()
            if not self._ready:
                self._check(self._read(deadline))
                self._ready = True
            self._number += 1
            self._write({"id": self._number, **question})
            answer = self._check(self._read(deadline))
            self.asked_at = time.monotonic()
            return answer

    def close(self) -> None:
        self._end()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what could not be written to an ended process
                    pipe.close()

    def _end(self) -> None:
        """From here on it is not alive: its end of a pipe may close before it has ended."""
        self._process.kill()
        self._process.wait()

    @staticmethod
    def _check(answer: dict[str, Any]) -> dict[str, Any]:
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def _write(self, values: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(values).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ValueError(self._last_words()) from error

    def _read(self, deadline: float) -> dict[str, Any]:
        """The next line; a process that is silent for too long, or ends, is an error."""
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                self._end()
                raise ValueError("the model did not answer in time")
            part = self._process.stdout.read1(65536)  # type: ignore[attr-defined]
            if not part:
                raise ValueError(self._last_words())
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _last_words(self) -> str:
        """Ends what has closed its pipe, and says how it went."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            code = None
        self._end()
        if code == -signal.SIGKILL:
            return "the process that holds the model was killed, as a system does that runs out of memory"
        return "the process that holds the model ended; ask again"


class ModelProcesses:
    """The processes of this server, by what they run and their model; the one asked longest ago makes room."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self.idle_s = idle_s
        self._processes: dict[tuple[str, Path], ModelProcess] = {}
        self._lock = threading.Lock()
        self._sweeper: threading.Thread | None = None

    def is_loaded(self, module: str, model: Path) -> bool:
        """Whether a process holds this model already."""
        process = self._processes.get((module, model))
        return process is not None and process.alive

    def ask(
        self, module: str, model: Path, question: Mapping[str, object], *, timeout_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """Asks a model; the first question waits until it is loaded.

        Raises:
            ValueError: if the model cannot be loaded or does not answer, or all processes are busy.
        """
        return self._process(module, model).ask(question, timeout_s=timeout_s)

    def close(self) -> None:
        with self._lock:
            for process in self._processes.values():
                process.close()
            self._processes.clear()

    def sweep(self) -> None:
        """Ends the processes that nobody has asked for a while."""
        with self._lock:
            for key, process in list(self._processes.items()):
                idle = time.monotonic() - process.asked_at > self.idle_s and not process.lock.locked()
                if idle or not process.alive:
                    self._processes.pop(key).close()

    def _process(self, module: str, model: Path) -> ModelProcess:
        self.sweep()
        key = module, model
        with self._lock:
            if key not in self._processes:
                while len(self._processes) >= MOST_MODELS:
                    free = [name for name, process in self._processes.items() if not process.lock.locked()]
                    if not free:
                        raise ValueError("other models are being asked at the moment; try again shortly")
                    self._processes.pop(min(free, key=lambda name: self._processes[name].asked_at)).close()
                self._processes[key] = ModelProcess(module, model)
                self._watch()
            return self._processes[key]

    def _watch(self) -> None:
        """Sweeps in the background while there is anything to end."""
        if self._sweeper is None or not self._sweeper.is_alive():
            self._sweeper = threading.Thread(target=self._sweep_until_empty, daemon=True)
            self._sweeper.start()

    def _sweep_until_empty(self) -> None:
        while self._processes:
            time.sleep(min(self.idle_s, 15.0))
            self.sweep()


@cache
def model_processes() -> ModelProcesses:
    """The server's one table of processes."""
    return ModelProcesses()
