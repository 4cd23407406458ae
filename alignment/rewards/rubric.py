"""A rubric as a source of rewards: the members are the judge's samples, so that penalties see how far they spread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alignment.rewards.functions import FunctionReward
from alignment.rewards.source import RewardBatch
from rewardkit.reward.reward import Reward

MAKE = "alignment.rubrics.reward:make_rubric"  # run in a worker, so that judges stand above rewards


class RubricReward:
    """A rubric in its worker.

    Args:
        path: of the rubric.
        name: what errors call it.
        timeout_s: for one batch.

    Attributes:
        criteria: (1, B) grades of the last batch, 0 to 1, by criterion: means over samples.
    """

    def __init__(self, path: str, *, name: str, timeout_s: float = 60.0) -> None:
        self.function = FunctionReward(MAKE, argument=path, name=name, timeout_s=timeout_s, returns="json")
        self.criteria: Mapping[str, Reward] = {}

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

    def __call__(self, batch: RewardBatch) -> Reward:
        """Rewards of the B completions by the K samples of the judge.

        Raises:
            RewardError: if the judge cannot be asked, or does not answer in time.
        """
        values = self.function.values(batch)
        names = values[0]["criteria"]
        self.criteria = {name: Reward(members=np.array([[one["criteria"][name] for one in values]])) for name in names}
        return Reward(members=np.array([one["members"] for one in values]).T)

    def close(self) -> None:
        """Ends the worker."""
        self.function.close()
