"""`winrate`: how models fare against each other by blind votes."""

from __future__ import annotations

import argparse

from annotate_app.commands.command import Command, print_json
from annotate_app.commands.project_votes import figure, interval, opened_votes, project_arguments
from rewardkit.report.table import text_table
from rewardkit.run.progress import show_briefly


def _arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument(
        "--bootstrap", type=int, default=2000, help="resamples of items behind the intervals, 0 for none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")


def _win_rates(options: argparse.Namespace) -> int:
    from annotate_app.ranking.win_rates import fit_win_rates

    with opened_votes(options) as (_, project, votes):
        win_rates = fit_win_rates(votes, num_resamples=options.bootstrap, seed=options.seed)
        show_briefly("")
    if options.json:
        print_json({"project": project.name, **win_rates.as_dict()})
        return 0
    left_out = f", {win_rates.num_left_out:,} without two named models left out" if win_rates.num_left_out else ""
    print(f"{project.name}: {win_rates.num_votes:,} votes{left_out}")
    rows = [
        [
            pair.one,
            pair.other,
            figure(pair.rate.value, percent=True),
            interval(pair.rate, percent=True),
            figure(pair.tie_share.value, percent=True),
            f"{pair.wins:,} / {pair.ties + pair.both_bad:,} / {pair.losses:,}",
            f"{pair.num_items:,}",
        ]
        for pair in win_rates.pairs
    ]
    header = ("model", "against", "win rate", "95% interval", "ties", "won / tied / lost", "comparisons")
    if rows:
        print("\n" + text_table(header, rows, num_left=2))
        print("\nA tie, or both bad, is half a win. Intervals are over comparisons.")
    for pair in win_rates.pairs:
        if options.bootstrap:
            print(pair.sentence())
    return 0


COMMANDS = (
    Command(name="winrate", help="Models against each other, by blind votes.", arguments=_arguments, run=_win_rates),
)
