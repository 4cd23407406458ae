"""What a training tells the outside: a model card, metrics to a tracker, the model to the hub.

README.md in the run directory says how the policy was made, of what, and what held-out rows say. Metrics go to
TensorBoard or Weights & Biases and the model to the hub only when the configuration asks for it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import yaml

from alignment.config.training import PolicyConfig
from rewardkit.config import PRESET_NAMES
from rewardkit.reward.metadata import versions
from rewardkit.run.directory import Run, write_text

PLACES = ("out", "resume", "db", "push_to_hub", "track")  # say nothing of the model


def write_model_card(
    run_dir: Path, config: PolicyConfig, method: str, *, data: str, results: Mapping[str, Any]
) -> None:
    """Writes the card; figures are those of the run's results."""
    defaults = {field.name: field.default for field in fields(config) if field.default is not MISSING}
    chosen = {
        name: value
        for name, value in asdict(config).items()
        if name not in PLACES and (name not in defaults or value != defaults[name])
    }
    header = yaml.safe_dump(
        {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["tiebreak", type(config).__name__]}
    )
    evaluation = {name: value for name, value in results.items() if name.startswith("eval/")}
    others = {name: value for name, value in results.items() if name not in evaluation}
    made = "random weights" if config.model in PRESET_NAMES else f"`{config.model}`"
    lines = [
        f"---\n{header}---",
        f"# {run_dir.name}",
        f"Made from {made} by {method}.",
        f"## Data\n\n{data}",
        "## Settings\n\nAll of them are in config.yaml; these differ from the defaults.\n\n" + _table(chosen),
        "## Held-out rows\n\n" + _table(evaluation),
        "## Run\n\n" + _table(others | dict(versions())),
    ]
    write_text(run_dir / "README.md", "\n\n".join(lines) + "\n")


def _table(values: Mapping[str, Any]) -> str:
    shown = ((name, f"{value:.6g}" if isinstance(value, float) else value) for name, value in values.items())
    return "\n".join(["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in shown)])


class Tracker:
    """Sends metrics to one of accelerate's trackers; without one it sends nothing."""

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
