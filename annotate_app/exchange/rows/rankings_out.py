"""Rankings as rows: each as it was given, or those of a comparison as one order; and what of them goes out otherwise.

A choice between two responses is a ranking of two, so that each as it was given is a row a vote with who cast it.

The order of many is by the mean share of votes that a response wins against the others (Borda's count over the pairs
that were compared, half a win for a tie): equal shares are ties, a response that nobody ranked has no rank.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate_app.access import Actor
from annotate_app.exchange.rows.kinds_of_judgments import CHECK, with_kinds
from annotate_app.exchange.rows.options import ExportForm, ExportOptions
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.votes import COLLECTED_KINDS, Votes
from rewardkit.data.export_formats import split_of
from rewardkit.data.rankings.ranking import Ranking
from rewardkit.data.rankings.ranking_rows import ranking_row
from rewardkit.data.records import (
    Comparison,
    Judgment,
    Preference,
    Ranks,
    dense,
    ranked_pairs,
    ranks_of_choice,
    split_pair_id,
)

SAME = 1e-9  # shares closer than this are a tie
Row = dict[str, Any]


def ranking_rows(
    store: Store,
    actor: Actor,
    project: Project,
    votes: Votes,
    options: ExportOptions,
    called: Mapping[str, str],
    left_out: Counter[str],
    keys: Container[str] | None = None,
) -> Iterator[tuple[str, Row]]:
    """The rankings that count, checks left out, with the split each falls into, in the order of their comparisons.

    Args:
        votes: of the same project; they know which judgments were made on a check.
        options: the form is `rankings` for each ranking as it was given, `ranking` for one of each comparison.
        called: by annotator, the name to give.
        left_out: is told, by reason, how many judgments or comparisons give no row.
        keys: ids of the comparisons to take; None takes all.
    """
    given: defaultdict[str, list[Judgment]] = defaultdict(list)
    for judgment, kind in with_kinds(store.judgments.iterate(actor, project.id), votes):
        if keys is not None and judgment.comparison_id not in keys:
            continue
        if why := _why_not(judgment, kind):
            left_out[why] += options.form == "rankings"
        else:
            given[judgment.comparison_id].append(judgment)
    for comparison in store.comparisons.iterate(actor, project.id):
        if keys is not None and comparison.id not in keys:
            continue
        judgments = given.get(comparison.id, [])
        split = split_of(comparison.prompt, options.splits, options.seed) if options.splits else ""
        if options.form == "rankings":
            for judgment in judgments:
                row = _row(comparison, judged_ranks(judgment), options)
                yield split, row | {"annotator": called[judgment.annotator], "created_at": judgment.created_at or None}
        elif len(judgments) < max(1, options.min_votes):
            left_out["no ranking" if not judgments else f"fewer than {options.min_votes} rankings"] += 1
        else:
            ranks = join_ranks([judged_ranks(judgment) for judgment in judgments])
            yield split, _row(comparison, ranks, options) | {"num_judgments": len(judgments)}


def _why_not(judgment: Judgment, kind: str) -> str:
    if kind not in COLLECTED_KINDS:
        return CHECK
    return {"skip": "skipped", "both_bad": "all bad"}.get(judgment.choice, "")


def judged_ranks(judgment: Judgment) -> Ranks:
    """The ranks of a judgment; of one on two responses, those that its choice says."""
    return judgment.ranks or ranks_of_choice(judgment.choice)


def join_ranks(rankings: Sequence[Ranks]) -> Ranks:
    """One order from many of the same responses; see the module."""
    size = len(rankings[0])
    wins, met = np.zeros((size, size)), np.zeros((size, size))
    for ranks in rankings:
        for first, second, said in ranked_pairs(ranks):
            met[first, second] += 1
            met[second, first] += 1
            wins[first, second] += {"a": 1.0, "tie": 0.5, "b": 0.0}[said]
            wins[second, first] += {"a": 0.0, "tie": 0.5, "b": 1.0}[said]
    share = np.where(met > 0, wins / np.maximum(met, 1), 0.5)
    np.fill_diagonal(share, 0.0)
    mean = share.sum(axis=1) / (size - 1)
    is_ranked = [any(ranks[place] is not None for ranks in rankings) for place in range(size)]
    rounded = [-round(float(value) / SAME) for value in mean]
    return dense([value if ranked else None for value, ranked in zip(rounded, is_ranked, strict=True)])


def _row(comparison: Comparison, ranks: Ranks, options: ExportOptions) -> Row:
    ranking = Ranking(id=comparison.id, prompt=comparison.prompt, responses=comparison.responses, ranks=ranks)
    return ranking_row(ranking, sources=options.sources)


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What a pair of a ranking gives where single answers go out: its chosen one only where it is the best of all,
    its rejected one only where it is the worst. Those between are neither.
    """

    best: bool
    worst: bool

    def has(self, form: ExportForm, row: Row) -> bool:
        """Whether a row of the pair goes out."""
        if form == "sft":
            return self.best
        return self.best if row["label"] else self.worst


def ends_of_rankings(preferences: Mapping[str, Preference], pairs: Iterable[Comparison]) -> dict[str, Ends]:
    """By id of a ranking's pair, what it gives; pairs that are comparisons of their own are not among them.

    Args:
        preferences: by pair, the released preference.
        pairs: the released pairs.
    """
    chosen: defaultdict[str, Counter[int]] = defaultdict(Counter)
    rejected: defaultdict[str, Counter[int]] = defaultdict(Counter)
    placed: dict[str, tuple[str, int, int]] = {}
    for pair in pairs:
        place, preference = split_pair_id(pair.id), preferences.get(pair.id)
        if place is None or preference is None:
            continue
        key, first, second = place
        if preference.chosen != pair.completion_a:
            first, second = second, first
        chosen[key][first] += 1
        rejected[key][second] += 1
        placed[pair.id] = (key, first, second)
    ends: dict[str, Ends] = {}
    told: set[tuple[str, str]] = set()
    for pair_key, (key, better, worse) in placed.items():
        best = not rejected[key][better] and (key, "best") not in told
        worst = not chosen[key][worse] and (key, "worst") not in told
        told |= {(key, name) for name, is_it in (("best", best), ("worst", worst)) if is_it}
        ends[pair_key] = Ends(best=best, worst=worst)
    return ends
