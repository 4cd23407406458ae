"""What a model was trained on, as the run directory around it records it: to check for leakage and to fit baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from rewardkit.config import RewardConfig
from rewardkit.data.records import Preference
from rewardkit.data.training_data import DataOptions, load_training_data


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """Training and held-out rows of a run.

    Attributes:
        place: the run directory.
    """

    place: Path
    train: list[Preference]
    held_out: list[Preference]


def find_run(model: str) -> Path | None:
    """The run directory that a model lies in: its folder or the one above; None for a model from elsewhere."""
    folder = Path(model)
    candidates = (folder, folder.parent) if folder.is_dir() else ()
    return next(
        (each for each in candidates if (each / "config.yaml").exists() and (each / "data.json").exists()), None
    )


def read_trained_on(model: str) -> TrainedOn | None:
    """The rows of the model's run, read again from their sources and split as then; None for a model without a run.

    Raises:
        ValueError: if the data has changed since.
        FileNotFoundError: if a source is no longer there.
    """
    run_dir = find_run(model)
    if run_dir is None:
        return None
    values = yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8"))
    options = {name: values[name] for name in vars(DataOptions) if name in values}  # whatever was trained on them
    config = RewardConfig(model=model, out=str(run_dir), **options)
    loaded = load_training_data(config, run_dir)
    return TrainedOn(place=run_dir, train=loaded.train, held_out=loaded.held_out)
