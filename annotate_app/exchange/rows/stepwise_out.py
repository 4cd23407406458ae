"""Answers in steps as rows of TRL's stepwise form: by step the share of people who say that it is right.

A neutral vote counts half, a soft label that was imported what it says. What an adjudicator decided of a step stands
before the votes: 1, 0.5 or 0, and null for one that was discarded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from typing import Any

from annotate_app.access import Actor
from annotate_app.exchange.rows.kinds_of_judgments import with_kinds
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.votes import COLLECTED_KINDS, Votes
from rewardkit.data.export_formats import split_of
from rewardkit.data.records import Comparison, StepLabels, step_id
from rewardkit.data.stepwise.stepped_answer import SteppedAnswer
from rewardkit.data.stepwise.stepwise_rows import are_hard, stepwise_row

DECIDED = {"a": 1.0, "tie": 0.5, "b": 0.0, "both_bad": None, "discard": None}
Row = dict[str, Any]


def stepwise_rows(
    store: Store,
    actor: Actor,
    project: Project,
    votes: Votes,
    options: ExportOptions,
    decisions: Mapping[str, Decision],
    left_out: Counter[str],
    keys: Container[str] | None = None,
) -> Iterator[tuple[str, Row]]:
    """The answers of which a step has a label, with the split each falls into, in the order they came.

    Labels given on checks do not count. Labels are true and false, as TRL's trainer takes them, where none of all rows
    lies between; else all are numbers.

    Args:
        votes: of the same project; they know which judgments were made on a check.
        options: `min_votes` are the votes a step needs, `adjudicated_only` leaves only decided steps a label.
        decisions: by id of a step, what was decided.
        left_out: is told, by reason, how many answers give no row.
        keys: ids of the comparisons to take; None takes all.
    """
    given: defaultdict[str, list[StepLabels]] = defaultdict(list)
    for judgment, kind in with_kinds(store.judgments.iterate(actor, project.id), votes):
        if judgment.step_labels and kind in COLLECTED_KINDS:
            given[judgment.comparison_id].append(judgment.step_labels)

    def labeled() -> Iterator[tuple[Comparison, StepLabels]]:
        for one in store.comparisons.iterate(actor, project.id):
            if keys is None or one.id in keys:
                yield one, _labels(one, given.get(one.id, []), decisions, options)

    hard = are_hard(labels for _, labels in labeled())
    for comparison, labels in labeled():
        if all(label is None for label in labels):
            left_out["no judged step"] += 1
            continue
        split = split_of(comparison.prompt, options.splits, options.seed) if options.splits else ""
        yield split, _row(comparison, labels, given.get(comparison.id, []), hard, options)


def _labels(
    comparison: Comparison, said: list[StepLabels], decisions: Mapping[str, Decision], options: ExportOptions
) -> StepLabels:
    return tuple(
        _label([labels[place] for labels in said], decisions.get(step_id(comparison.id, place)), options)
        for place in range(len(comparison.steps))
    )


def _label(votes: list[float | None], decision: Decision | None, options: ExportOptions) -> float | None:
    if decision is not None:
        return DECIDED[decision.choice]
    counted = [vote for vote in votes if vote is not None]
    if options.adjudicated_only or len(counted) < max(1, options.min_votes):
        return None
    return sum(counted) / len(counted)


def _row(comparison: Comparison, labels: StepLabels, said: list[StepLabels], hard: bool, options: ExportOptions) -> Row:
    num_votes = [sum(one[place] is not None for one in said) for place in range(len(comparison.steps))]
    others: Row = {"num_votes": num_votes, "num_judgments": len(said)}
    others |= {"source": comparison.source_a} if options.sources else {}
    answer = SteppedAnswer(prompt=comparison.prompt, steps=comparison.steps, labels=labels, metadata=others)
    return {"id": comparison.id, **stepwise_row(answer, hard=hard)}
