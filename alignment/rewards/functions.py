"""Python functions as sources of rewards, each in a worker process of its own that is started once and reused.

A function is called as TRL calls one: `function(prompts=..., completions=..., **columns)`, with the keywords it takes:

    prompts          texts; a longer conversation as `Human:` and `Assistant:` turns
    completions      texts
    completion_ids   lists of token ids, where they are known
    anything else    the column of that name

and returns a list, for each completion a number, or rewards of its spans: a list of (end, reward) with the characters
up to the span's end, or a list of a number for each of its tokens. It cannot hang the training, print into the
command's output, or take the process down: a call that does not end in time is one error, a worker that dies is started
once more.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import weakref
from typing import Any, Literal

import numpy as np

from alignment.rewards import worker as reward_worker
from alignment.rewards.source import RewardBatch, RewardError
from alignment.rewards.spans import SpanError, SpanReward, is_number, read_spans
from rewardkit.data.export_formats import plain_prompt
from rewardkit.reward.reward import Reward

logger = logging.getLogger(__name__)
LOADING_S = 120.0  # for the imports of the function's module
LOCATING_S = 10.0  # for finding which sample a function fails at


class WorkerEndedError(ConnectionError):
    """The worker ended by itself; the text says how."""


class Worker:
    """One process and its socket. Every wait has a deadline; any way out of a call but a whole answer ends it."""

    def __init__(self, target: str, argument: str | None, *, returns: Literal["numbers", "json"] = "numbers") -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", reward_worker.__file__, str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what the function prints is no part of the command's output
                start_new_session=True,  # Ctrl-C is for the command, which then ends its workers
            )
        self.end = weakref.finalize(self, _end, self.process, ours)
        path = [os.getcwd(), *filter(None, sys.path)]
        wanted = {"target": target, "argument": argument, "path": path, "returns": returns}
        self.ready = self.exchange(wanted, LOADING_S)

    def exchange(self, value: object, timeout_s: float) -> tuple[Any, ...]:
        """Sends one frame and waits for its answer.

        Raises:
            TimeoutError: if it does not come in time.
            WorkerEndedError: if the worker ended.
        """
        body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        deadline = time.monotonic() + timeout_s
        try:
            self.socket.settimeout(timeout_s)
            self.socket.sendall(reward_worker.LENGTH.pack(len(body)) + body)
            (size,) = reward_worker.LENGTH.unpack(self._read(reward_worker.LENGTH.size, deadline))
            return pickle.loads(self._read(size, deadline))
        except TimeoutError:
            self.end()
            raise
        except OSError as error:
            raise WorkerEndedError(self._how_it_ended()) from error
        except BaseException:  # interrupted between a question and its answer
            self.end()
            raise

    def _read(self, size: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self.socket.settimeout(max(deadline - time.monotonic(), 1e-3))
            part = self.socket.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise ConnectionError
            parts += part
        return bytes(parts)

    def _how_it_ended(self) -> str:
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            code = None
        self.end()
        if code is None:
            return "closed its socket"
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    """Ends a worker and what it started."""
    channel.close()
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
        process.wait()


class FunctionReward:
    """A Python function as a source of rewards; see the module.

    Args:
        target: `module:function` or `path/file.py:function`.
        name: what errors call it.
        argument: the target makes the function of this; None where it is the function.
        timeout_s: for one batch.
        returns: numbers, which are rewards, or anything that JSON can write, for `values`.
    """

    def __init__(
        self,
        target: str,
        *,
        name: str,
        argument: str | None = None,
        timeout_s: float = 60.0,
        returns: Literal["numbers", "json"] = "numbers",
    ) -> None:
        self.target, self.name, self.argument, self.timeout_s = target, name, argument, timeout_s
        self.returns: Literal["numbers", "json"] = returns
        self.about = name
        self._worker: Worker | None = None
        self._names: list[str] | None = None
        self._needed: list[str] = []

    def start(self) -> None:
        """Starts the worker where none runs.

        Raises:
            RewardError: if the function cannot be loaded.
        """
        if self._worker is not None and self._worker.end.alive:
            return
        try:
            self._worker = Worker(self.target, self.argument, returns=self.returns)
        except TimeoutError as error:
            raise RewardError(self.name, f"{self.target} is not loaded after {LOADING_S:g} s") from error
        except WorkerEndedError as error:
            raise RewardError(self.name, f"the worker {error} while {self.target} was loaded") from error
        if self._worker.ready[0] == "problem":
            problem = self._worker.ready[2]
            self.close()
            raise RewardError(self.name, f"{self.target} cannot be loaded: {problem}")
        _, self._names, self._needed, location = self._worker.ready
        self.about = f"{self.name} ({location})"

    def __call__(self, batch: RewardBatch) -> Reward | SpanReward:
        """Rewards of the B completions, by one member.

        Raises:
            RewardError: if the function raises, returns anything but a reward for each, does not return in time, or
                ends its process twice.
        """
        answer = self._ask(batch, self.timeout_s)
        if answer[0] == "problem":
            _, index, text = answer
            if index is None and len(batch) > 1:
                index, text = self._locate(batch, text)
            raise RewardError(self.about, text, batch, 0 if len(batch) == 1 else index)
        if all(map(is_number, answer[1])):
            return Reward(members=np.array([answer[1]], dtype=np.float64))
        try:
            return read_spans(answer[1], batch.completions, batch.num_tokens)
        except SpanError as error:
            raise RewardError(self.about, str(error), batch, error.index) from error

    def values(self, batch: RewardBatch) -> list[Any]:
        """What a function that returns JSON says of each of the B completions.

        Raises:
            RewardError: as `__call__`, of the batch.
        """
        answer = self._ask(batch, self.timeout_s)
        if answer[0] == "problem":
            _, index, text = answer
            raise RewardError(self.about, text, batch, 0 if len(batch) == 1 else index)
        return answer[1]

    def close(self) -> None:
        """Ends the worker."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _ask(self, batch: RewardBatch, timeout_s: float) -> tuple[Any, ...]:
        """The worker's answer; a worker that dies is started once more and asked again."""
        self.start()
        question = (len(batch), self._keywords(batch))
        for is_last in (False, True):
            self.start()
            assert self._worker is not None
            try:
                return self._worker.exchange(question, timeout_s)
            except TimeoutError as error:
                cause = f"no answer within {timeout_s:g} s; reward_timeout_s allows more"
                raise RewardError(self.about, cause, batch, 0 if len(batch) == 1 else None) from error
            except WorkerEndedError as error:
                if is_last:
                    cause = f"the worker {error}, and again after it was started anew"
                    raise RewardError(self.about, cause, batch, 0 if len(batch) == 1 else None) from error
                logger.warning("reward %s: the worker %s and is started again", self.about, error)
        raise AssertionError

    def _keywords(self, batch: RewardBatch) -> dict[str, Any]:
        available: dict[str, Any] = dict(batch.columns)
        if len(batch.completion_ids):
            available["completion_ids"] = [list(ids) for ids in batch.completion_ids]
        available |= {
            "prompts": [plain_prompt(prompt) for prompt in batch.prompts],
            "completions": list(batch.completions),
        }
        if missing := [name for name in self._needed if name not in available]:
            raise RewardError(self.about, f"it takes {', '.join(missing)}, there are {', '.join(sorted(available))}")
        names = available if self._names is None else self._names
        return {name: available[name] for name in names if name in available}

    def _locate(self, batch: RewardBatch, text: str) -> tuple[int | None, str]:
        """The first sample that the function fails at when asked for it alone, and how; None where there is none."""
        deadline = time.monotonic() + min(self.timeout_s, LOCATING_S)
        for index in range(len(batch)):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                answer = self._ask(batch.take([index]), left)
            except RewardError:
                break
            if answer[0] == "problem":
                return index, answer[2]
        return None, text
