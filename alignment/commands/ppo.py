"""`ppo` lets a policy learn from rewards of its own completions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.config.online import PpoConfig
from rewardkit.run.command import Command
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, execute


def _ppo(config: PpoConfig) -> int:
    return execute("alignment ppo", config, partial(_fit, config))


def _fit(
    config: PpoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.online.ppo import train_ppo

    return train_ppo(config, run, interruption, progress)


COMMAND = Command(help="reinforcement learning with a value model (PPO)", config=PpoConfig, run=_ppo)
