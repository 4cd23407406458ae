"""`annotate-app`: parses and validates first, imports what a command needs after."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import jsonargparse

# Where each first word of the command line lives; only that room is imported.
ROOMS = {
    "serve": "serve",
    "worker": "serve",
    "project": "project",
    "import": "imports",
    "judgments": "imports",
    "priorities": "models.priorities",
    "comparisons": "comparisons",
    "agreement": "figures",
    "aggregate": "figures",
    "leaderboard": "figures",
    "winrate": "win_rates",
    "power": "power",
    "quality": "figures",
    "export": "exports",
    "train": "models.train",
    "runs": "models.runs",
    "traits": "models.traits",
    "round": "models.rounds",
    "loop": "models.loop",
    "judge": "models.judges",
    "write": "models.write",
    "steps": "models.steps",
    "user": "team.people",
    "invites": "team.people",
    "pay": "team.pay",
    "crowd": "team.crowd",
    "token": "team.tokens",
    "groups": "team.groups",
    "backup": "storage",
    "restore": "storage",
    "check": "storage",
}


def build_parser(rooms: list[str]) -> jsonargparse.ArgumentParser:
    """Builds the parser of the given modules of `annotate_app.commands`."""
    parser = jsonargparse.ArgumentParser(
        prog="annotate-app", description="Collect human preferences, settle disagreements, export training data."
    )
    top = parser.add_subcommands(required=True, dest="command")
    groups: dict[str, Any] = {}
    for room in rooms:
        for command in importlib.import_module(f"annotate_app.commands.{room}").COMMANDS:
            sub = jsonargparse.ArgumentParser(description=command.help)
            sub.add_argument("--config", action="config", help="YAML file with any of the options below")
            sub.add_argument(
                "--db", help="path or URL of the database (default: TIEBREAK_DB, else sqlite:///data/tiebreak.db)"
            )
            command.arguments(sub)
            first, _, second = command.name.partition(" ")
            if not second:
                top.add_subcommand(first, sub, help=command.help)
                continue
            if first not in groups:
                group = jsonargparse.ArgumentParser(description=f"{first} commands")
                # jsonargparse asks for level order: the group joins its parent before it gets commands of its own.
                top.add_subcommand(first, group, help=f"{first} commands (see `annotate-app {first} --help`)")
                groups[first] = group.add_subcommands(required=True, dest="subcommand")
            groups[first].add_subcommand(second, sub, help=command.help)
    return parser


def find_command(words: list[str]):  # noqa: ANN201
    """The Command that the first words name."""
    room = importlib.import_module(f"annotate_app.commands.{ROOMS[words[0]]}")
    return next(command for command in room.COMMANDS if command.name in (words[0], " ".join(words[:2])))


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the exit code is 0 done, 1 failed, 2 bad input."""
    # Before numpy loads: our products are many and small, which threads of their own slow down up to three times.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if argv is None else argv)
    room_named = words and words[0] in ROOMS
    rooms = [ROOMS[words[0]]] if room_named else sorted(set(ROOMS.values()))
    parsed = build_parser(rooms).parse_args(words)
    options = parsed[parsed.command]
    name = [parsed.command]
    if options.get("subcommand"):
        name.append(options.subcommand)
        options = options[options.subcommand]
    try:
        return find_command(name).run(options)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        print(f"annotate-app {' '.join(name)}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except Exception as error:
        reason = _outside_reason(error)
        if not reason:
            raise
        print(f"annotate-app {' '.join(name)}: {reason}", file=sys.stderr)
        return 1


def _outside_reason(error: Exception) -> str:
    """One line for what is no mistake of ours: a full disk, a database that is gone or damaged; empty for others."""
    if isinstance(error, OSError):
        return str(error)
    if "sqlalchemy" not in sys.modules:
        return ""
    from annotate_app.store.base.database import failure

    reason = failure(error)
    return f"the database failed: {reason}; annotate-app check looks for damage" if reason else ""


if __name__ == "__main__":
    sys.exit(main())
