"""`backup`, `restore` and `check`: keeping what is stored."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from annotate_app.commands.command import ACTOR, Command, print_json


def _backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out", help="file to write, for example tiebreak-2026-11-21.zip; holds everything, keep it safe"
    )


def _backup(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        print(store.backup(options.out))
    return 0


def _restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a backup")
    parser.add_argument("--force", action="store_true", help="replace all that the database holds")


def _restore(options: argparse.Namespace) -> int:
    from annotate_app.store.base.connection_url import shown_url
    from annotate_app.store.store import Store

    if not Path(options.file).is_file():
        raise FileNotFoundError(f"there is no file {options.file}")
    with Store.restore(options.file, options.db, force=options.force) as store:
        problems = store.check()
        for problem in problems:
            print(problem, file=sys.stderr)
        admins = [user.name for user in store.people.list(ACTOR) if user.role == "admin" and user.active]
        print("sessions, invitations and jobs under way have ended: everybody signs in again", file=sys.stderr)
        print(f"admins from now on: {', '.join(map(repr, admins)) or 'none'}", file=sys.stderr)
        print(shown_url(store.database.engine.url))
        return 1 if problems else 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print problems and counts as JSON")


def _check(options: argparse.Namespace) -> int:
    from annotate_app.store.integrity import count_rows
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        problems, rows = store.check(), count_rows(store.database)
        if options.json:
            print_json({"problems": problems, "rows": rows})
        else:
            for problem in problems:
                print(problem)
            counts = ", ".join(f"{name} {count}" for name, count in rows.items() if count)
            print(f"{len(problems)} problems; rows: {counts}")
        return 1 if problems else 0


COMMANDS = (
    Command(name="backup", help="write everything to one file", arguments=_backup_arguments, run=_backup),
    Command(name="restore", help="fill a database from a backup", arguments=_restore_arguments, run=_restore),
    Command(name="check", help="look for damage", arguments=_check_arguments, run=_check),
)
