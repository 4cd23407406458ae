"""`winrate`: how models fare against each other by blind votes."""

from __future__ import annotations

import argparse

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import figure, interval, opened_votes, project_arguments
from rewardkit.report.table import interval_text, text_table
from rewardkit.run.progress import show_briefly


def _arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument(
        "--bootstrap", type=int, default=2000, help="resamples of items behind the intervals, 0 for none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")
    parser.add_argument("--judge", default="", help="judge whose many votes sharpen the interval of people's few")


def _win_rates(options: argparse.Namespace) -> int:
    from annotate_app.ranking.win_rates import fit_win_rates

    if options.judge:
        return _with_judge(options)
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


def _with_judge(options: argparse.Namespace) -> int:
    from annotate_app.consensus.project_judges import read_judges
    from annotate_app.judges.powered_win_rates import powered_win_rates

    with opened_votes(options) as (store, project, votes):
        (readings,) = read_judges(store, ACTOR, project.id, votes, [options.judge])
        rates = powered_win_rates(votes, readings, seed=options.seed)
        show_briefly("")
    if options.json:
        pairs = [rate.as_dict() for rate in rates]
        print_json({"project": project.name, "judge": options.judge, "pairs": pairs})
        return 0
    print(
        f"{project.name}: win rates by people, by people corrected with {options.judge}, and by {options.judge} alone"
    )
    rows = [
        [
            rate.one,
            rate.other,
            *(interval_text(figure) for figure in (rate.mean.people, rate.mean.powered, rate.mean.judge)),
            f"{rate.mean.lam:.2f}",
            f"{rate.mean.gain:.1f}x" if rate.mean.lam else "",
            f"{rate.mean.num_people:,} + {rate.mean.num_judge_only:,}",
        ]
        for rate in rates
    ]
    header = (
        *("model", "against", "people alone", "people with judge", "judge alone"),
        *("lambda", "worth", "comparisons"),
    )
    if rows:
        print("\n" + text_table(header, rows, num_left=2))
    print(
        "\nPeople with judge: prediction-powered, valid however the judge errs, if people judged a random share."
        "\nJudge alone says what the judge prefers, not what people do."
        "\nWorth: as many times the human votes as there are. Comparisons: judged by people, and by the judge only."
    )
    return 0


COMMANDS = (
    Command(name="winrate", help="Models against each other, by blind votes.", arguments=_arguments, run=_win_rates),
)
