"""Where a model lies that a command names: a folder, or an id of the Hugging Face hub, fetched into its cache."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ADAPTER_FILE = "adapter_config.json"  # of peft
# Weights that hold no code, and what stands beside them.
SAFE_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


def model_folder(model: str | Path) -> Path:
    """The folder of a model; of a hub id the one that it was fetched into.

    Raises:
        FileNotFoundError: if there is no such folder, and no such model on the hub or none can be fetched.
    """
    path = Path(model)
    if path.is_dir():
        return path
    if path.exists() or not HUB_ID.fullmatch(str(model)):
        raise FileNotFoundError(f"{model}: there is no such folder")
    return _fetched(str(model))


@cache
def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=[*SAFE_FILES]))
        if not any(folder.rglob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*SAFE_FILES, "*.bin"]))  # read as weights alone
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"{name}: there is no such folder, and the hub gives no such model: {reason}"
        ) from error
    return folder
