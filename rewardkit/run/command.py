"""The command line of a package: a table of commands, each with a line of help, its configuration and what runs it.

It parses and validates first, and imports what a command needs after.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import docstring_parser.google
import jsonargparse

from rewardkit.run.training_command import sleep_between_products


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand, for example `train`.

    Attributes:
        name: as it is typed.
        help: one line.
        config: a frozen dataclass; every field becomes a flag and a key of a YAML file.
        run: takes the configuration, returns the exit code (0 done, 1 failed) or raises: ValueError, FileNotFoundError
            and PermissionError end in exit code 2 and one line, other OSErrors, ImportError and FloatingPointError in
            exit code 1 and one line.
    """

    name: str
    help: str
    config: type
    run: Callable[[Any], int]


def imported(dotted_name: str) -> Any:
    """The attribute of a module that a dotted name such as `rewardkit.commands.score.score` stands for."""
    module, _, attribute = dotted_name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def call(dotted_name: str) -> Callable[[Any], int]:
    """Returns a `Command.run` that imports the named function when it runs."""
    return lambda config: imported(dotted_name)(config)


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
    """The descriptions of fields in the Attributes sections of a class and of those it extends."""
    docstrings = [docstring_parser.google.parse(base.__doc__ or "") for base in config.__mro__[::-1]]
    attributes = [param for docstring in docstrings for param in docstring.params if param.args[0] == "attribute"]
    return {attribute.arg_name: " ".join((attribute.description or "").split()) for attribute in attributes}


def read_config(config: type, options: jsonargparse.Namespace) -> Any:
    """Builds the configuration from the parsed options, validated by its class."""
    return config(**{field.name: options[field.name] for field in fields(config)})


def with_repeated(words: Sequence[str], config: type) -> list[str]:
    """The words with each flag that may be repeated spelled as one that adds to its list."""
    flags = {f"--{field.name}" for field in fields(config) if field.metadata.get("repeated")}
    added = []
    for word in words:
        flag, mark, value = word.partition("=")
        added.append(f"{flag}+{mark}{value}" if flag in flags else word)
    return added


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """The commands of a package.

    Attributes:
        package: its name.
        description: one line.
        commands: in the order of a day's work.
    """

    package: str
    description: str
    commands: tuple[Command, ...]

    def parser(self, name: str = "") -> jsonargparse.ArgumentParser:
        """The parser of one command, or without a name a parser that only lists them.

        Parsing raises jsonargparse.ArgumentError for bad input.
        """
        parser = jsonargparse.ArgumentParser(prog=self.package, description=self.description, exit_on_error=False)
        subcommands = parser.add_subcommands(required=True, dest="command")
        for command in self.commands:
            if name not in ("", command.name):
                continue
            subparser = jsonargparse.ArgumentParser(description=command.help, exit_on_error=False)
            if name:
                add_config(subparser, command.config)
            subcommands.add_subcommand(command.name, subparser, help=command.help)
        return parser

    def run(self, argv: Sequence[str] | None = None) -> int:
        """Runs one command; the exit code is 0 done, 1 failed, 2 bad input."""
        sleep_between_products()
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # a hub that cannot be reached is one line, not one a retry
        words = list(sys.argv[1:] if argv is None else argv)
        command = next((command for command in self.commands if words and command.name == words[0]), None)
        label = f"{self.package} {command.name}" if command else self.package
        try:
            if command is None:
                self.parser().parse_args(words)
                raise ValueError("a command comes first, then its options")
            parsed = self.parser(command.name).parse_args(with_repeated(with_underscores(words), command.config))
            return command.run(read_config(command.config, parsed[command.name]))
        except (ValueError, FileNotFoundError, PermissionError, jsonargparse.ArgumentError) as error:
            print(f"{label}: {one_line(error)}", file=sys.stderr)
            return 2
        except (OSError, ImportError, FloatingPointError) as error:
            print(f"{label}: {one_line(error)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{label}: interrupted", file=sys.stderr)
            return 1


def with_underscores(words: Sequence[str]) -> list[str]:
    """The words with `--on-bad-row` spelled `--on_bad_row`, as the configuration's field is; values stay."""
    return [re.sub(r"^--[a-z0-9-]+", lambda flag: "--" + flag[0][2:].replace("-", "_"), word) for word in words]


def one_line(error: BaseException) -> str:
    """The error's message without line breaks; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
