"""`project create|list|show|change`: projects with their rubric and design."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.protocol.collection_design import POLICIES, RULES, Design

if TYPE_CHECKING:
    from annotate_app.store.projects.projects import Project
    from annotate_app.store.store import Store

HELP = {
    "overlap": "judgments wanted of each comparison",
    "groups": "judgments wanted by annotator group instead, as GROUP=COUNT",
    "policy": "order in which comparisons are handed out",
    "seed": "of the random order, the shuffled sides and where checks fall",
    "lease_s": "seconds a pair stays with a silent annotator",
    "idle_s": "seconds without a key after which time stops counting",
    "gold_rate": "share of pairs that are gold items, 0 to 1",
    "gold_feedback": "tell annotators the gold answer: true or false",
    "repeat_rate": "share of pairs that repeat an own earlier one with sides swapped, 0 to 1",
    "qualification_items": "gold items to judge before real work",
    "qualification_pass": "share of them to get right, 0 to 1",
    "pause_below": "pause annotators whose gold accuracy falls under this, 0 never",
    "pause_after": "gold items to have judged before that",
    "target": "judgments expected of one annotator, 0 shows the project's own",
    "rule": "how votes become a consensus",
    "min_votes": "votes an item needs to be released",
    "min_agreement": "share of the winner an item needs, else it goes to adjudication, 0 to 1",
    "refresh_every": "judgments after which a fitted model sets new priorities, 0 never",
    "hourly_rate": "pay for an hour of active time",
    "currency": "of the pay, a code or a sign such as EUR",
}


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the new project")
    parser.add_argument("--description", default="", help="a line about it")
    parser.add_argument("--protocol", help="shipped protocol to take rubric and design from (default: general)")
    parser.add_argument("--rubric", help="YAML file with the rubric")
    parser.add_argument("--design", help="YAML file with the design; the options below go before it")
    _design_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the project as JSON")


def _change_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--name", help="another name for it")
    parser.add_argument("--description", help="a line about it")
    parser.add_argument("--rubric", help="YAML file with the next version of the rubric")
    parser.add_argument("--archived", type=_boolean, metavar="true|false", help="hide it and stop its work, or back")
    _design_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the project as JSON")


def _design_arguments(parser: argparse.ArgumentParser) -> None:
    for setting in fields(Design):
        flag = f"--{setting.name.replace('_', '-')}"
        match setting.name:
            case "policy":
                parser.add_argument(flag, choices=POLICIES, help=HELP["policy"])
            case "rule":
                parser.add_argument(flag, choices=RULES, help=HELP["rule"])
            case "groups":
                parser.add_argument(flag, type=str, nargs="*", metavar="GROUP=COUNT", help=HELP["groups"])
            case "gold_feedback":
                parser.add_argument(flag, type=_boolean, metavar="true|false", help=HELP["gold_feedback"])
            case name:
                default = "none" if setting.default == "" else setting.default
                parser.add_argument(flag, type=type(setting.default), help=f"{HELP[name]} (default {default})")


def _boolean(text: str | bool) -> bool:
    match str(text).lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise ValueError(f"{text!r}, allowed are true and false")


def _design(options: argparse.Namespace, start: Design) -> Design:
    """Applies the options to a design."""
    values = {field.name: getattr(options, field.name) for field in fields(Design)}
    changes = {name: value for name, value in values.items() if value is not None}
    if "groups" in changes:
        changes["groups"] = _groups(changes["groups"])
    return replace(start, **changes)


def _groups(pairs: list[str]) -> dict[str, int]:
    groups = {}
    for pair in pairs:
        name, _, count = pair.partition("=")
        if not name or not count.isdecimal():
            raise ValueError(f"--groups {pair!r}, allowed is GROUP=COUNT, for example expert=2")
        groups[name] = int(count)
    return groups


def _create(options: argparse.Namespace) -> int:
    from annotate_app.protocol.protocol import load_protocol, read_design
    from annotate_app.store.store import Store
    from rewardkit.data.tables.yaml_nodes import read_yaml

    if options.protocol and options.rubric:
        raise ValueError("give the rubric by --protocol NAME or by --rubric FILE, not by both")
    if options.rubric is None:
        protocol = load_protocol(options.protocol or "general")
        rubric_text, design = protocol.rubric_text, protocol.design
    else:
        rubric_text, design = _parsed_rubric(options.rubric), Design()
    if options.design is not None:
        design = read_design(read_yaml(Path(options.design).read_text(encoding="utf-8"), options.design))
    design = _design(options, design)
    with Store.open(options.db) as store:
        project = store.projects.create(
            ACTOR, options.name, rubric_text=rubric_text, design=design, description=options.description
        )
        return _print(store, project, as_json=options.json)


def _change(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    rubric_text = None if options.rubric is None else _parsed_rubric(options.rubric)
    with Store.open(options.db) as store:
        project = store.projects.get(ACTOR, options.project)
        design = _design(options, project.design)
        project = store.projects.update(
            ACTOR,
            project.id,
            name=options.name,
            design=design if design != project.design else None,
            description=options.description,
            archived=options.archived,
        )
        if rubric_text is not None:
            store.projects.save_rubric(ACTOR, project.id, rubric_text)
        return _print(store, project, as_json=options.json)


def _parsed_rubric(file: str) -> str:
    """Reads a rubric file and returns its text; a mistake raises an error with its line."""
    from annotate_app.protocol.rubric import parse_rubric

    text = Path(file).read_text(encoding="utf-8")
    parse_rubric(text, file)
    return text


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the projects as JSON")


def _list(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        projects = store.projects.list(ACTOR)
        if options.json:
            print_json([_as_dict(store, project) for project in projects])
            return 0
        for project in projects:
            progress = store.projects.progress(ACTOR, project.id)
            state = "archived" if project.archived else f"{progress.slots_judged} of {progress.slots_wanted} judged"
            print(f"{project.id:4}  {project.name}  {progress.num_comparisons} comparisons, {state}")
        if not projects:
            print("no projects; `annotate-app project create NAME --protocol instructgpt` makes one")
        return 0


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--json", action="store_true", help="print the project as JSON")


def _show(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        return _print(store, store.projects.get(ACTOR, options.project), as_json=options.json)


def _print(store: Store, project: Project, *, as_json: bool) -> int:
    values = _as_dict(store, project)
    if as_json:
        print_json(values)
        return 0
    rubric = store.projects.rubric(ACTOR, project.id)
    progress = store.projects.progress(ACTOR, project.id)
    print(f"{project.name} (number {project.id}){', archived' if project.archived else ''}")
    if project.description:
        print(project.description)
    asked = f"{rubric.rubric.scale.steps} steps" if rubric.rubric.task == "compare" else f"task {rubric.rubric.task}"
    print(f"rubric: {rubric.rubric.title}, version {rubric.version}, {asked}")
    print(f"comparisons: {progress.num_comparisons}, {progress.num_complete} with all judgments")
    print(f"judgments: {progress.slots_judged} of {progress.slots_wanted}, {progress.slots_leased} in hand")
    for member in store.projects.members(ACTOR, project.id):
        print(f"member: {member.name}, {member.role}, {member.state}{', ' + member.group if member.group else ''}")
    changed = {name: value for name, value in project.design.as_dict().items() if value != Design().as_dict()[name]}
    print(f"design: {', '.join(f'{name} {value}' for name, value in changed.items()) or 'as by default'}")
    return 0


def _as_dict(store: Store, project: Project) -> dict[str, object]:
    progress = asdict(store.projects.progress(ACTOR, project.id))
    progress["judgments_by_day"] = [[str(day), count] for day, count in progress["judgments_by_day"]]
    return {
        **asdict(project),
        "design": project.design.as_dict(),
        "rubric_version": store.projects.rubric(ACTOR, project.id).version,
        "members": [asdict(member) for member in store.projects.members(ACTOR, project.id)],
        "progress": progress,
    }


COMMANDS = (
    Command(name="project create", help="make a project", arguments=_create_arguments, run=_create),
    Command(name="project list", help="all projects", arguments=_list_arguments, run=_list),
    Command(name="project show", help="one project in detail", arguments=_show_arguments, run=_show),
    Command(
        name="project change", help="change design, rubric or description", arguments=_change_arguments, run=_change
    ),
)
