"""Sources of rewards for tests."""

from __future__ import annotations

from collections.abc import Callable

from alignment.rewards.source import RewardBatch
from alignment.rewards.spans import SpanReward
from rewardkit.reward.reward import Reward


class ToySource:
    """A source that asks a function of the batch."""

    def __init__(self, reward: Callable[[RewardBatch], Reward | SpanReward], *, about: str) -> None:
        self.reward, self.about = reward, about

    def __call__(self, batch: RewardBatch) -> Reward | SpanReward:
        return self.reward(batch)

    def close(self) -> None:
        """Holds nothing."""
