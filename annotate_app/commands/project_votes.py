"""What commands that print figures of a project have in common: its votes, and how they are asked for."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate_app.store.projects.projects import Project
    from annotate_app.store.store import Store
    from annotate_app.votes import Votes


def project_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the project, and --json."""
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON document")


@contextmanager
def opened_votes(options: argparse.Namespace) -> Iterator[tuple[Store, Project, Votes]]:
    """The store, the project that the options name, and its votes; the store is closed behind the block."""
    from annotate_app.store.store import Store

    if getattr(options, "bootstrap", 0) < 0:
        raise ValueError(f"--bootstrap is {options.bootstrap}, allowed is 0 or more")
    store = Store.open(options.db)
    try:
        project = store.projects.get(ACTOR, options.project)
        say("reading votes")
        yield store, project, store.judgments.votes(ACTOR, project.id)
    finally:
        store.close()


def say(what: str) -> None:
    """One passing line on a terminal; the next one takes its place."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what} ..." if what else "\r\033[K", end="", file=sys.stderr, flush=True)
