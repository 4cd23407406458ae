"""`kto` learns from single completions that are desirable or not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.config.training import KtoConfig
from rewardkit.run.command import Command
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, execute


def _kto(config: KtoConfig) -> int:
    return execute("alignment kto", config, partial(_fit, config))


def _fit(
    config: KtoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.policy.data import LABELLED, load_data

    loaded = load_data(config, run, LABELLED, progress)
    from alignment.offline.kto import train_kto

    return train_kto(config, run, loaded, interruption, progress)


COMMAND = Command(help="learn from completions that are desirable or not", config=KtoConfig, run=_kto)
