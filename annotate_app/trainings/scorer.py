"""Rewards for pages: reward models held by processes (`annotate_app.jobs.model_processes`), and what they say."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from annotate_app.jobs.model_processes import ModelProcesses, model_processes
from rewardkit.data.export_formats import turns
from rewardkit.data.records import Message
from rewardkit.reward.metadata import read_card
from rewardkit.stats.calibration import apply
from rewardkit.stats.uncertainty import mutual_information

MODULE = "rewardkit.scoring.lines"
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


class Scorers:
    """Reward models at hand, in the server's table of processes or one of its own."""

    def __init__(self, processes: ModelProcesses) -> None:
        self.processes = processes

    def is_loaded(self, model: Path) -> bool:
        """Whether a process holds this model already."""
        return self.processes.is_loaded(MODULE, model)

    def rewards(self, model: Path, prompt: Sequence[Message], completions: Sequence[str]) -> np.ndarray:
        """(K, B) rewards of answers to one prompt; the first question to a model waits until it is loaded.

        Raises:
            ValueError: if the model cannot be loaded, cannot read them or does not answer.
        """
        return np.array(self._answer(model, prompt, completions)["members"], dtype=float)

    def ask(self, model: Path, prompt: str, completions: Sequence[str], *, before: Sequence[Message] = ()) -> Answered:
        """Rewards of completions by a model, with what its criteria and words say.

        Args:
            before: turns of the conversation before the prompt.

        Raises:
            ValueError: as `rewards`.
        """
        answer = self._answer(model, (*before, Message(role="user", content=prompt)), completions, parts=True)
        return Answered(
            members=np.array(answer["members"], dtype=float),
            criteria=answer["criteria"],
            words=answer["words"],
            length=answer["length"],
        )

    def _answer(
        self, model: Path, prompt: Sequence[Message], completions: Sequence[str], *, parts: bool = False
    ) -> dict[str, Any]:
        question = {"prompt": turns(prompt), "completions": list(completions), **({"parts": True} if parts else {})}
        try:
            return self.processes.ask(MODULE, model, question)
        except ValueError as error:
            raise ValueError(f"{model.parent.name}: {error}") from error

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
        members = self.rewards(model, (*before, Message(role="user", content=prompt)), (first, second))
        return verdict(model, members, time.monotonic() - started)


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
    """The reward models of the server's one table of processes."""
    return Scorers(model_processes())
