"""`train` makes a reward model out of preferences."""

from __future__ import annotations

from rewardkit.commands.command import Command
from rewardkit.config import RewardConfig


def _train(config: RewardConfig) -> int:
    raise ValueError("not written yet")


COMMAND = Command(help="train a reward model, one member or an ensemble", config=RewardConfig, run=_train)
