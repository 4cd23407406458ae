"""`online-dpo` learns from pairs of the policy's own completions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.config.online import OnlineDpoConfig
from rewardkit.run.command import Command
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, execute


def _online_dpo(config: OnlineDpoConfig) -> int:
    return execute("alignment online-dpo", config, partial(_fit, config))


def _fit(
    config: OnlineDpoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.online.online_dpo import train_online_dpo

    return train_online_dpo(config, run, interruption, progress)


COMMAND = Command(
    help="preferences between the policy's own completions (online DPO)", config=OnlineDpoConfig, run=_online_dpo
)
