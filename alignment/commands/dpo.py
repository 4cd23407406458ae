"""`dpo` aligns a policy with preferences, directly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.config.training import DpoConfig
from rewardkit.run.command import Command
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, execute


def _dpo(config: DpoConfig) -> int:
    return execute("alignment dpo", config, partial(_fit, config))


def _fit(
    config: DpoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.policy.data import load_data
    from rewardkit.data.training_data import PREFERENCES

    loaded = load_data(config, run, PREFERENCES, progress)
    from alignment.offline.dpo import train_dpo

    return train_dpo(config, run, loaded, interruption, progress)


COMMAND = Command(help="align a policy with preferences (DPO and its family)", config=DpoConfig, run=_dpo)
