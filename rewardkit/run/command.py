"""What a command is: a line of help, its configuration, and a function that is only then allowed to import."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import jsonargparse


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand, for example `train`; its room in `<package>.commands` names it COMMAND.

    Attributes:
        help: one line.
        config: a frozen dataclass of `<package>.config`; every field becomes a flag and a key of a YAML file.
        run: takes the configuration, returns the exit code (0 done, 1 failed) or raises: ValueError, FileNotFoundError
            and PermissionError end in exit code 2 and one line, other OSErrors, ImportError and FloatingPointError in
            exit code 1 and one line.
    """

    help: str
    config: type
    run: Callable[[Any], int]


def add_config(parser: jsonargparse.ArgumentParser, config: type) -> None:
    """Adds one flag per field, documented by the class's docstring; a bool takes no value (`--x`, `--no_x`).

    A list of texts takes the words that follow no flag, or where its field says `repeated`, a flag as often as given.
    """
    parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    types, meanings = typing.get_type_hints(config), field_meanings(config)
    for field in fields(config):
        if types[field.name] == list[str] and not field.metadata.get("repeated"):
            parser.add_argument(field.name, nargs="+", type=str, help=meanings[field.name])
            continue
        options: dict[str, Any] = {"help": meanings[field.name]}
        if field.default is not MISSING:
            options["default"] = field.default
        elif field.default_factory is not MISSING:
            options["default"] = field.default_factory()
        else:
            options["required"] = True
        if types[field.name] is bool:
            options["action"] = jsonargparse.ActionYesNo(no_prefix="no_")
        else:
            options["type"] = types[field.name]
        parser.add_argument(f"--{field.name}", **options)


def field_meanings(config: type) -> dict[str, str]:
    """What the Attributes sections of a class and of those it extends say of each field."""
    sections = [inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2] for each in config.__mro__[::-1]]
    meanings: dict[str, str] = {}
    name = ""
    for line in "\n".join(sections).splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            name, _, text = line.strip().partition(": ")
            meanings[name] = text
        elif line.strip():
            meanings[name] += " " + line.strip()
    return meanings


def read_config(config: type, options: jsonargparse.Namespace) -> Any:
    """The configuration that the parsed options spell, validated by its class."""
    return config(**{field.name: options[field.name] for field in fields(config)})


def with_repeated(words: Sequence[str], config: type) -> list[str]:
    """The words with each flag that may be repeated spelled as one that adds to its list."""
    flags = {f"--{field.name}" for field in fields(config) if field.metadata.get("repeated")}
    added = []
    for word in words:
        flag, mark, value = word.partition("=")
        added.append(f"{flag}+{mark}{value}" if flag in flags else word)
    return added
