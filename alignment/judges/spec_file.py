"""Judges as a command names them: an address, the folder of a model, or a file.

A file holds the fields of one, alone or under `spec`, or a list as `judge list --json` of the app prints it.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from alignment.judges.spec import WRITES, JudgeSpec

SPEC_SUFFIXES = (".yaml", ".yml", ".json")


def named_writer(name: str, model: str, key_variable: str, *, writes: str) -> JudgeSpec:
    """The judge that `--judge`, `--judge-model` and `--judge-key-variable` name, one that answers in words.

    Args:
        name: the address of an endpoint, a file of a judge's fields, or the folder of a model.
        writes: what is asked of it, for the error.

    Raises:
        ValueError: if it is none of these, or one that cannot write.
        FileNotFoundError: if there is no such file.
    """
    if name.startswith(("http://", "https://")):
        spec = JudgeSpec(kind="endpoint", target=name, model=model, key_variable=key_variable)
    elif model or key_variable:
        raise ValueError(f"judge_model and judge_key_variable go with the address of an endpoint, judge is {name}")
    elif name.partition("#")[0].endswith(SPEC_SUFFIXES):
        spec = read_judge_file(name)
    else:
        spec = JudgeSpec(kind="local", target=name)
    if spec.kind not in WRITES:
        raise ValueError(f"a judge of the kind {spec.kind} writes no {writes}, allowed are {', '.join(WRITES)}")
    return spec


def read_judge_file(text: str, *, option: str = "--judge") -> JudgeSpec:
    """The judge of FILE, or of FILE#NAME where the file holds a list.

    Args:
        option: that names it, for errors.

    Raises:
        ValueError: if it is no YAML or JSON, there is no such judge, or its fields are not allowed.
        FileNotFoundError: if there is no such file.
    """
    path, _, chosen = text.partition("#")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{option} {path} is no YAML or JSON: {' '.join(str(error).split())}") from error
    if isinstance(values, list):
        judges = {str(one["name"]): one for one in values if isinstance(one, dict) and "name" in one}
        if chosen not in judges:
            raise ValueError(
                f"{option} {path}#{chosen}: no judge of this name, there are {', '.join(judges) or 'none'}"
            )
        values = judges[chosen]
    if not isinstance(values, dict):
        raise ValueError(f"{option} {path} holds no fields of a judge")
    fields = values.get("spec", values)
    try:
        return JudgeSpec.from_dict(fields if isinstance(fields, dict) else {})
    except ValueError as error:
        raise ValueError(f"{option} {path}: {error}") from error
