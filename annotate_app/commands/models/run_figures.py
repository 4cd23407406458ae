"""`runs score`, `runs compare` and `runs differ`: reward models on a project's pairs, beside each other and people."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json, progress_line
from annotate_app.commands.project_votes import figure, opened_project, project_arguments, run_arguments
from rewardkit.report.table import text_table

if TYPE_CHECKING:
    from annotate_app.agreement.bootstrap import Estimate
    from annotate_app.findings.labels import Labels
    from annotate_app.findings.pair_scores import PairScores
    from annotate_app.store.projects.projects import Project
    from annotate_app.store.store import Store
    from annotate_app.trainings.runs import ModelRun
    from rewardkit.stats.metrics import Interval


def score_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `runs score`."""
    project_arguments(parser)
    parser.add_argument("runs", type=int, nargs="+", help="numbers of runs with a reward model")


def score(options: argparse.Namespace) -> int:
    """Scores what is not scored yet."""
    with opened_project(options) as (store, project):
        done = {number: _score(store, project, number) for number in options.runs}
    if options.json:
        print_json({"scored": done})
        return 0
    for number, count in done.items():
        print(f"run {number}: {count:,} pairs of {project.name} scored, the others had been")
    return 0


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `runs compare`."""
    project_arguments(parser)
    parser.add_argument("runs", type=int, nargs="+", help="numbers of runs; the others are held against the first")
    parser.add_argument("--by", default="", help="criterion whose choice people made (default: the overall one)")
    parser.add_argument("--seed", type=int, default=0, help="number that decides the resamples of prompts")


def compare(options: argparse.Namespace) -> int:
    """Holds reward models, or policies, against each other."""
    from annotate_app.trainings.figures import differences
    from annotate_app.trainings.runs import find_run

    with opened_project(options) as (store, project):
        runs = [find_run(store, ACTOR, project.id, number) for number in dict.fromkeys(options.runs)]
        if len(runs) < 2:
            raise ValueError(f"runs are {options.runs}, allowed are 2 or more")
        differing = differences(runs)
        if all(run.is_policy for run in runs):
            return _compare_policies(options, store, project, runs, differing)
        if policy := next((run for run in runs if not run.is_scorer), None):
            raise ValueError(f"run {policy.number} has no reward model; allowed are reward models, or policies alone")
        from annotate_app.findings.paired import compare_models

        labels, scored = _labels(store, project, options.by), [_scores_of(store, project, run) for run in runs]
        paired = compare_models(runs, scored, labels, seed=options.seed)
    if options.json:
        print_json({"project": project.name, "options": differing, **paired.values()})
        return 0
    _print_options(differing)
    print(
        f"{paired.num_pairs:,} pairs of {paired.num_prompts:,} prompts that none learned from, {paired.num_decided:,} "
        f"decided; {paired.num_learned:,} that some learned from are left out"
    )
    rows = [
        [f"{one.run}: {one.name}"[:60], _percent(one.accuracy), _number(one.nll), _number(one.ece)]
        for one in paired.figures
    ]
    rows += [
        [f"run {one.one} minus run {one.other}", _percent(one.accuracy), _number(one.nll), _number(one.ece)]
        for one in paired.differences
    ]
    if rows:
        print("\n" + text_table(("run", "accuracy", "NLL", "ECE"), rows, num_left=4) + "\n")
    for one in paired.differences:
        print(
            f"{one.verdict} Right alone: run {one.one} on {one.num_only_one} pairs, run {one.other} on "
            f"{one.num_only_other}; McNemar p = {one.p_pairs:.3g}, sign test over prompts p = {one.p_prompts:.3g}."
        )
    return 0


def _compare_policies(
    options: argparse.Namespace,
    store: Store,
    project: Project,
    runs: list[ModelRun],
    differing: list[dict[str, str]],
) -> int:
    from annotate_app.findings.policy_rounds import read_rounds
    from annotate_app.trainings.runs import list_runs

    votes = store.judgments.votes(ACTOR, project.id)
    rounds = read_rounds(store, ACTOR, project.id, list_runs(store, ACTOR, project.id), votes, of=runs)
    if options.json:
        print_json({"project": project.name, "options": differing, "rounds": [one.values() for one in rounds]})
        return 0
    _print_options(differing)
    if not rounds:
        print(f"no blind round between them yet: annotate-app round make {project.number} --one RUN --other RUN")
    for one in rounds:
        result = one.result
        judged = f"{result.num_judged:,} of {result.num_pairs:,} pairs judged"
        print(f"round {one.round.id}: {result.one} against {result.other}, {judged}. {result.sentence()}")
        if result.num_votes:
            print(f"  win rate {figure(result.rate.value, percent=True)}, 95 % {_bounds(result.rate, percent=True)}")
        for reward in one.rewards:
            taught = "; one of them learned from it" if reward.taught else ""
            print(
                f"  reward by run {reward.reward_model}: {_number(reward.difference)} on {reward.num_pairs:,} "
                f"pairs, more in {_percent(reward.share)}{taught}"
            )
    return 0


def differ_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `runs differ`."""
    run_arguments(parser)
    parser.add_argument("--by", default="", help="criterion whose choice people made (default: the overall one)")
    parser.add_argument("--source", default="", help="model that wrote one of the answers (default: any)")
    lengths = "length of the answer that the model prefers: any, longer or shorter than the other"
    parser.add_argument("--length", default="any", help=lengths)
    parser.add_argument("--sure", type=float, default=0.5, help="least probability that the model gives its choice")
    parser.add_argument("--held-out", action="store_true", help="leave out pairs whose prompt it learned from")
    parser.add_argument("--limit", type=int, default=50, help="pairs to list at most")


