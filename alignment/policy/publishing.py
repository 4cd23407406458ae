"""README.md of a trained policy: how it was made, of what, and what held-out rows say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import yaml

from alignment.config.training import PolicyConfig
from rewardkit.reward.metadata import versions
from rewardkit.run.directory import write_text

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
    made = "random weights" if config.model in ("tiny", "small") else f"`{config.model}`"
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
