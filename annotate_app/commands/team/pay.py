"""`pay`: active minutes of each person in a period, and what they come to."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import opened_project
from rewardkit.report.table import text_table

if TYPE_CHECKING:
    from annotate_app.times import Period


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--from", type=str, dest="first", help="first day, such as 2026-11-01 (default: of this month)")
    parser.add_argument("--to", type=str, dest="last", help="last day, included (default: today)")
    parser.add_argument("--zone", default="UTC", help="time zone of the days, such as Europe/Berlin")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as one JSON document")
    form.add_argument("--csv", action="store_true", help="print a CSV table, one person a line")


def _period(options: argparse.Namespace) -> Period:
    from annotate_app.times import Period, read_day, today

    last = read_day(options.last, "--to") if options.last else today(options.zone)
    first = read_day(options.first, "--from") if options.first else last.replace(day=1)
    return Period(first=first, last=last, zone=options.zone)


def _pay(options: argparse.Namespace) -> int:
    from annotate_app.exchange.people_tables import pay_csv

    period = _period(options)
    with opened_project(options) as (store, project):
        people = store.pay.people(ACTOR, project.id, period)
    total = sum(person.amount for person in people)
    days = {"from": period.first.isoformat(), "to": period.last.isoformat(), "time_zone": period.zone}
    if options.json:
        rows = [person.as_dict() for person in people]
        print_json({"project": project.name, **days, "amount": round(total, 2), "people": rows})
        return 0
    if options.csv:
        print(pay_csv(people, period), end="")
        return 0
    print(f"{project.name}: {period.first} to {period.last}, days of {period.zone}")
    rows = [
        [
            person.name,
            f"{person.judgments:,}",
            f"{person.minutes:,.1f}",
            "-" if person.median_s != person.median_s else f"{person.median_s:.0f} s",
            f"{person.rate:g}",
            f"{person.amount:,.2f} {person.currency}".strip(),
        ]
        for person in people
    ]
    if rows:
        print("\n" + text_table(("person", "judgments", "minutes", "median", "rate", "amount"), rows))
    print(f"\n{total:,.2f} {project.design.currency}".rstrip() + " for all")
    return 0


COMMANDS = (Command(name="pay", help="Active minutes of each person, and pay.", arguments=_arguments, run=_pay),)
