"""`merge` averages the weights of reward models that began alike."""

from __future__ import annotations

from pathlib import Path

from rewardkit.config import MergeConfig


def merge_models(config: MergeConfig) -> int:
    """Runs `rewardkit merge`; returns the exit code."""
    out = Path(config.out)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"--out {out} is there already, choose another directory")
    for model in config.models:
        if not Path(model).is_dir():
            raise FileNotFoundError(f"{model}: there is no such folder")
    from rewardkit.training.merging import merge

    merge(config.models, out)
    print(f"{out}: average of {len(config.models)} models, one member, not calibrated")
    return 0
