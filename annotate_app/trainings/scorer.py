"""Rewards for the playground: a process that holds a model, started when it is first asked, ended when nobody asks.

The page server never imports torch; it writes a line to the process and reads one (`rewardkit.scoring.lines`). The
process ends by itself when the server does, because its input ends then.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from rewardkit.data.export_formats import turns
from rewardkit.data.records import Message
from rewardkit.reward.metadata import read_card
from rewardkit.stats.calibration import apply
from rewardkit.stats.uncertainty import mutual_information

IDLE_S = 300.0
"""Without a question, after which a process is ended."""
ANSWER_S = 180.0
"""Longest wait for an answer, loading included."""
MOST_MODELS = 2
LONGEST_TEXT = 50_000


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A model's comparison of two answers to a prompt.

    Attributes:
        rewards: of the two, mean over members; `stds` over members, ddof 1, 0 for one member.
        normalised: rewards in standard deviations from the mean chosen answer of the validation rows.
        probability: that the first is preferred, calibrated, the members averaged out.
        members: (K,) the same by member; `low` and `high` hold nine tenths of them.
        information: what one vote would tell about which member is right, nats.
        seconds: how long the answer took.
    """

    rewards: tuple[float, float]
    stds: tuple[float, float]
    normalised: tuple[float, float]
    probability: float
    members: tuple[float, ...]
    low: float
    high: float
    information: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a process says of B completions.

    Attributes:
        members: (K, B) rewards.
        criteria: by criterion head, (B,) rewards.
        words: of a model that counts words, per completion what each word adds as (start, end, value).
        length: of such a model, (B,) what the number of words adds.
    """

    members: np.ndarray
    criteria: Mapping[str, Sequence[float]]
    words: Sequence[Sequence[tuple[int, int, float]]] | None
    length: Sequence[float] | None


class Scorer:
    """One process with one model; answers one question at a time."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.asked_at = time.monotonic()
        self.lock = threading.Lock()
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rewardkit.scoring.lines", str(model)],
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

    def ask(
        self,
        prompt: str,
        completions: Sequence[str],
        *,
        before: Sequence[Message] = (),
        parts: bool = False,
        timeout_s: float = ANSWER_S,
    ) -> Answered:
        """Rewards of completions.

        Args:
            before: turns of the conversation before the prompt.
            parts: whether to tell what criteria and words say, see `rewardkit.scoring.lines`.

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
            conversation = [*turns(before), {"role": "user", "content": prompt}]
            question: dict[str, object] = {"id": self._number, "prompt": conversation, "completions": [*completions]}
            self._write(question | ({"parts": True} if parts else {}))
            answer = self._check(self._read(deadline))
            self.asked_at = time.monotonic()
            return Answered(
                members=np.array(answer["members"], dtype=float),
                criteria=answer.get("criteria") or {},
                words=answer.get("words"),
                length=answer.get("length"),
            )

    def close(self) -> None:
        self._end()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _end(self) -> None:
        """From here on it is not alive: its end of a pipe may close before it has ended."""
        self._process.kill()
        self._process.wait()

    def _check(self, answer: dict) -> dict:
        if "error" in answer:
            raise ValueError(f"{self.model.parent.name}: {answer['error']}")
        return answer

    def _write(self, values: dict[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(values).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            self._end()
            raise ValueError("the process that holds the model ended; ask again") from error

    def _read(self, deadline: float) -> dict:
        """The next line; a process that is silent for too long, or ends, is an error."""
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                self._end()
                raise ValueError("the model did not answer in time")
            part = self._process.stdout.read1(65536)  # type: ignore[attr-defined]
            if not part:
                self._end()
                raise ValueError("the process that holds the model ended; ask again")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)


class Scorers:
    """The processes of this server, by model; the one asked longest ago makes room for another."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self.idle_s = idle_s
        self._scorers: dict[Path, Scorer] = {}
        self._lock = threading.Lock()
        self._sweeper: threading.Thread | None = None

    def is_loaded(self, model: Path) -> bool:
        """Whether a process holds this model already."""
        scorer = self._scorers.get(model)
        return scorer is not None and scorer.alive

    def judge(self, model: Path, prompt: str, first: str, second: str, *, before: Sequence[Message] = ()) -> Verdict:
        """Scores two answers with a model; the first question to a model waits until it is loaded.

        Args:
            before: turns of the conversation before the prompt.

        Raises:
            ValueError: if a text is empty or too long, or the model cannot be loaded or does not answer.
        """
        for name, text in (("prompt", prompt), ("answer A", first), ("answer B", second)):
            if not text.strip():
                raise ValueError(f"{name} is empty")
            if len(text) > LONGEST_TEXT:
                raise ValueError(f"{name} has {len(text):,} characters, allowed are {LONGEST_TEXT:,}")
        started = time.monotonic()
        members = self._scorer(model).ask(prompt, (first, second), before=before).members
        return verdict(model, members, time.monotonic() - started)

    def ask(self, model: Path, prompt: str, completions: Sequence[str], *, before: Sequence[Message] = ()) -> Answered:
        """Rewards of completions by a model, with what its criteria and words say.

        Raises:
            ValueError: if the model cannot be loaded or does not answer.
        """
        return self._scorer(model).ask(prompt, completions, before=before, parts=True)

    def close(self) -> None:
        with self._lock:
            for scorer in self._scorers.values():
                scorer.close()
            self._scorers.clear()

    def sweep(self) -> None:
        """Ends the processes that nobody has asked for a while."""
        with self._lock:
            for model, scorer in list(self._scorers.items()):
                idle = time.monotonic() - scorer.asked_at > self.idle_s and not scorer.lock.locked()
                if idle or not scorer.alive:
                    self._scorers.pop(model).close()

    def _scorer(self, model: Path) -> Scorer:
        self.sweep()
        with self._lock:
            if model not in self._scorers:
                while len(self._scorers) >= MOST_MODELS:
                    free = [scorer for scorer in self._scorers.values() if not scorer.lock.locked()]
                    if not free:
                        raise ValueError("other models are being asked at the moment; try again shortly")
                    oldest = min(free, key=lambda scorer: scorer.asked_at)
                    self._scorers.pop(oldest.model).close()
                self._scorers[model] = Scorer(model)
                self._watch()
            return self._scorers[model]

    def _watch(self) -> None:
        """Sweeps in the background while there is anything to end."""
        if self._sweeper is None or not self._sweeper.is_alive():
            self._sweeper = threading.Thread(target=self._sweep_until_empty, daemon=True)
            self._sweeper.start()

    def _sweep_until_empty(self) -> None:
        while self._scorers:
            time.sleep(min(self.idle_s, 15.0))
            self.sweep()


def verdict(model: Path, members: np.ndarray, seconds: float) -> Verdict:
    """Converts (K, 2) rewards to a verdict with the model's own calibration."""
    card = read_card(model)
    probabilities = apply(card.calibration, members[:, 0] - members[:, 1])
    means = members.mean(0)
    stds = members.std(0, ddof=1) if len(members) > 1 else np.zeros(2)
    low, high = np.quantile(probabilities, (0.05, 0.95))
    normalised = card.normalised(means)
    return Verdict(
        rewards=(float(means[0]), float(means[1])),
        stds=(float(stds[0]), float(stds[1])),
        normalised=(float(normalised[0]), float(normalised[1])),
        probability=float(probabilities.mean()),
        members=tuple(probabilities.tolist()),
        low=float(low),
        high=float(high),
        information=float(mutual_information(probabilities[:, None])[0]),
        seconds=seconds,
    )


@cache
def scorers() -> Scorers:
    """The process's one table of scoring processes."""
    return Scorers()
