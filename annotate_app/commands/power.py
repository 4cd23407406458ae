"""`power`: how much labeling a win rate or a reward model's gain takes, at the project's own agreement."""

from __future__ import annotations

import argparse

from annotate_app.commands.command import Command, print_json
from annotate_app.commands.project_votes import opened_votes, project_arguments
from rewardkit.report.table import text_table
from rewardkit.run.progress import show_briefly


def _arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--within", type=float, default=0.05, help="half width of the 95%% interval of a win rate")
    parser.add_argument("--win-rate", type=float, default=0.5, help="win rate that is expected; one half needs most")
    parser.add_argument("--pairs", type=int, default=0, help="pairs that there are to label, 0 for as many as needed")
    parser.add_argument("--hours-each", type=float, default=10.0, help="hours of work that a person gives")
    parser.add_argument("--correlation", type=float, help="of votes on one comparison, in place of the measured one")
    parser.add_argument("--ties", type=float, help="share of ties, in place of the measured one")
    parser.add_argument("--seconds", type=float, help="seconds of a judgment, in place of the measured ones")
    parser.add_argument("--gain", type=float, default=0.0, help="accuracy that a reward model is to gain, 0 asks none")
    parser.add_argument(
        "--differ", type=float, default=0.2, help="share of held-out pairs on which old and new model differ"
    )


def _power(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from annotate_app.ranking.power import gain_power, measure_habits, win_rate_power

    with opened_votes(options) as (_, project, votes):
        habits = measure_habits(votes)
        num_pairs = len(votes.items)
        show_briefly("")
    if options.correlation is not None:
        habits = replace(habits, correlation=options.correlation, num_paired=0)
    if options.ties is not None:
        habits = replace(habits, tie_share=options.ties, num_votes=0)
    if options.seconds is not None:
        habits = replace(habits, seconds=options.seconds, num_timed=0)
    power = win_rate_power(
        options.within,
        habits,
        win_rate=options.win_rate,
        available=options.pairs,
        hours_each=options.hours_each,
    )
    gain = gain_power(options.gain, habits, pairs=num_pairs, differ=options.differ) if options.gain else None
    if options.json:
        print_json({"project": project.name, **power.as_dict(), "gain": gain.as_dict() if gain else None})
        return 0
    print(f"{project.name}: {habits.words()}\n")
    rows = [
        [
            str(one.overlap),
            f"{one.pairs:,}",
            f"{one.votes:,}",
            f"{one.minutes:,.0f}",
            f"{one.annotators:,}",
            "" if one.possible else "more than there are",
        ]
        for one in power.options
    ]
    header = ("votes on each", "pairs", "votes", "minutes", "people at least", "")
    print(text_table(header, rows, num_left=0))
    print(f"\n{power.sentence()}")
    if gain is not None:
        print(gain.sentence())
    return 0


COMMANDS = (
    Command(
        name="power",
        help="How much labeling a win rate or a reward model's gain takes.",
        arguments=_arguments,
        run=_power,
    ),
)
