"""`dpo` aligns a policy with preferences, directly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.config import DpoConfig
from rewardkit.commands.command import Command
from rewardkit.execution import execute
from rewardkit.interruption import Interruption
from rewardkit.progress import Progress
from rewardkit.runs import Run


def _dpo(config: DpoConfig) -> int:
    return execute("alignment dpo", config, partial(_fit, config))


def _fit(
    config: DpoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.policy_data import load_data
    from rewardkit.training_data import PREFERENCES

    loaded = load_data(config, run, PREFERENCES, progress)
    from alignment.dpo import train_dpo

    return train_dpo(config, run, loaded, interruption, progress)


COMMAND = Command(help="align a policy with preferences (DPO and its family)", config=DpoConfig, run=_dpo)
