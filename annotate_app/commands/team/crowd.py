"""`crowd add|list|switch|visits`: links for people of a crowd platform, and what became of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import opened_project, project_arguments
from rewardkit.report.table import text_table

if TYPE_CHECKING:
    from annotate_app.store.people.crowd_visits import VisitSummary

PLATFORMS = ("prolific", "mturk", "other")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("name", help="title that people read on the start page")
    parser.add_argument("--platform", choices=PLATFORMS, default="prolific", help="whose address and way back to use")
    parser.add_argument("--target", type=int, required=True, help="judgments that a person gives")
    parser.add_argument("--code", type=str, required=True, help="completion code")
    parser.add_argument("--screen-out-code", type=str, default="", help="code of who fails the qualification")
    parser.add_argument("--over-quota-code", type=str, default="", help="code of who finds all places taken")
    parser.add_argument("--quota", type=int, default=0, help="people let in, 0 for any number")
    parser.add_argument("--return-url", type=str, help="where people go back to, with {code} (default: the platform's)")
    parser.add_argument("--id-parameter", type=str, help="parameter of the id in the address (default: the platform's)")
    parser.add_argument("--text", default="", help="what people read above the start button")
    parser.add_argument("--group", default="", help="annotator group that people join")
    parser.add_argument("--reward", type=float, default=0.0, help="pay of who completes, for the hourly figure")
    parser.add_argument("--dropout-minutes", type=int, default=60, help="silence after which a place is free again")
    parser.add_argument("--url", default="http://localhost:8501", help="address of the app")


def _add(options: argparse.Namespace) -> int:
    from annotate_app.server.crowd_pages import PRESETS, crowd_address
    from annotate_app.store.people.crowd import LinkPlan

    preset = PRESETS[options.platform]
    plan = LinkPlan(
        name=options.name,
        id_parameter=options.id_parameter or preset.id_parameter,
        target=options.target,
        quota=options.quota,
        completion_code=options.code,
        screen_out_code=options.screen_out_code,
        over_quota_code=options.over_quota_code,
        return_url=preset.return_url if options.return_url is None else options.return_url,
        text=options.text,
        group=options.group,
        reward=options.reward,
        dropout_minutes=options.dropout_minutes,
    )
    with opened_project(options) as (store, project):
        link = store.crowd.add_link(ACTOR, project.id, plan)
    address = crowd_address(options.url, link)
    if options.json:
        print_json({**link.as_dict(), "address": address})
    else:
        print(address)
    return 0


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--url", default="http://localhost:8501", help="address of the app")


def _list(options: argparse.Namespace) -> int:
    from annotate_app.server.crowd_pages import crowd_address
    from annotate_app.store.people.crowd_visits import summarize

    with opened_project(options) as (store, project):
        links = store.crowd.links(ACTOR, project.id)
        visits = store.crowd.visits(ACTOR, project.id)
    rows = []
    for link in links:
        own = [visit for visit in visits if visit.link_id == link.id]
        rows.append((link, summarize(own, link.plan.reward), crowd_address(options.url, link)))
    if options.json:
        print_json([{**link.as_dict(), "address": place, **summary.as_dict()} for link, summary, place in rows])
        return 0
    for link, summary, place in rows:
        print(f"{link.id}  {link.plan.name}{'' if link.active else '  off'}\n    {place}\n    {_words(summary)}")
    return 0


def _words(summary: VisitSummary) -> str:
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in summary.counts.items() if count)
    time = f", median {summary.median_minutes:.1f} min" if summary.median_minutes == summary.median_minutes else ""
    pay = f", {summary.hourly:.2f} an hour" if summary.hourly == summary.hourly else ""
    return (counts or "nobody yet") + time + pay


def _switch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("link", type=int, help="number of the link, as `annotate-app crowd list` shows it")
    parser.add_argument("state", choices=("on", "off"), help="whether it lets people in")


def _switch(options: argparse.Namespace) -> int:
    with opened_project(options) as (store, project):
        store.crowd.set_active(ACTOR, project.id, options.link, options.state == "on")
    print(f"link {options.link} is {options.state}")
    return 0


def _visits_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--link", type=int, help="number of one link (default: all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the visits as JSON")
    form.add_argument("--csv", action="store_true", help="print a CSV table, one visit a line")


def _visits(options: argparse.Namespace) -> int:
    from annotate_app.exchange.people_tables import iso_time, visits_csv

    with opened_project(options) as (store, project):
        visits = store.crowd.visits(ACTOR, project.id, options.link)
    if options.json:
        print_json([visit.as_dict() for visit in visits])
        return 0
    if options.csv:
        print(visits_csv(visits), end="")
        return 0
    rows = [
        [
            visit.platform_id,
            visit.outcome,
            str(visit.judgments),
            f"{visit.seconds / 60:.1f}",
            iso_time(visit.started_at),
        ]
        for visit in visits
    ]
    if rows:
        print(text_table(("platform id", "outcome", "judgments", "minutes", "started"), rows, num_left=2))
    return 0


COMMANDS = (
    Command(name="crowd add", help="make a link for a crowd platform", arguments=_add_arguments, run=_add),
    Command(name="crowd list", help="links with what became of people", arguments=_list_arguments, run=_list),
    Command(name="crowd switch", help="switch a link off, or on again", arguments=_switch_arguments, run=_switch),
    Command(name="crowd visits", help="everybody who opened a link", arguments=_visits_arguments, run=_visits),
)
