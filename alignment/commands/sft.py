"""`sft` teaches a policy to write as demonstrations do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.config.training import SftConfig
from rewardkit.run.command import Command
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, execute


def _sft(config: SftConfig) -> int:
    return execute("alignment sft", config, partial(_fit, config))


def _fit(
    config: SftConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.policy.data import DEMONSTRATIONS, load_data

    loaded = load_data(config, run, DEMONSTRATIONS, progress)
    from alignment.offline.sft import train_sft

    return train_sft(config, run, loaded, interruption, progress)


COMMAND = Command(help="supervised fine-tuning on demonstrations", config=SftConfig, run=_sft)
