"""`online-dpo` learns from pairs of the policy's own completions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.online_config import OnlineDpoConfig
from rewardkit.commands.command import Command
from rewardkit.execution import execute
from rewardkit.interruption import Interruption
from rewardkit.progress import Progress
from rewardkit.runs import Run


def _online_dpo(config: OnlineDpoConfig) -> int:
    return execute("alignment online-dpo", config, partial(_fit, config))


def _fit(
    config: OnlineDpoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.online_dpo import train_online_dpo

    return train_online_dpo(config, run, interruption, progress)


COMMAND = Command(
    help="preferences between the policy's own completions (online DPO)", config=OnlineDpoConfig, run=_online_dpo
)
