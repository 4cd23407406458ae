"""`agreement`, `aggregate`, `leaderboard` and `quality`: what the pages show, as tables or JSON."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import figure, interval, opened_votes, project_arguments
from rewardkit.report.table import text_table
from rewardkit.run.progress import show_briefly

if TYPE_CHECKING:
    from annotate_app.agreement.rankings import RankingAgreement
    from annotate_app.agreement.reports.report import Agreement, AgreementReport
    from annotate_app.agreement.steps import StepAgreement
    from annotate_app.consensus.consensus import Consensus
    from annotate_app.protocol.protocol import Reported
    from annotate_app.store.projects.projects import Project
    from annotate_app.store.store import Store

VIEWS = ("criterion", "annotator", "source", "time")
RULES = ("majority", "gold_weighted", "dawid_skene", "mace", "most_agreeing_3")
MOST_ROWS = 20
PERCENT_FIGURES = ("percent", "pooled")


def _agreement_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument(
        "--bootstrap", type=int, default=1000, help="resamples of items behind the intervals, 0 for none"
    )
    parser.add_argument("--by", default=",".join(VIEWS), help=f"views, with commas between them: {', '.join(VIEWS)}")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")


def _aggregate_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--rule", choices=RULES, help="how votes become a consensus (default: the project's own)")
    parser.add_argument(
        "--judges", default="", help="judges whose votes count too, as NAME[,NAME], under the rule dawid_skene"
    )
    parser.add_argument("--out", help="JSONL file to write one line per comparison to")


def _leaderboard_arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument("--ties", choices=("half", "davidson"), default="half", help="half a win each, or a parameter")
    parser.add_argument(
        "--bootstrap", type=int, default=500, help="resamples of items behind the intervals, 0 for none"
    )


def _agreement(options: argparse.Namespace) -> int:
    from annotate_app.agreement.reports.report import agreement_report
    from annotate_app.agreement.spans import span_agreement

    by = tuple(word.strip() for word in options.by.split(",") if word.strip())
    for view in by:
        if view not in VIEWS:
            raise ValueError(f"--by is {view!r}, allowed are {', '.join(VIEWS)}")
    with opened_votes(options) as (store, project, votes):
        show_briefly("computing agreement")
        report = agreement_report(votes, num_resamples=options.bootstrap, seed=options.seed, by=by)
        flags = [flag.name for flag in store.projects.rubric(ACTOR, project.id).rubric.span_flags]
        marks = store.judgments.spans(ACTOR, project.id)
        spans = span_agreement(votes, marks, flags, num_resamples=options.bootstrap, seed=options.seed)
        report = replace(report, spans=spans)
        reported = _reported(store, project)
        rankings = _rankings(store, project, options)
        steps = _steps(store, project, options)
        show_briefly("")
    if options.json:
        ranked = {} if rankings is None else {"rankings": rankings.as_dict()}
        ranked |= {} if steps is None else {"steps": steps.as_dict()}
        plain = [_plain(item) for item in reported]
        print_json({"project": project.name, **report.as_dict(), **ranked, "reported": plain})
        return 0
    _print_agreement(project.name, report, reported)
    if rankings is not None:
        _print_rankings(rankings)
    if steps is not None:
        _print_steps(steps)
    return 0


def _rankings(store: Store, project: Project, options: argparse.Namespace) -> RankingAgreement | None:
    """Agreement on rankings; None where the rubric asks for none."""
    from annotate_app.agreement.rankings import ranking_agreement

    if store.projects.rubric(ACTOR, project.id).rubric.task not in ("rank", "best"):
        return None
    judgments = store.judgments.iterate(ACTOR, project.id)
    return ranking_agreement(judgments, num_resamples=options.bootstrap, seed=options.seed)


def _print_rankings(rankings: RankingAgreement) -> None:
    named = {"Kendall's W": rankings.w, "mean Spearman": rankings.spearman, "pairs, the same": rankings.pairs}
    rows = [[title, figure(estimate.value), interval(estimate)] for title, estimate in named.items()]
    title = f"{len(rankings.comparisons):,} comparisons with two rankings"
    print("\n" + text_table((title, "figure", "95% interval"), rows))


def _steps(store: Store, project: Project, options: argparse.Namespace) -> StepAgreement | None:
    """Agreement on steps; None where the rubric judges none."""
    from annotate_app.agreement.steps import step_agreement

    if store.projects.rubric(ACTOR, project.id).rubric.task != "steps":
        return None
    judgments = store.judgments.iterate(ACTOR, project.id)
    return step_agreement(judgments, num_resamples=options.bootstrap, seed=options.seed)


def _print_steps(steps: StepAgreement) -> None:
    named = {"steps, the same": steps.steps, "first error, the same": steps.first_error}
    rows = [[title, figure(estimate.value), interval(estimate)] for title, estimate in named.items()]
    title = f"{len(steps.answers):,} answers with two judgments"
    print("\n" + text_table((title, "figure", "95% interval"), rows))


def _reported(store: Store, project: Project) -> tuple[Reported, ...]:
    """Reads what the protocol of the project's rubric reports; empty if the rubric follows none."""
    from annotate_app.protocol.protocol import list_protocols, load_protocol

    name = store.projects.rubric(ACTOR, project.id).rubric.protocol
    return load_protocol(name).reported if name in list_protocols() else ()


