"""`rewardkit`: parses and validates first, imports what a command needs after."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence

import jsonargparse

from rewardkit.commands.command import add_config, read_config
from rewardkit.threads import sleep_between_products

# The rooms of rewardkit.commands, in the order of a day's work.
ROOMS = ("train", "evaluate", "score", "rank", "merge")


def build_parser(rooms: Sequence[str]) -> jsonargparse.ArgumentParser:
    """The parser of the given rooms; raises jsonargparse.ArgumentError for bad input."""
    parser = jsonargparse.ArgumentParser(
        prog="rewardkit",
        description="Reward models that know how sure they are.",
        exit_on_error=False,
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for room in rooms:
        command = importlib.import_module(f"rewardkit.commands.{room}").COMMAND
        sub = jsonargparse.ArgumentParser(description=command.help, exit_on_error=False)
        add_config(sub, command.config)
        commands.add_subcommand(room, sub, help=command.help)
    return parser


def present_rooms() -> list[str]:
    """The rooms that are there."""
    return [room for room in ROOMS if importlib.util.find_spec(f"rewardkit.commands.{room}")]


def with_underscores(words: Sequence[str]) -> list[str]:
    """The words with `--on-bad-row` spelled `--on_bad_row`, as the configuration's field is; values stay."""
    return [re.sub(r"^--[a-z0-9-]+", lambda flag: "--" + flag[0][2:].replace("-", "_"), word) for word in words]


def one_line(error: BaseException) -> str:
    """The error's message without line breaks; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0 done, 1 failed, 2 bad input."""
    sleep_between_products()
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words and words[0] in ROOMS else ""
    label = f"rewardkit {name}".strip()
    try:
        parsed = build_parser([name] if name else present_rooms()).parse_args(with_underscores(words))
        command = importlib.import_module(f"rewardkit.commands.{parsed.command}").COMMAND
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


if __name__ == "__main__":
    sys.exit(main())
