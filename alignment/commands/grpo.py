"""`grpo` lets a policy learn from rewards of its own completions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.online_config import GrpoConfig
from rewardkit.commands.command import Command
from rewardkit.execution import execute
from rewardkit.interruption import Interruption
from rewardkit.progress import Progress
from rewardkit.runs import Run


def _grpo(config: GrpoConfig) -> int:
    return execute("alignment grpo", config, partial(_fit, config))


def _fit(
    config: GrpoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.grpo import train_grpo

    return train_grpo(config, run, interruption, progress)


COMMAND = Command(
    help="reinforcement learning from groups of completions (GRPO and its family)", config=GrpoConfig, run=_grpo
)
