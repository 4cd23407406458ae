"""`groups fields|set|show`: what is known of people, and figures by groups of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import figure, interval, opened_project, opened_votes, project_arguments
from rewardkit.report.table import text_table

if TYPE_CHECKING:
    from annotate_app.agreement.reports.groups import Grouping
    from annotate_app.findings.model_groups import ModelSides
    from annotate_app.store.projects.projects import Project
    from annotate_app.store.store import Store
    from annotate_app.votes import Votes

FIGURES = ("agreement", "models", "reward_model")


def _fields(options: argparse.Namespace) -> int:
    from annotate_app.exchange.people_tables import fields_csv

    with opened_project(options) as (store, project):
        fields = store.fields.people(ACTOR, project.id)
    if options.json:
        print_json(fields)
    else:
        print(fields_csv(fields), end="")
    return 0


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("file", type=str, help="table with a line a person: person, annotator or Participant id")


def _set(options: argparse.Namespace) -> int:
    from annotate_app.exchange.fields_in import read_fields

    with opened_project(options) as (store, project):
        values, num_strangers = read_fields(options.file, store.fields.platform_names(ACTOR, project.id))
        num_changed = store.fields.set(ACTOR, project.id, values)
    print(f"fields of {num_changed:,} people changed" + (f", {num_strangers:,} ids left out" if num_strangers else ""))
    return 0


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--by", type=str, required=True, help="field that divides people, such as country or group")
    parser.add_argument("--figure", choices=FIGURES, default="agreement", help="what to compare the groups on")
    parser.add_argument("--run", type=int, help="reward model to hold against the groups, for the figure reward_model")
    parser.add_argument("--held-out", action="store_true", help="leave out prompts that the run learned from")
    parser.add_argument("--least-people", type=int, default=5, help="people that a group needs for figures")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples behind the intervals, 0 for none")


def _show(options: argparse.Namespace) -> int:
    from annotate_app.agreement.reports.groups import group_people, grouping_dict

    if options.figure == "reward_model" and options.run is None:
        raise ValueError("--figure reward_model needs --run, the number of a reward model that scored the pairs")
    with opened_votes(options) as (store, project, votes):
        fields = store.fields.people(ACTOR, project.id)
        grouping = group_people(votes, fields, options.by, least_people=options.least_people)
        document, lines = _figures(options, store, project, votes, grouping)
    if options.json:
        print_json({"project": project.name, **grouping_dict(grouping), **document})
        return 0
    print(f"{project.name}, people by {grouping.field}; of {grouping.num_unknown:,} more it is not known")
    rows = [
        [group.name, f"{group.num_people:,}", f"{group.num_votes:,}", "too few people" if group.is_small else ""]
        for group in grouping.groups
    ]
    print("\n" + text_table(("group", "people", "judgments", ""), rows))
    print("\n" + lines if lines else "\nNo group has enough people for figures.")
    return 0


def _figures(
    options: argparse.Namespace, store: Store, project: Project, votes: Votes, grouping: Grouping
) -> tuple[dict[str, object], str]:
    """The chosen figure as plain values and as a table."""
    match options.figure:
        case "agreement":
            from annotate_app.agreement.reports.groups import group_agreement

            pairs = group_agreement(votes, grouping, num_resamples=options.bootstrap)
            rows = [
                [
                    pair.one,
                    pair.other,
                    figure(pair.percent.value, percent=True),
                    interval(pair.percent, percent=True),
                    figure(pair.kappa.value),
                    interval(pair.kappa),
                    str(pair.opposed) if pair.one != pair.other else "",
                ]
                for pair in pairs
            ]
            header = ("group", "with", "same", "95% interval", "kappa", "95% interval", "decided apart")
            return {"agreement": [pair.as_dict() for pair in pairs]}, text_table(
                header, rows, num_left=2
            ) if rows else ""
        case "models":
            from annotate_app.ranking.by_group import rank_by_group

            rankings = rank_by_group(votes, grouping, num_resamples=options.bootstrap)
            rows = [
                [
                    ranking.name,
                    standing.name,
                    str(standing.rank),
                    f"{standing.log_strength:+.3f}",
                    f"[{standing.low:+.3f}, {standing.high:+.3f}]",
                    f"{standing.num_votes:,}",
                ]
                for ranking in rankings
                for standing in ranking.leaderboard.standings
            ]
            header = ("group", "model", "rank", "log strength", "95% interval", "votes")
            table = text_table(header, rows, num_left=2) if rows else ""
            return {"rankings": [ranking.as_dict() for ranking in rankings]}, table
        case _:
            sides = _sides(options, store, project, votes, grouping)
            return sides.as_dict() | {"run": options.run}, _sides_table(sides)


def _sides(options: argparse.Namespace, store: Store, project: Project, votes: Votes, grouping: Grouping) -> ModelSides:
    from annotate_app.findings.model_groups import model_sides
    from annotate_app.findings.pair_scores import member_probabilities, read_scores
    from annotate_app.trainings.runs import find_run

    run = find_run(store, ACTOR, project.id, options.run)
    scores = read_scores(run)
    if scores is None:
        raise ValueError(
            f"run {options.run} has scored no pairs: annotate-app runs score {project.number} {options.run}"
        )
    if options.held_out:
        scores = scores.take((~scores.learned).nonzero()[0])
    p = member_probabilities(run, scores).mean(0)
    return model_sides(votes, grouping, scores.keys, p, scores.prompt, num_resamples=options.bootstrap)


def _sides_table(sides: ModelSides) -> str:
    if not sides.groups:
        return ""
    rows = [
        [side.name, figure(side.share.value, percent=True), interval(side.share, percent=True), f"{side.num_votes:,}"]
        for side in sides.groups
    ]
    gaps = [
        [
            f"{gap.one} - {gap.other}",
            figure(gap.difference.value, percent=True),
            interval(gap.difference, percent=True),
            f"{gap.num_items:,}",
        ]
        for gap in sides.differences
    ]
    table = text_table(("group", "same answer as the run", "95% interval", "judgments"), rows)
    more = text_table(("difference", "on the same comparisons", "95% interval", "comparisons"), gaps) if gaps else ""
    return table + ("\n\n" + more if more else "")


COMMANDS = (
    Command(name="groups fields", help="what is known of people", arguments=project_arguments, run=_fields),
    Command(name="groups set", help="take fields of people from a table", arguments=_set_arguments, run=_set),
    Command(name="groups show", help="figures by groups of people", arguments=_show_arguments, run=_show),
)
