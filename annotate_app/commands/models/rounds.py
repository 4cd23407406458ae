"""`round make` puts two policies before people blindly, `round list` and `round result` say how rounds stand."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import figure, interval, opened_project, opened_votes, project_arguments
from rewardkit.report.table import text_table
from rewardkit.run.progress import show_briefly


def _make_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--one", required=True, help="policy: a run's number, a folder or a hub id; the rate is its")
    parser.add_argument("--other", required=True, help="policy that it is held against")
    parser.add_argument("--prompts", default="", help="file with prompts (default: the project's)")
    parser.add_argument("--num", type=int, default=100, help="prompts to answer, one pair each")
    parser.add_argument("--temperature", type=float, default=0.7, help="divisor of the logits, for both")
    parser.add_argument("--max-new-tokens", type=int, default=128, help="largest number of tokens of an answer")
    parser.add_argument("--overlap", type=int, default=0, help="judgments wanted of each pair (default: the design's)")
    parser.add_argument("--seed", type=int, default=0, help="number that decides prompts, answers and sides")


def _make(options: argparse.Namespace) -> int:
    import os
    import tempfile
    from pathlib import Path

    from annotate_app.turns.blind_rounds import RoundPlan, both_policies, make_round

    plan = RoundPlan(
        prompts=options.prompts,
        num_prompts=options.num,
        temperature=options.temperature,
        max_new_tokens=options.max_new_tokens,
        overlap=options.overlap,
        seed=options.seed,
    )
    with opened_project(options) as (store, project), tempfile.TemporaryDirectory() as scratch:
        folder = Path(os.environ.get("TIEBREAK_RUN_DIR") or scratch).resolve()
        policies = both_policies(store, ACTOR, project.id, options.one, options.other)
        made = make_round(store, ACTOR, project.id, policies, plan, folder)
    if options.json:
        print_json(asdict(made))
        return 0
    left_out = made.detail["num_left_out"]
    print(
        f"round {made.id}: {made.num_pairs} pairs of {made.one} and {made.other} in {project.name}, "
        f"{left_out} left out where both said the same"
    )
    return 0


def _list(options: argparse.Namespace) -> int:
    return _show(options, None)


def _result_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("round", type=int, help="number of the round")


def _result(options: argparse.Namespace) -> int:
    return _show(options, options.round)


def _show(options: argparse.Namespace, number: int | None) -> int:
    from annotate_app.ranking.rounds import round_results

    with opened_votes(options) as (store, project, votes):
        rounds = store.rounds.list(ACTOR, project.id)
        if number is not None:
            rounds = [store.rounds.get(ACTOR, project.id, number)]
        keys = store.rounds.all_keys(ACTOR, project.id)
        results = round_results(votes, [(one, keys[one.id]) for one in rounds])
        show_briefly("")
    if options.json:
        shown = [asdict(one) | result.as_dict() for one, result in zip(rounds, results, strict=True)]
        print_json(shown if number is None else shown[0])
        return 0
    rows = [
        [
            str(one.id),
            one.one,
            one.other,
            figure(result.rate.value, percent=True),
            interval(result.rate, percent=True),
            f"{result.wins} / {result.ties} / {result.losses}",
            f"{result.num_judged} of {result.num_pairs}",
        ]
        for one, result in zip(rounds, results, strict=True)
    ]
    header = ("round", "policy", "against", "win rate", "95% interval", "won / tied / lost", "judged")
    print(text_table(header, rows, num_left=3) if rows else f"{project.name} has no blind rounds")
    if number is not None:
        print(results[0].sentence())
    return 0


COMMANDS = (
    Command(
        name="round make",
        help="let two policies answer and put the pairs before people blindly",
        arguments=_make_arguments,
        run=_make,
    ),
    Command(name="round list", help="list blind rounds with their results", arguments=project_arguments, run=_list),
    Command(name="round result", help="say how a blind round stands", arguments=_result_arguments, run=_result),
)
