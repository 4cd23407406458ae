"""Where preference rows lie: files, folders with a file a split, saved `datasets` folders, data sets on the hub.

What the rows mean is not known here (see `rewardkit.data.preferences`). `SOURCE:SPLIT` names one split of a source that
has several. The `datasets` library is imported only for a folder of its own or a hub id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.data.files import SUFFIXES, OnBad, detect_format, place, read_rows

INSTALL = 'pip install "tiebreak[train]"'
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
SHARD = re.compile(r"-\d+(-of-\d+)?$")  # of a split written as several files, train-00000-of-00002
EVALUATION_SPLITS = ("held_out", "validation", "valid", "val", "dev", "eval", "evaluation", "test")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file, or one table of the `datasets` library; it can be read more than once.

    Attributes:
        name: how errors call it.
        table: rows of `datasets`; None for a file, whose name is its path.
    """

    name: str
    table: Any = None

    def rows(self, on_bad: OnBad | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows with their line or record number, see `rewardkit.data.files.read_rows`."""
        return read_rows(self.name, on_bad=on_bad) if self.table is None else enumerate(self.table, start=1)

    def place(self, number: int) -> str:
        """Where a row stands, for errors."""
        if self.table is not None:
            return f"{self.name}: record {number}"
        return place(self.name, number, detect_format(self.name))

    def sha256(self) -> str:
        """Of a file's bytes; of a table, the library's fingerprint of what it holds."""
        if self.table is not None:
            return f"datasets fingerprint {self.table._fingerprint}"
        with open(self.name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


Splits = Mapping[str, tuple[Part, ...]]
"""By split, what it is read from; a source without splits has one, named by the empty text."""


def open_source(source: str) -> Splits:
    """Finds what a source holds, without reading its rows; `SOURCE:SPLIT` gives that split alone.

    Raises:
        FileNotFoundError: if there is no such file or folder and the name is no hub id either.
        ValueError: if a folder holds no rows, a split is not there, or the hub gives nothing under that id.
        ImportError: if it takes the `datasets` library and that is not installed.
    """
    base, mark, split = source.rpartition(":")
    if not mark or Path(source).exists():
        return _open(source)
    if not Path(base).exists() and not HUB_ID.fullmatch(base):
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    splits = _open(base)
    if split not in splits:
        raise ValueError(f"{base} has no split {split!r}, it has {', '.join(filter(None, splits)) or 'none'}")
    return {split: splits[split]}


def _open(source: str) -> Splits:
    path = Path(source)
    if path.is_dir():
        if any((path / name).exists() for name in ("dataset_dict.json", "state.json")):
            return _tables(source, _load_from_disk(path))
        return _split_files(path)
    if path.exists():
        return {"": (Part(name=source),)}
    suffix = Path(source.removesuffix(".gz")).suffix.lower()
    if suffix in SUFFIXES or not HUB_ID.fullmatch(source):
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    return _tables(source, _load_from_hub(source))


def _split_files(folder: Path) -> Splits:
    splits: dict[str, tuple[Part, ...]] = {}
    for path in sorted(folder.iterdir()):
        name, _, suffixes = path.name.partition(".")
        if name and f".{suffixes.removesuffix('.gz')}".lower() in SUFFIXES and path.is_file():
            split = SHARD.sub("", name)
            splits[split] = (*splits.get(split, ()), Part(name=str(path)))
    if not splits:
        raise ValueError(f"{folder}: the folder holds no {', '.join(SUFFIXES)} file and is no saved datasets folder")
    return splits


def _load_from_disk(folder: Path) -> Any:
    datasets = _datasets(f"{folder} is a saved datasets folder")
    try:
        return datasets.load_from_disk(str(folder))
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not readable as a saved datasets folder ({error})") from error


def _load_from_hub(name: str) -> Any:
    datasets = _datasets(f"{name} is no file or folder here, and to look for it on the hub")
    try:
        return datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: no such file or folder here, and the hub does not give it: {reason}") from error


def _datasets(why: str) -> Any:
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"{why}, which needs the package datasets: {INSTALL}") from error
    return datasets


def _tables(source: str, loaded: Any) -> Splits:
    if isinstance(loaded, dict):
        return {str(name): (Part(name=f"{source}:{name}", table=table),) for name, table in loaded.items()}
    return {"": (Part(name=source, table=loaded),)}


def choose_split(splits: Splits, source: str) -> str:
    """The name of the only split.

    Raises:
        ValueError: if there are several.
    """
    if len(splits) > 1:
        names = list(splits)
        raise ValueError(f"{source} has the splits {', '.join(names)}: name one of them, as {source}:{names[0]}")
    return next(iter(splits))


def training_splits(splits: Splits, source: str) -> tuple[str, str]:
    """The names of the split to train on and of the one to evaluate on, empty where there is none.

    Raises:
        ValueError: if there are several and none of them is called train.
    """
    training = [name for name in splits if name == "train" or name.startswith("train_")]
    if len(splits) == 1:
        return next(iter(splits)), ""
    if len(training) != 1:
        return choose_split(splits, source), ""
    ending = training[0].removeprefix("train")  # train_prefs goes with test_prefs
    return training[0], next((name + ending for name in EVALUATION_SPLITS if name + ending in splits), "")