def differ(options: argparse.Namespace) -> int:
    """Lists where a reward model is sure and people say otherwise."""
    from annotate_app.findings.surprises import where_they_differ
    from annotate_app.trainings.runs import find_run

    with opened_project(options) as (store, project):
        run = find_run(store, ACTOR, project.id, options.run)
        labels, scores = _labels(store, project, options.by), _scores_of(store, project, run)
        differing = where_they_differ(
            run,
            scores,
            labels,
            source=options.source,
            length=options.length,
            sure=options.sure,
            held_out=options.held_out,
            limit=options.limit,
        )
    if options.json:
        counts = {name: getattr(differing, name) for name in ("num_differing", "num_pairs", "num_unscored")}
        print_json({"run": run.number, **counts, "rows": [row.values() for row in differing.rows]})
        return 0
    print(f"{run.name}: differs from people on {differing.num_differing:,} of {differing.num_pairs:,} pairs")
    rows = [
        [
            row.key,
            f"{row.share:.0%} of {row.num_votes}",
            f"{row.p:.0%}",
            f"{row.low:.0%} to {row.high:.0%}" if len(row.members) > 1 else "",
            f"{row.surprise:.3f}",
            "learned" if row.learned else "held out",
        ]
        for row in differing.rows
    ]
    header = ("pair", "people for A", "model for A", "members", "surprise", "prompt")
    if rows:
        print("\n" + text_table(header, rows, num_left=1))
    return 0


def _score(store: Store, project: Project, number: int) -> int:
    from annotate_app.findings.pair_scores import score_pairs

    with progress_line("pairs") as tell:
        return score_pairs(store, ACTOR, project.id, number, tell=lambda done, _: tell(done))


def _scores_of(store: Store, project: Project, run: ModelRun) -> PairScores:
    """The scores of a run, those that are missing made first."""
    from annotate_app.findings.pair_scores import read_scores

    _score(store, project, run.number)
    scores = read_scores(run)
    assert scores is not None
    return scores


def _labels(store: Store, project: Project, by: str) -> Labels:
    from annotate_app.findings.labels import read_labels

    return read_labels(store, ACTOR, project, by=by)


def _print_options(differing: list[dict[str, str]]) -> None:
    if differing:
        header = tuple(differing[0])
        print(text_table(header, [[row[name] for name in header] for row in differing], num_left=len(header)) + "\n")


def _percent(value: Interval) -> str:
    return f"{figure(value.value, percent=True)} {_bounds(value, percent=True)}".strip()


def _number(value: Interval) -> str:
    return f"{figure(value.value)} {_bounds(value)}".strip()


def _bounds(value: Interval | Estimate, *, percent: bool = False) -> str:
    if not (math.isfinite(value.low) and math.isfinite(value.high)):
        return ""
    return f"({figure(value.low, percent=percent)} to {figure(value.high, percent=percent)})"


FIGURE_COMMANDS = (
    Command(
        name="runs score",
        help="score the project's pairs by reward models, for comparisons",
        arguments=score_arguments,
        run=score,
    ),
    Command(
        name="runs compare",
        help="hold runs against each other on the same held-out pairs",
        arguments=compare_arguments,
        run=compare,
    ),
    Command(
        name="runs differ",
        help="pairs on which a reward model is sure and people say otherwise",
        arguments=differ_arguments,
        run=differ,
    ),
)
