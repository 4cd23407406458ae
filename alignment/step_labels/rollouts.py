"""The rollouts of one prompt, and what they say of the steps of its answers. No torch.

The label of a step is the share of N rollouts from the answer up to it that end right (soft), or whether one of them
does (hard): Wang et al. 2024, eqs. 3 and 4 (Math-Shepherd, arXiv 2312.08935). Where we differ:
1. A rollout that passes through several prefixes counts for each: an answer that the policy drew for the prompt, or
   that it finished from an earlier step, and that has the prefix's very steps and more, is a draw from the policy
   behind the prefix as well. Only what is missing of N is drawn.
2. The last step has no rollouts: its label is whether the answer is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rewardkit.data.records import Message

Steps = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """An answer that the policy drew behind the steps that it was begun with; of all of it steps and reward."""

    begun: Steps
    steps: Steps
    reward: float


@dataclass(kw_only=True)
class StepRollouts:
    """Answers to one prompt that are labelled, and all that the policy drew to label them.

    Attributes:
        answers: in steps, one or more each.
        rollouts: every answer that the policy drew, from the prompt or from a prefix.
        rewards: of the answers, by their steps.
    """

    prompt: tuple[Message, ...]
    answers: Sequence[Steps]
    rewards: dict[Steps, float] = field(default_factory=dict)
    rollouts: list[Rollout] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """The most steps of an answer."""
        return max(map(len, self.answers), default=0)

    def through(self, prefix: Steps) -> list[float]:
        """Rewards of the rollouts that were begun with these steps, or begin with them and go on."""
        length = len(prefix)
        return [
            one.reward
            for one in self.rollouts
            if one.begun == prefix or (len(one.steps) > length and one.steps[:length] == prefix)
        ]

    def prefixes(self, depth: int) -> list[Steps]:
        """The first so many steps of answers that go on behind them, each once."""
        return list(dict.fromkeys(steps[:depth] for steps in self.answers if len(steps) > depth))

    def missing(self, depth: int, num_rollouts: int) -> Iterator[tuple[Steps, int]]:
        """Prefixes of some steps behind which rollouts are missing, and how many."""
        for prefix in self.prefixes(depth):
            if (number := num_rollouts - len(self.through(prefix))) > 0:
                yield prefix, number

    def labels(
        self, steps: Steps, num_rollouts: int, kind: Literal["soft", "hard"], right_from: float
    ) -> tuple[list[float], list[int]]:
        """Labels of an answer's steps, and behind each the number of rollouts, 1 behind the last.

        Of more rollouts than N the first N count, so that no step of many answers knows more than another.
        """
        labels, numbers = [], []
        for depth in range(1, len(steps) + 1):
            is_last = depth == len(steps)
            rewards = [self.rewards[steps]] if is_last else self.through(steps[:depth])[:num_rollouts]
            right = [reward >= right_from for reward in rewards]
            labels.append(sum(right) / len(right) if kind == "soft" else float(any(right)))
            numbers.append(len(right))
        return labels, numbers
