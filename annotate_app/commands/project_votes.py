"""Shared by commands that print a project's figures: its votes, their options, and number formatting."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR
from rewardkit.run.progress import show_briefly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotate_app.agreement.bootstrap import Estimate
    from annotate_app.agreement.proportions import Share
    from annotate_app.store.projects.projects import Project
    from annotate_app.store.store import Store
    from annotate_app.votes import Votes


def project_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the project, and --json."""
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON document")


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the project, the run, and --json."""
    project_arguments(parser)
    parser.add_argument("run", type=int, help="number of the run, as `runs list` shows it")


@contextmanager
def opened_project(options: argparse.Namespace) -> Iterator[tuple[Store, Project]]:
    """The store and the project that the options name; the store is closed behind the block."""
    from annotate_app.store.store import Store

    store = Store.open(options.db)
    try:
        yield store, store.projects.get(ACTOR, options.project)
    finally:
        store.close()


@contextmanager
def opened_votes(options: argparse.Namespace) -> Iterator[tuple[Store, Project, Votes]]:
    """The store, the project that the options name, and its votes; the store is closed behind the block."""
    if getattr(options, "bootstrap", 0) < 0:
        raise ValueError(f"--bootstrap is {options.bootstrap}, allowed is 0 or more")
    with opened_project(options) as (store, project):
        show_briefly("reading votes")
        yield store, project, store.judgments.votes(ACTOR, project.id)


def figure(value: float, *, percent: bool = False) -> str:
    """Formats a value with three decimals or as a percentage; a dash if undefined."""
    if value != value:
        return "-"
    return f"{value:.1%}" if percent else f"{value:.3f}"


def interval(estimate: Estimate | Share, *, percent: bool = False) -> str:
    """Formats `[low, high]`; empty if undefined."""
    if estimate.low != estimate.low or estimate.high != estimate.high:
        return ""
    return f"[{figure(estimate.low, percent=percent)}, {figure(estimate.high, percent=percent)}]"
