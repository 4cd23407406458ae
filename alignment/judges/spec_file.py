"""Judges in files: the fields of one, alone or under `spec`, or a list as `judge list --json` of the app prints it."""

from __future__ import annotations

from pathlib import Path

import yaml

from alignment.judges.spec import JudgeSpec

SPEC_SUFFIXES = (".yaml", ".yml", ".json")


def read_judge_file(text: str) -> JudgeSpec:
    """The judge of FILE, or of FILE#NAME where the file holds a list.

    Raises:
        ValueError: if it is no YAML or JSON, there is no such judge, or its fields are not allowed.
        FileNotFoundError: if there is no such file.
    """
    path, _, chosen = text.partition("#")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--judge {path} is no YAML or JSON: {' '.join(str(error).split())}") from error
    if isinstance(values, list):
        judges = {str(one["name"]): one for one in values if isinstance(one, dict) and "name" in one}
        if chosen not in judges:
            raise ValueError(f"--judge {path}#{chosen}: no judge of this name, there are {', '.join(judges) or 'none'}")
        values = judges[chosen]
    if not isinstance(values, dict):
        raise ValueError(f"--judge {path} holds no fields of a judge")
    fields = values.get("spec", values)
    try:
        return JudgeSpec.from_dict(fields if isinstance(fields, dict) else {})
    except ValueError as error:
        raise ValueError(f"--judge {path}: {error}") from error
