"""`grpo` lets a policy learn from rewards of its own completions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.config.online import GrpoConfig
from rewardkit.run.command import Command
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, execute


def _grpo(config: GrpoConfig) -> int:
    return execute("alignment grpo", config, partial(_fit, config))


def _fit(
    config: GrpoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.online.grpo import train_grpo

    return train_grpo(config, run, interruption, progress)


COMMAND = Command(
    help="reinforcement learning from groups of completions (GRPO and its family)", config=GrpoConfig, run=_grpo
)
