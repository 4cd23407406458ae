"""`ppo` lets a policy learn from rewards of its own completions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.online_config import PpoConfig
from rewardkit.commands.command import Command
from rewardkit.execution import execute
from rewardkit.interruption import Interruption
from rewardkit.progress import Progress
from rewardkit.runs import Run


def _ppo(config: PpoConfig) -> int:
    return execute("alignment ppo", config, partial(_fit, config))


def _fit(
    config: PpoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.ppo import train_ppo

    return train_ppo(config, run, interruption, progress)


COMMAND = Command(help="reinforcement learning with a value model (PPO)", config=PpoConfig, run=_ppo)