def _plain(item: Reported) -> dict[str, object]:
    return {name: getattr(item, name) for name in type(item).__dataclass_fields__}


def _print_agreement(name: str, report: AgreementReport, reported: tuple[Reported, ...]) -> None:
    from annotate_app.agreement.reports.report import FIGURES, reading

    overall = report.overall
    print(f"{name}: {overall.num_votes:,} votes, {overall.num_items:,} comparisons with two votes or more")
    print(reading(overall) + "\n")
    rows = []
    for key, estimate in overall.estimates.items():
        percent = key.startswith(PERCENT_FIGURES)
        rows.append([FIGURES[key], figure(estimate.value, percent=percent), interval(estimate, percent=percent)])
    named = {
        "Conger's kappa": report.conger_kappa,
        "Cohen's kappa, mean over pairs of people by shared items": report.pairs.mean_kappa,
    }
    rows.extend([title, figure(estimate.value), interval(estimate)] for title, estimate in named.items())
    print(text_table(("overall", "figure", "95% interval"), rows))
    for title, parts in (("criterion", report.criteria), ("source", report.sources), ("time", report.periods)):
        if parts:
            print("\n" + text_table((title, "items", "percent", "alpha", "AC1", "AC2 quad."), _group_rows(parts)))
    if report.annotators:
        rows = [
            [
                person.name,
                f"{person.num_items:,}",
                figure(person.percent.value, percent=True),
                interval(person.percent, percent=True),
                figure(person.kappa.value),
                interval(person.kappa),
            ]
            for person in sorted(report.annotators, key=lambda person: person.percent.value)
        ]
        header = ("against the rest", "items", "percent", "95% interval", "kappa", "95% interval")
        print("\n" + text_table(header, rows[:MOST_ROWS]))
        _more(len(rows), "people")
    if report.spans:
        rows = [
            [
                part.flag,
                f"{part.num_spans:,}",
                figure(part.f1.value),
                interval(part.f1),
                figure(part.alpha.value),
                interval(part.alpha),
            ]
            for part in report.spans
        ]
        print("\n" + text_table(("marked words", "marks", "F1", "95% interval", "alpha", "95% interval"), rows))
    if reported:
        rows = [[item.population, item.measure, _reported_value(item), item.source] for item in reported]
        print("\n" + text_table(("the protocol's own report", "measure", "figure", "source"), rows, num_left=4))


def _group_rows(parts: tuple[Agreement, ...]) -> list[list[str]]:

    return [
        [
            part.name,
            f"{part.num_items:,}",
            figure(part.estimates["percent"].value, percent=True),
            *(figure(part.estimates[name].value) for name in ("alpha_nominal", "ac1", "ac2_quadratic")),
        ]
        for part in parts
    ]


def _reported_value(item: Reported) -> str:
    bounds = "" if item.low is None or item.high is None else f"{item.low:g} to {item.high:g}"
    if item.value is None:
        return bounds or "not known"
    return f"{item.value:g} ({bounds})" if bounds else f"{item.value:g}"


def _more(count: int, noun: str) -> None:
    if count > MOST_ROWS:
        print(f"and {count - MOST_ROWS:,} more {noun}; --json has them all")


