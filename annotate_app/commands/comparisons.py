"""`comparisons` lists what a filter chooses, and tags, excludes or assigns all of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import opened_project, project_arguments

if TYPE_CHECKING:
    from annotate_app.store.projects.projects import Project
    from annotate_app.store.store import Store
    from annotate_app.store.workbench.comparison_filter import ComparisonFilter

VIEW_HELP = "which comparisons, as the address of the page says it: state=open&person=anna&agreement=split"


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--view", default="", help=VIEW_HELP)
    parser.add_argument("--page", type=int, default=1, help="number of the page")
    parser.add_argument("--size", type=int, default=50, help="comparisons on a page")


def _list(options: argparse.Namespace) -> int:
    if options.page < 1 or not 1 <= options.size <= 1000:
        raise ValueError(f"--page is {options.page} and --size {options.size}, allowed are 1 or more, and 1 to 1000")
    with opened_project(options) as (store, project):
        from annotate_app.store.workbench.comparison_filter import read_view

        chosen = read_view(options.view)
        found = store.browsing.page(ACTOR, project.id, chosen, number=options.page, size=options.size)
    rows = [
        {
            "id": item.comparison.id,
            "source_a": item.comparison.source_a,
            "source_b": item.comparison.source_b,
            "num_judged": item.num_judged,
            "num_wanted": item.num_wanted,
            "num_votes": item.num_votes,
            "agreement": item.agreement,
            "gold": item.gold.choice if item.gold else None,
            "decided": item.decided,
            "excluded": item.excluded,
            "priority": item.priority,
            "tags": list(item.tags),
            "assigned": list(item.assigned),
        }
        for item in found.page
    ]
    if options.json:
        print_json({"total": found.total, "page": options.page, "comparisons": rows})
        return 0
    for row in rows:
        agreement = "" if row["agreement"] is None else f"  agreement {row['agreement']:.0%}"
        tags = f"  [{', '.join(row['tags'])}]" if row["tags"] else ""
        print(f"{row['id']}  {row['num_judged']} of {row['num_wanted']}{agreement}{tags}")
    print(f"{found.total} comparisons")
    return 0


def _view_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--view", default="", help=VIEW_HELP)
    parser.add_argument("--all", action="store_true", help="take all comparisons of the project, without a view")


def _tag_arguments(parser: argparse.ArgumentParser) -> None:
    _view_arguments(parser)
    parser.add_argument("tag", help="word of 64 characters at most")


def _assign_arguments(parser: argparse.ArgumentParser) -> None:
    _view_arguments(parser)
    parser.add_argument("person", nargs="+", help="name of a member")


def _change(options: argparse.Namespace, change: Callable[[Store, Project, ComparisonFilter], dict[str, int]]) -> int:
    """Changes a view and says what came of it."""
    if bool(options.view) == options.all:
        raise ValueError("either --view says which comparisons, or --all takes them all")
    with opened_project(options) as (store, project):
        from annotate_app.store.workbench.comparison_filter import read_view

        counts = change(store, project, read_view(options.view))
    if options.json:
        print_json(counts)
    else:
        print(", ".join(f"{name.removeprefix('num_').replace('_', ' ')} {count}" for name, count in counts.items()))
    return 0


def _tag(options: argparse.Namespace) -> int:
    return _change(options, lambda s, p, view: {"num_tagged": s.bulk.tag(ACTOR, p.id, view, options.tag)})


def _untag(options: argparse.Namespace) -> int:
    return _change(options, lambda s, p, view: {"num_untagged": s.bulk.untag(ACTOR, p.id, view, options.tag)})


def _exclude(options: argparse.Namespace) -> int:
    return _change(options, lambda s, p, view: {"num_excluded": s.bulk.exclude(ACTOR, p.id, view)})


def _include(options: argparse.Namespace) -> int:
    def include(store: Store, project: Project, view: ComparisonFilter) -> dict[str, int]:
        chosen = replace(view, excluded="only")
        return {"num_included": store.bulk.exclude(ACTOR, project.id, chosen, False)}

    return _change(options, include)


def _assign(options: argparse.Namespace) -> int:
    def assign(store: Store, project: Project, view: ComparisonFilter) -> dict[str, int]:
        members = {member.name: member.user_id for member in store.projects.members(ACTOR, project.id)}
        if strange := [name for name in options.person if name not in members]:
            raise ValueError(f"{strange[0]!r} is not a member of {project.name}")
        users = [members[name] for name in options.person]
        done = store.assignments.assign(ACTOR, project.id, view, users)
        return {"num_reserved": done.num_reserved, "num_full": done.num_full, "num_had": done.num_had}

    return _change(options, assign)


def _free(options: argparse.Namespace) -> int:
    return _change(options, lambda s, p, view: {"num_freed": s.assignments.free(ACTOR, p.id, view)})


COMMANDS = (
    Command(name="comparisons list", help="list what a filter chooses", arguments=_list_arguments, run=_list),
    Command(name="comparisons tag", help="put a tag on all of a view", arguments=_tag_arguments, run=_tag),
    Command(name="comparisons untag", help="take a tag off all of a view", arguments=_tag_arguments, run=_untag),
    Command(
        name="comparisons exclude",
        help="keep all of a view, but hand it out and count it no more",
        arguments=_view_arguments,
        run=_exclude,
    ),
    Command(name="comparisons include", help="take back what excluded a view", arguments=_view_arguments, run=_include),
    Command(
        name="comparisons assign",
        help="keep a judgment of each comparison of a view for each person",
        arguments=_assign_arguments,
        run=_assign,
    ),
    Command(name="comparisons free", help="take back assignments of a view", arguments=_view_arguments, run=_free),
)
