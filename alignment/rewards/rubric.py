"""A rubric as a source of rewards: the members are the judge's samples, so that penalties see how far they spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alignment.rewards.functions import FunctionReward
from alignment.rewards.source import RewardBatch
from rewardkit.reward.reward import Reward

MAKE = "alignment.rubrics.reward:make_rubric"  # run in a worker, so that judges stand above rewards


@dataclass(frozen=True, kw_only=True)
class GradedReward(Reward):
    """Rewards of B completions, and the grades that they are made of.

    Attributes:
        criteria: (1, B) grades, 0 to 1, by criterion: means over samples.
    """

    criteria: Mapping[str, Reward]


class RubricReward:
    """A rubric in its worker.

    Args:
        path: of the rubric.
        name: what errors call it.
        timeout_s: for one batch.
    """

    def __init__(self, path: str, *, name: str, timeout_s: float = 60.0) -> None:
        self.function = FunctionReward(MAKE, argument=path, name=name, timeout_s=timeout_s, returns="json")

    @property
    def about(self) -> str:
        """See `RewardSource`."""
        return self.function.about

    def start(self) -> None:
        """Starts the worker: reads the rubric, opens its judge.

        Raises:
            RewardError: if the rubric is not allowed, or its judge cannot be opened.
        """
        self.function.start()

    def __call__(self, batch: RewardBatch) -> GradedReward:
        """Rewards of the B completions by the K samples of the judge.

        Raises:
            RewardError: if the judge cannot be asked, or does not answer in time.
        """
        values = self.function.values(batch)
        names = values[0]["criteria"]
        criteria = {name: Reward(members=np.array([[one["criteria"][name] for one in values]])) for name in names}
        return GradedReward(members=np.array([one["members"] for one in values]).T, criteria=criteria)

    def close(self) -> None:
        """Ends the worker."""
        self.function.close()
