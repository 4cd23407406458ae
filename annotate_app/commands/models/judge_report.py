"""`judge report`: a judge measured against people; listed with the commands of `annotate_app.commands.models.judges`."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import project_arguments
from rewardkit.run.progress import show_briefly


def _arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("judge", help="name of the judge")
    parser.add_argument("--own", default="", help="sources that its own model wrote, with commas between them")
    parser.add_argument("--html", help="HTML file to write the report to, with its charts")
    parser.add_argument("--csv", help="CSV file to write every figure to, one a line")
    parser.add_argument(
        "--bootstrap", type=int, default=500, help="resamples of items behind the intervals, 0 for none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")


def _report(options: argparse.Namespace) -> int:
    from annotate_app.judges.measured import measure
    from annotate_app.judges.report_files import report_csv, report_html, report_text
    from annotate_app.store.store import Store
    from rewardkit.run.directory import write_text

    if options.bootstrap < 0:
        raise ValueError(f"--bootstrap is {options.bootstrap}, allowed is 0 or more")
    store = Store.open(options.db)
    try:
        project = store.projects.get(ACTOR, options.project)
        show_briefly("measuring the judge")
        own = [name.strip() for name in options.own.split(",") if name.strip()]
        draws = {"num_resamples": options.bootstrap, "seed": options.seed}
        report = measure(store, ACTOR, project.id, options.judge, own=own, **draws)
        show_briefly("")
    finally:
        store.close()
    if options.html:
        write_text(Path(options.html), report_html(report, project.name))
    if options.csv:
        write_text(Path(options.csv), report_csv(report))
    if options.json:
        print_json({"project": project.name, **report.as_dict()})
        return 0
    print(f"{project.name}: the judge {report.judge}\n")
    print(report_text(report))
    for path in (options.html, options.csv):
        if path:
            print(f"\n{path}")
    return 0


REPORT = Command(name="judge report", help="measure a judge against people", arguments=_arguments, run=_report)
