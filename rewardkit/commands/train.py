"""`train` makes a reward model out of preferences."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.allocator import keep_large_buffers
from rewardkit.commands.command import Command
from rewardkit.config import RewardConfig
from rewardkit.interruption import Interruption
from rewardkit.progress import Progress
from rewardkit.runs import Run, read_status

if TYPE_CHECKING:
    from rewardkit.training_data import Loaded


def _train(config: RewardConfig) -> int:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (
        config.mode == "head" or (config.members == "full" and config.ensemble > 1)
    ):
        raise ValueError("several processes train modes full and lora, members in one pass; start this one by itself")
    if config.resume and read_status(config.out).get("state") == "done":
        raise ValueError(f"--resume {config.out}: this run is done")
    keep_large_buffers()
    progress = Progress()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("rewardkit").setLevel(logging.INFO)
    run = Run(config.out, config, resume=config.resume) if os.environ.get("RANK", "0") == "0" else None
    with Interruption().listening() as interruption:
        try:
            results = _fit(config, run, interruption, progress)
        except KeyboardInterrupt:
            interruption.asked, results = True, None
        except BaseException as error:
            if run:
                run.status("failed", message=f"{type(error).__name__}: {error}")
            raise
        finally:
            progress.close()
    if not run:
        return 1 if interruption.asked else 0
    if results is None:
        run.status("cancelled")
        print(f"rewardkit train: cancelled; continue with --resume --out {run.dir}", file=sys.stderr)
        return 1
    run.status("done", results=dict(results))
    print(run.dir)
    return 0


def _fit(
    config: RewardConfig, run: Run | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    """Loads the data and hands it to what fits the configured kind of model."""
    if config.model not in ("tiny", "small", "tfidf"):
        from rewardkit.reward_run import check_model

        check_model(config.model)
    loaded = _load(config, run, progress) if run else None
    if config.model == "tfidf" or config.mode == "head":
        assert run is not None
        assert loaded is not None
        from rewardkit.head import train_head

        return train_head(config, run, loaded, progress)
    if config.members == "full" and config.ensemble > 1:
        from rewardkit.members import train_members

        assert run is not None
        assert loaded is not None
        return train_members(config, run, loaded, interruption, progress)
    from rewardkit.reward_run import train_reward_model

    return train_reward_model(config, run, loaded, interruption, progress)


def _load(config: RewardConfig, run: Run, progress: Progress) -> Loaded:
    from rewardkit.training_data import load_training_data

    loaded = load_training_data(config, Path(run.dir))
    progress.say(loaded.description)
    return loaded


COMMAND = Command(help="train a reward model, one member or an ensemble", config=RewardConfig, run=_train)
