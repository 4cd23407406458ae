"""`kto` learns from single completions that are desirable or not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from alignment.config import KtoConfig
from rewardkit.commands.command import Command
from rewardkit.execution import execute
from rewardkit.interruption import Interruption
from rewardkit.progress import Progress
from rewardkit.runs import Run


def _kto(config: KtoConfig) -> int:
    return execute("alignment kto", config, partial(_fit, config))


def _fit(
    config: KtoConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    from alignment.policy_data import LABELLED, load_data

    loaded = load_data(config, run, LABELLED, progress)
    from alignment.kto import train_kto

    return train_kto(config, run, loaded, interruption, progress)


COMMAND = Command(help="learn from completions that are desirable or not", config=KtoConfig, run=_kto)
