"""Where a model lies that a command names: a folder, or an id of the Hugging Face hub, fetched into its cache.

Files of a model were written by others, and libraries end in errors of every type at one that is torn, of another form
or holds code. `reading` makes one line of each, with the model's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ADAPTER_FILE = "adapter_config.json"  # of peft
LONGEST_REASON = 400  # characters of what a library says
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


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Within the block, files of a model are read by a library.

    Raises:
        ValueError: naming the model, for whatever the library says of files that cannot be read, or that want code of
            their own to be run.
        OSError, ImportError, MemoryError: as they come from a machine or a hub that lacks something.
    """
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
            raise  # of the machine: no right, no disk, no network; transformers' own have no number
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
            raise
        raise ValueError(f"{path} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:LONGEST_REASON]
    if "trust_remote_code" in str(error):
        return "it wants code of its own to be run, which is never done here"
    if text.startswith("Repo id must be"):
        return "there is no such folder"
    if type(error).__name__ == "UnpicklingError":
        return "its weights hold more than tensors, or are torn"
    return text if isinstance(error, OSError | ValueError) and text else f"{type(error).__name__}: {text}"


def adapter_base(path: str | Path) -> str:
    """What the adapter in a folder was trained on; empty for a whole model.

    Raises:
        ValueError: if the adapter's file cannot be read or names no model.
    """
    file = Path(path) / ADAPTER_FILE
    if not file.exists() or (Path(path) / "config.json").exists():
        return ""
    with reading(file):
        values = json.loads(file.read_text(encoding="utf-8"))
    base = values.get("base_model_name_or_path") if isinstance(values, dict) else None
    if not isinstance(base, str) or not base:
        raise ValueError(f"{file}: base_model_name_or_path is {base!r}, allowed is a folder or a hub id")
    if not Path(base).is_dir() and not HUB_ID.fullmatch(base):
        raise ValueError(f"{file}: base_model_name_or_path is {base!r}, and there is no such folder")
    if (Path(base) / ADAPTER_FILE).exists() and not (Path(base) / "config.json").exists():
        raise ValueError(f"{path}: an adapter on the adapter {base}, allowed is one on a whole model: merge that first")
    return base


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
