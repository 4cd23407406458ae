"""`traits audit` asks what a reward model pays for and people do not, `traits label` sends its pairs to people."""

from __future__ import annotations

import argparse

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import opened_project, run_arguments


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    run_arguments(parser)
    parser.add_argument("--policy", type=int, help="number of a policy's run: its answers before and after")
    parser.add_argument("--previous", type=int, help="number of a run whose audit is asked after again")


def _audit(options: argparse.Namespace) -> int:
    from annotate_app.findings.trait_audits import make_audit
    from rewardkit.audit.findings import screen_lines

    with opened_project(options) as (store, project):
        findings = make_audit(store, ACTOR, project.id, options.run, policy=options.policy, previous=options.previous)
    if options.json:
        print_json(findings.values())
        return 0
    print("\n".join(screen_lines(findings)))
    if findings.num_to_label:
        print(f"{findings.num_to_label} pairs to label: `traits label` sends them to people")
    return 0


def _label(options: argparse.Namespace) -> int:
    from annotate_app.findings.trait_audits import send_pairs

    with opened_project(options) as (store, project):
        done = send_pairs(store, ACTOR, project.id, options.run)
    if options.json:
        print_json({"num_added": done.num_added, "num_existing": done.num_existing})
        return 0
    print(f"{done.num_added} pairs added to {project.name}, {done.num_existing} were there")
    return 0


COMMANDS = (
    Command(
        name="traits audit",
        help="ask what a reward model pays for and the project's people do not",
        arguments=_audit_arguments,
        run=_audit,
    ),
    Command(
        name="traits label",
        help="send the pairs of an audit to the project's people",
        arguments=run_arguments,
        run=_label,
    ),
)
