"""The prompts that a model in a folder learned from: what it is measured on must not be among them.

They are read from what its training left: the rows beside it (a training of the app), the rows that a training on a
project exported into its run, the files that its configuration names where they are still there, and the same of the
models that it began from. A model of unknown history has none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.prompts import read_prompts
from rewardkit.data.records import Message, content_id
from rewardkit.data.sources import open_source, training_splits

BESIDE = ("../data/train.jsonl", "../data/validation.jsonl", "data/preferences.jsonl")
CONFIGS = ("config.yaml", "../train.yaml")


def learned_prompts(model: Path) -> set[str]:
    """The prompts that a model, and those that it began from, learned from or were stopped by, as `prompt_hash`."""
    prompts: set[str] = set()
    seen: set[Path] = set()
    while model.is_dir() and model.resolve() not in seen:
        seen.add(model.resolve())
        config = _config(model)
        for source in _sources(model, config):
            prompts |= {prompt_hash(prompt) for prompt in read_prompts(source, on_bad_row="skip").rows}
        began_from = str(config.get("model") or "")
        if not os.path.isabs(began_from) and not Path(began_from, "config.yaml").is_file():
            break
        model = Path(began_from)
    return prompts


def prompt_hash(prompt: Sequence[Message]) -> str:
    """What stands for a prompt: 16 hexadecimal digits; letters' case and white space do not count."""
    return content_id(normal_prompt(tuple(prompt)))


def _sources(model: Path, config: Mapping[str, Any]) -> Iterator[str]:
    for path in (Path(os.path.normpath(model / name)) for name in BESIDE):
        if path.is_file() and path.stat().st_size:
            yield str(path)
    for source in (str(config[name]) for name in ("data", "eval_data") if config.get(name)):
        if Path(source.partition(":")[0]).exists():
            trained, evaluated = training_splits(open_source(source), source)
            if not trained or ":" in source:  # no splits, or one that is named
                yield source
            else:
                yield from (f"{source}:{name}" for name in (trained, evaluated) if name)


def _config(model: Path) -> Mapping[str, Any]:
    for name in CONFIGS:
        try:
            values = yaml.safe_load((model / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(values, dict):
            return values
    return {}
