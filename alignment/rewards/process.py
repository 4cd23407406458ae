"""Process reward models of rewardkit as sources of rewards: of each step of a completion, how likely it is right.

A probability stays one: `normalise_rewards` is for rewards that have no scale of their own. torch is imported when a
model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from alignment.rewards.models import away_between_calls
from alignment.rewards.source import RewardBatch
from alignment.rewards.spans import SpanReward
from rewardkit.data.stepwise.stepped_answer import split_steps
from rewardkit.reward.step_rewards import StepRewardFn, StepRewards


class ProcessReward:
    """A process reward model as a source of rewards.

    Args:
        model: the loaded model.
        name: what errors call it.
        steps_by: what parts the steps of a completion, see `rewardkit.data.stepwise.stepped_answer.split_steps`.
        offload: whether its network lies in the CPU's memory between calls.
    """

    def __init__(self, model: StepRewardFn, *, name: str, steps_by: str = "line", offload: bool = False) -> None:
        self.model, self.about, self.steps_by = model, name, steps_by
        self.away = away_between_calls(model) if offload else []

    def __call__(self, batch: RewardBatch) -> SpanReward:
        """Rewards of the steps of the B completions; a completion without any is one step that is surely wrong, 0."""
        steps = [split_steps(text, self.steps_by) for text in batch.completions]
        stepped = [number for number, of_one in enumerate(steps) if of_one]
        scored: Sequence[StepRewards] = []
        if stepped:
            with ExitStack() as stack:
                for network in self.away:
                    stack.enter_context(network.here())
                scored = self.model.score_steps(
                    [batch.prompts[one] for one in stepped], [steps[one] for one in stepped]
                )
        members = dict(zip(stepped, scored, strict=True))
        nothing = np.zeros((len(scored[0].members) if stepped else 1, 1))
        ends = [
            ends_within(text, of_one) if of_one else [len(text)]
            for text, of_one in zip(batch.completions, steps, strict=True)
        ]
        return SpanReward(
            members=np.concatenate(
                [members[one].members if one in members else nothing for one in range(len(batch))], axis=1
            ),
            completion=np.repeat(np.arange(len(batch)), [len(of_one) for of_one in ends]),
            ends=np.concatenate(ends).astype(np.int64),
        )

    def close(self) -> None:
        """The model stays in memory."""


def ends_within(text: str, steps: Sequence[str]) -> list[int]:
    """Returns the characters up to the end of each step of a text, in order; the last one ends with the text."""
    ends: list[int] = []
    for step in steps:
        ends.append(text.index(step, ends[-1] if ends else 0) + len(step))
    return [*ends[:-1], len(text)]
