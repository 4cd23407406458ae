"""What made a run's numbers: all options, the command that repeats it, its data, seed, versions, and where it lies.

Read from the run directory alone; a run that waits has its plan.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from annotate_app.trainings.options import DATA, TRAININGS, default_of, make_config, place_config
from annotate_app.trainings.runs import ModelRun
from annotate_app.trainings.training_jobs import CONFIG
from rewardkit.reward.metadata import CARD_FILE

AGAIN = "again"
"""Where the command that repeats a run writes: a run directory is never written over."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The configuration of a run.

    Attributes:
        options: of its command, all of them, in the order of its help; empty where they cannot be read.
        changed: by option that differs from the command's default, that default.
        required: options that have none.
        set_by_app: options that the app sets: where to read and to write.
        command: that repeats it, into the folder AGAIN.
        seed: of the command; None where it has none.
        data: what was learned from, by split: rows, prompts where known, SHA-256 of the file.
        data_hash: of all rows, empty where it is not recorded.
        data_card: the snapshot's card, without its front matter.
        versions: of the packages that decide numbers, as the run recorded them.
        folder: the run directory.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    set_by_app: tuple[str, ...] = ()
    command: str = ""
    seed: int | None = None
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data_hash: str = ""
    data_card: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""

    @property
    def yaml(self) -> str:
        """The options as YAML that the command reads with --config; what differs from its default says so."""
        lines = []
        for name, value in self.options.items():
            text = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=10_000).rstrip("\n")
            if name in self.set_by_app:
                text = _remark(text, "set by the app")
            elif name in self.changed:
                text = _remark(text, f"default: {_shown(self.changed[name])}")
            elif name in self.required:
                text = _remark(text, "has no default")
            lines.append(text)
        return "\n".join(lines) + "\n" if lines else ""

    def values(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


def read_run_config(run: ModelRun) -> RunConfig:
    """Reads what made the numbers of a run."""
    options = _options(run)
    training = TRAININGS.get(run.trains)  # type: ignore[call-overload]
    required, changed = [], {}
    for option in fields(training.config) if training else ():
        default = default_of(run.trains, option.name)  # type: ignore[arg-type]
        if default is MISSING:
            required.append(option.name)
        elif option.name in options and options[option.name] != _plain(default):
            changed[option.name] = _plain(default)
    app_options = training.app_options if training else frozenset()
    told = {name: value for name, value in options.items() if name in changed or name in required} | {"out": AGAIN}
    words = [*training.command, *flags(told)] if training else []
    recorded = _json(run.model / "data.json")
    return RunConfig(
        options=options,
        changed=changed,
        required=tuple(required),
        set_by_app=tuple(name for name in (*required, *changed) if name in app_options),
        command=shlex.join(words) if options else "",
        seed=options.get("seed"),
        data=_data(run, recorded),
        data_hash=str(recorded.get("data_hash") or ""),
        data_card=_card_text(run.folder / DATA / "README.md"),
        versions=_versions(run),
        folder=str(run.folder),
    )


def flags(options: Mapping[str, Any]) -> list[str]:
    """Options as words of a command line; a list of rewards is a flag each, a bool takes no value."""
    words = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        elif isinstance(value, list):
            words += [f"--{name}={one}" for one in value]
        elif value is not None:
            words.append(f"--{name}={value}")
    return words


def _options(run: ModelRun) -> dict[str, Any]:
    """Of the file that the command was given, else of the plan."""
    try:
        written = yaml.safe_load((run.folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        written = None
    if isinstance(written, dict):
        return written
    try:
        planned = make_config(run.trains, run.plan["config"])  # type: ignore[arg-type]
        return {name: _plain(value) for name, value in asdict(place_config(planned, run.folder)).items()}
    except (ValueError, TypeError, KeyError):
        return dict(run.plan.get("config") or {})


def _data(run: ModelRun, recorded: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By split of the snapshot, its rows; with what the training recorded of the file that it read."""
    hashes = {}
    for source in recorded.get("sources") or []:
        for path, digest in (source.get("sha256") or {}).items():
            hashes[Path(path).name] = {"num_rows": source.get("num_rows"), "sha256": digest}
    splits = {}
    for path in sorted((run.folder / DATA).glob("*.jsonl"), key=lambda path: path.name != "train.jsonl"):
        about = hashes.get(path.name) or {"num_rows": path.read_bytes().count(b"\n")}
        splits[path.stem] = about
    for split, name in (("train", "train"), ("validation", "held_out")):
        if split in splits and (prompts := (recorded.get(name) or {}).get("num_prompts")) is not None:
            splits[split] = splits[split] | {"num_prompts": prompts}
    return splits


def _versions(run: ModelRun) -> dict[str, str]:
    """Of a reward model by its card; of a policy by the table at the end of its model card."""
    if versions := _json(run.model / CARD_FILE).get("versions"):
        return dict(versions)
    text = _text(run.model / "README.md")
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    packages = ("tiebreak", "torch", "transformers", "scikit-learn")
    return {row[0]: row[1] for row in rows if len(row) == 2 and row[0] in packages}


def _card_text(path: Path) -> str:
    text = _text(path)
    return text.split("\n---\n", 1)[-1].strip() if text.startswith("---\n") else text.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _plain(value: Any) -> Any:
    """As YAML gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _remark(text: str, words: str) -> str:
    """Puts a remark behind the first line of an option."""
    first, mark, rest = text.partition("\n")
    return f"{first}  # {words}{mark}{rest}"


def _shown(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]
