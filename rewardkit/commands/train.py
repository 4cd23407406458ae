"""`train` makes a reward model out of preferences."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.config import RewardConfig
from rewardkit.run.command import Command
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption, execute

if TYPE_CHECKING:
    from rewardkit.data.training_data import Loaded


def _train(config: RewardConfig) -> int:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (
        config.mode == "head" or (config.members == "full" and config.ensemble > 1)
    ):
        raise ValueError("several processes train modes full and lora, members in one pass; start this one by itself")
    return execute("rewardkit train", config, partial(_fit, config))


def _fit(
    config: RewardConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    """Loads the data and hands it to what fits the configured kind of model."""
    if config.model not in ("tiny", "small", "tfidf"):
        from rewardkit.training.reward_run import check_model

        check_model(config.model)
    loaded = _load(config, run, progress) if run else None
    if config.model == "tfidf" or config.mode == "head":
        assert run is not None
        assert loaded is not None
        from rewardkit.training.frozen_head import check_options, train_tfidf_head

        check_options(config, loaded.train)
        if config.model == "tfidf":
            return train_tfidf_head(config, run, loaded, progress)
        from rewardkit.training.trunk_head import train_trunk_head

        return train_trunk_head(config, run, loaded, progress)
    if config.members == "full" and config.ensemble > 1:
        from rewardkit.training.full_ensemble import train_members

        assert run is not None
        assert loaded is not None
        return train_members(config, run, loaded, interruption, progress)
    from rewardkit.training.reward_run import train_reward_model

    return train_reward_model(config, run, loaded, interruption, progress)


def _load(config: RewardConfig, run: Run, progress: Progress) -> Loaded:
    from rewardkit.data.training_data import load_training_data

    loaded = load_training_data(config, Path(run.dir))
    progress.say(loaded.description)
    return loaded


COMMAND = Command(help="train a reward model, one member or an ensemble", config=RewardConfig, run=_train)
