"""The command line of a package: parses and validates first, imports what a command needs after."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import jsonargparse

from rewardkit.run.command import Command, add_config, read_config, with_repeated
from rewardkit.run.threads import sleep_between_products


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
