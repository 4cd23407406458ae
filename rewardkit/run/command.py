"""What a command is: a line of help, its configuration, and a function that is only then allowed to import.

The command line of a package: parses and validates first, imports what a command needs after.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

import jsonargparse

from rewardkit.run.training_command import sleep_between_products


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


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """What a package offers.

    Attributes:
        package: its name; its commands are the rooms of `<package>.commands`, a hyphen in a name an underscore there.
        description: one line.
        rooms: names of the commands, in the order of a day's work.
    """

    package: str
    description: str
    rooms: tuple[str, ...]

    def command(self, room: str) -> Command:
        """The command of a room."""
        return importlib.import_module(f"{self.package}.commands.{room.replace('-', '_')}").COMMAND

    def parser(self, rooms: Sequence[str]) -> jsonargparse.ArgumentParser:
        """The parser of the given rooms; raises jsonargparse.ArgumentError for bad input."""
        parser = jsonargparse.ArgumentParser(prog=self.package, description=self.description, exit_on_error=False)
        commands = parser.add_subcommands(required=True, dest="command")
        for room in rooms:
            command = self.command(room)
            sub = jsonargparse.ArgumentParser(description=command.help, exit_on_error=False)
            add_config(sub, command.config)
            commands.add_subcommand(room, sub, help=command.help)
        return parser

    def run(self, argv: Sequence[str] | None = None) -> int:
        """Runs one command; the exit code is 0 done, 1 failed, 2 bad input."""
        sleep_between_products()
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # a hub that cannot be reached is one line, not one a retry
        words = list(sys.argv[1:] if argv is None else argv)
        name = words[0] if words and words[0] in self.rooms else ""
        label = f"{self.package} {name}".strip()
        try:
            spelled = with_underscores(words)
            if name:
                spelled = with_repeated(spelled, self.command(name).config)
            parsed = self.parser([name] if name else self.rooms).parse_args(spelled)
            command = self.command(parsed.command)
            return command.run(read_config(command.config, parsed[parsed.command]))
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
