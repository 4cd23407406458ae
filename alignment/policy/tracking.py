"""Where else a run goes: metrics to TensorBoard or Weights & Biases, the model to the hub; only when asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignment.config.training import PolicyConfig
from rewardkit.run.directory import Run


class Tracker:
    """Sends metrics to one of accelerate's trackers; to none by itself."""

    def __init__(self, tracker: Any = None) -> None:
        self.tracker = tracker

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Sends the metrics of a step."""
        if self.tracker is not None:
            self.tracker.log(dict(metrics), step=step)

    def finish(self) -> None:
        """Sends what is left."""
        if self.tracker is not None:
            self.tracker.finish()


def open_tracker(config: PolicyConfig, run: Run | None) -> Tracker:
    """The configured tracker of the process that writes.

    Raises:
        ImportError: if its package is missing.
    """
    if run is None or config.track == "none":
        return Tracker()
    if importlib.util.find_spec(config.track) is None:
        raise ImportError(f"track {config.track} needs the package {config.track}: pip install {config.track}")
    from accelerate.state import PartialState
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    PartialState()
    values = {name: value for name, value in asdict(config).items() if isinstance(value, bool | int | float | str)}
    match config.track:
        case "tensorboard":
            tracker: Any = TensorBoardTracker(run_name=run.dir.name, logging_dir=str(run.dir.parent))
        case "wandb":
            tracker = WandBTracker(run_name=run.dir.name)
    tracker.start()
    tracker.store_init_configuration(values)
    return Tracker(tracker)


def push_to_hub(config: PolicyConfig, run_dir: Path) -> None:
    """Uploads a finished model, where the configuration names a repository for it."""
    if not config.push_to_hub:
        return
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(config.push_to_hub, exist_ok=True)
    left_here = [
        "checkpoints/*",
        "reference/*",
        "data/*",
        "data.json",
        "bad_rows.jsonl",
        "samples.jsonl",
        "status.json",
    ]
    api.upload_folder(repo_id=config.push_to_hub, folder_path=str(run_dir), ignore_patterns=left_here)