def _aggregate(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from annotate_app.consensus.disputes import splits
    from annotate_app.consensus.project_judges import judge_names, read_judges
    from annotate_app.consensus.release import release

    with opened_votes(options) as (store, project, votes):
        show_briefly("computing the consensus")
        design = replace(project.design, rule=options.rule) if options.rule else project.design
        judges = read_judges(store, ACTOR, project.id, votes, judge_names(options.judges))
        consensus = release(votes, design, store.judgments.adjudications(ACTOR, project.id), judges=judges)
        divided = splits(votes)
        show_briefly("")
    if options.out:
        from rewardkit.data.files import write_rows

        write_rows(options.out, (consensus.row(index) for index in range(len(consensus.items))), "jsonl")
    if options.json:
        print_json({"project": project.name, **consensus.as_dict()})
        return 0
    _print_consensus(project.name, consensus)

    rows = [[split.name, f"{split.num_items:,}", figure(split.share_opposed, percent=True)] for split in divided]
    print("\n" + text_table(("what splits people", "items", "opposed"), rows))
    if options.out:
        print(f"\n{options.out}: {len(consensus.items):,} comparisons")
    return 0


def _print_consensus(name: str, consensus: Consensus) -> None:
    from annotate_app.consensus.consensus import REASONS, STATES
    from rewardkit.data.records import CHOICES

    fitted = f", {consensus.num_iterations} iterations" if consensus.num_iterations else ""
    print(f"{name}: {len(consensus.items):,} comparisons by the rule {consensus.rule}{fitted}")
    for note in consensus.notes:
        print(f"note: {note}")
    pairs = sorted(set(zip(consensus.state.tolist(), consensus.reason.tolist(), strict=True)))
    rows = [
        [STATES[state], REASONS[why], f"{((consensus.state == state) & (consensus.reason == why)).sum():,}"]
        for state, why in pairs
    ]
    print("\n" + text_table(("state", "why", "comparisons"), rows, num_left=2))
    released = consensus.choice[consensus.indices("released")]
    counts = [[CHOICES[code], f"{(released == code).sum():,}"] for code in range(4)]
    print("\n" + text_table(("released answer", "comparisons"), counts))
    people = sorted(
        (pair for pair in zip(consensus.annotators, consensus.reliability.tolist(), strict=True) if pair[1] == pair[1]),
        key=lambda pair: pair[1],
    )
    if people:
        table = [[person, figure(value)] for person, value in people[:MOST_ROWS]]
        print("\n" + text_table(("annotator, least reliable first", "reliability"), table))
        _more(len(people), "people")


def _leaderboard(options: argparse.Namespace) -> int:
    from annotate_app.ranking.leaderboard import fit_leaderboard

    with opened_votes(options) as (_, project, votes):
        show_briefly("fitting the leaderboard")
        board = fit_leaderboard(votes, ties=options.ties, num_resamples=options.bootstrap)
        show_briefly("")
    if options.json:
        print_json({"project": project.name, **board.as_dict()})
        return 0
    left_out = f", {board.num_left_out:,} without two named sources left out" if board.num_left_out else ""
    print(f"{project.name}: {len(board.sources)} models, {board.num_votes:,} votes{left_out}")
    for note in board.notes:
        print(f"note: {note}")
    for group in sorted({standing.group for standing in board.standings}):
        rows = [
            [
                standing.name,
                str(standing.rank),
                f"{standing.log_strength:+.3f}",
                f"[{standing.low:+.3f}, {standing.high:+.3f}]",
                figure(standing.win_rate, percent=True),
                f"{standing.num_votes:,}",
            ]
            for standing in board.standings
            if standing.group == group
        ]
        print("\n" + text_table(("model", "rank", "log strength", "95% interval", "win rate", "votes"), rows))
    return 0


def _quality(options: argparse.Namespace) -> int:
    from annotate_app.agreement.quality import annotator_quality

    with opened_votes(options) as (_, project, votes):
        show_briefly("measuring annotators")
        people = annotator_quality(votes)
        show_briefly("")
    if options.json:
        print_json({"project": project.name, "annotators": [person.as_dict() for person in people]})
        return 0
    shares = ("left", "longer", "ties", "skips", "consistency", "gold", "majority")
    rows = []
    for person in people:
        seconds = "-" if person.median_s != person.median_s else f"{person.median_s:.0f} s"
        parts = [figure(getattr(person, name).value, percent=True) for name in shares]
        rows.append([person.name, f"{person.num_judgments:,}", seconds, *parts])
    header = ("annotator", "judgments", "median", "left", "longer", "tie", "skip", "same again", "gold", "with others")
    print(text_table(header, rows))
    for person in people:
        for flag in person.flags:
            print(f"\n{person.name}: {flag}", end="")
    print()
    return 0


COMMANDS = (
    Command(name="agreement", help="How far annotators agree.", arguments=_agreement_arguments, run=_agreement),
    Command(
        name="aggregate", help="The consensus of the votes, by a rule.", arguments=_aggregate_arguments, run=_aggregate
    ),
    Command(
        name="leaderboard",
        help="Source models ranked by the votes.",
        arguments=_leaderboard_arguments,
        run=_leaderboard,
    ),
    Command(name="quality", help="How each annotator works.", arguments=project_arguments, run=_quality),
)
