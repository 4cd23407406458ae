"""Turns votes into a consensus: which items are released, which need an adjudicator, which wait for votes.

The rules live in `annotate_app.consensus.rules`, the result in `annotate_app.consensus.consensus`. Nothing is rounded
on the way: the posterior goes on into training data as `p_chosen`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from annotate_app.consensus.consensus import REASON_CODES, STATE_CODES, Consensus
from annotate_app.consensus.judge_readings import Readings
from annotate_app.consensus.rules import NUM_CHOICES, apply_rule, choice_counts
from annotate_app.consensus.with_judges import join_judges
from annotate_app.protocol.collection_design import Design
from annotate_app.votes import CHOICE_CODES, Votes
from rewardkit.data.records import Comparison, Preference

EQUAL = 1e-9  # posteriors closer than this are a draw


class Settled(Protocol):
    """An adjudicator's decision: choice is a, b, tie, both_bad or discard."""

    @property
    def choice(self) -> str: ...

    @property
    def strength(self) -> int: ...

    @property
    def criteria(self) -> Mapping[str, int | tuple[int, int]]: ...


def release(
    votes: Votes,
    design: Design,
    adjudications: Mapping[str, Settled] | None = None,
    *,
    judges: Sequence[Readings] = (),
) -> Consensus:
    """Computes the consensus of a project: its rule, then its thresholds, then the adjudicators' decisions.

    An item waits while it has no votes, fewer than `min_votes`, or no clear winner with votes still to come (skips
    count as come). It is queued for adjudication when all wanted votes are in and there is still no single winner, the
    winner has less than `min_agreement`, or skips left fewer than `min_votes`. A decision of an adjudicator overrides
    all (one-hot posterior, its strength as margin); `discard` takes the item out. Items with a known answer that were
    only used as checks stay aside.

    Args:
        adjudications: decisions by comparison id; those on unknown ids are a ValueError.
        judges: machines whose votes are to count by what they were measured to know, under the rule `dawid_skene`
            (`annotate_app.consensus.with_judges`). Of an item they are one vote towards `min_votes`; they are never
            among `counts`, and an item does not wait for them.
    """
    counted = votes.counted()
    result = apply_rule(votes, counted, design.rule)
    joined = join_judges(result, design.rule, judges) if judges else None
    result = joined.result if joined else result
    counts, num_skips = choice_counts(counted), _skips(votes)
    weight = result.vote_weight
    leaders = result.p >= result.p.max(axis=1, keepdims=True) - EQUAL
    confidence = result.p.max(axis=1)
    single = (leaders.sum(axis=1) == 1) & (confidence > 0)
    choice = np.where(single, result.p.argmax(axis=1), -1)
    judged = joined.used > 0 if joined else np.zeros(len(votes.items), dtype=bool)
    state, reason = _states(votes, design, counts.sum(axis=1), judged, num_skips, choice, confidence)
    placed = weight * (counted.choice != CHOICE_CODES["both_bad"])
    consensus = Consensus(
        items=votes.items,
        annotators=votes.annotators,
        rule=design.rule,
        p=result.p,
        choice=choice.astype(np.int8),
        confidence=confidence,
        p_b=_p_b(result.p),
        margin=_mean(counted.item, counted.score, placed, len(votes.items), 0.0),
        criteria={
            name: _mean(counted.item, values, weight, len(votes.items), np.nan)
            for name, values in counted.criteria.items()
        },
        counts=counts,
        num_skips=num_skips,
        num_used=np.bincount(counted.item, weight, minlength=len(votes.items)) + (joined.used if joined else 0.0),
        state=state,
        reason=reason,
        adjudicated=np.zeros(len(votes.items), dtype=bool),
        reliability=result.reliability,
        converged=result.converged,
        num_iterations=result.num_iterations,
        log_likelihood=result.log_likelihood,
        notes=result.notes,
        judges=joined.weights if joined else (),
        judge_shares=joined.shares if joined else None,
    )
    consensus = _settle(consensus, adjudications or {})
    return replace(consensus, reliability=_reliability(consensus, counted))


def _skips(votes: Votes) -> np.ndarray:
    skipped = votes.is_collected & (votes.choice == CHOICE_CODES["skip"])
    return np.bincount(votes.item[skipped], minlength=len(votes.items))


def _states(
    votes: Votes,
    design: Design,
    num_votes: np.ndarray,
    judged: np.ndarray,
    num_skips: np.ndarray,
    choice: np.ndarray,
    confidence: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Decides the state (I,) and reason (I,) of each item from votes alone; later rules override earlier ones.

    Args:
        judged: (I,) whether judges count on an item.
    """
    all_in = num_votes + num_skips >= design.votes_wanted
    undecided, weak, few = choice < 0, confidence < design.min_agreement - EQUAL, num_votes + judged < design.min_votes
    state = np.full(len(votes.items), STATE_CODES["released"], dtype=np.int8)
    reason = np.zeros(len(votes.items), dtype=np.int8)
    for flawed, why in ((weak, "below min_agreement"), (undecided, "no majority"), (few, "fewer votes than min_votes")):
        state[flawed] = np.where(all_in[flawed], STATE_CODES["queued"], STATE_CODES["waiting"])
        reason[flawed] = REASON_CODES[why]
    empty = (num_votes == 0) & ~judged & ~all_in
    state[empty], reason[empty] = STATE_CODES["waiting"], REASON_CODES["no votes yet"]
    check = (votes.item_gold >= 0) & (num_votes + num_skips == 0)
    state[check], reason[check] = STATE_CODES["check"], REASON_CODES["a check item with a known answer"]
    return state, reason


def _settle(consensus: Consensus, adjudications: Mapping[str, Settled]) -> Consensus:
    """Applies the adjudicators' decisions to the consensus of the votes."""
    if not adjudications:
        return consensus
    columns = {
        name: getattr(consensus, name).copy()
        for name in ("p", "choice", "confidence", "p_b", "margin", "state", "reason", "adjudicated")
    }
    criteria = {name: values.copy() for name, values in consensus.criteria.items()}
    index_of = {key: index for index, key in enumerate(consensus.items)}
    for key, decision in adjudications.items():
        if key not in index_of:
            raise ValueError(f"there is a decision on comparison {key!r}, which is not among the items")
        index = index_of[key]
        columns["adjudicated"][index] = True
        if decision.choice == "discard":
            columns["state"][index] = STATE_CODES["discarded"]
            columns["reason"][index] = REASON_CODES["discarded by an adjudicator"]
            continue
        code = CHOICE_CODES[decision.choice]
        columns["p"][index] = np.eye(NUM_CHOICES)[code]
        columns["choice"][index], columns["confidence"][index] = code, 1.0
        columns["p_b"][index] = _p_b(columns["p"][index])
        columns["margin"][index] = {"a": -decision.strength, "b": decision.strength}.get(decision.choice, 0)
        columns["state"][index] = STATE_CODES["released"]
        columns["reason"][index] = REASON_CODES["decided by an adjudicator"]
        for name, value in decision.criteria.items():
            degrees = criteria.setdefault(name, np.full(len(consensus.items), np.nan))
            degrees[index] = value[1] - value[0] if isinstance(value, tuple) else value
    return replace(consensus, criteria=criteria, **columns)


def _p_b(p: np.ndarray) -> np.ndarray:
    """P(b better) of posteriors (..., 4): both-bad mass left out, tie mass halved; 0.5 if nothing is left."""
    decided = p[..., CHOICE_CODES["a"]] + p[..., CHOICE_CODES["b"]] + p[..., CHOICE_CODES["tie"]]
    better = p[..., CHOICE_CODES["b"]] + p[..., CHOICE_CODES["tie"]] / 2
    return np.clip(np.where(decided > EQUAL, better / np.maximum(decided, EQUAL), 0.5), 0.0, 1.0)


def _mean(item: np.ndarray, values: np.ndarray, weights: np.ndarray, num_items: int, default: float) -> np.ndarray:
    """(I,) weighted mean of values (N,) by item, NaN values left out."""
    answered = ~np.isnan(values.astype(np.float64))
    item, values, weights = item[answered], values[answered].astype(np.float64), weights[answered]
    total = np.bincount(item, weights, minlength=num_items)
    summed = np.bincount(item, weights * values, minlength=num_items)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), default)


def _reliability(consensus: Consensus, counted: Votes) -> np.ndarray:
    """The rule's estimate, else each annotator's share of votes equal to the winner of items that have one."""
    winner = consensus.choice[counted.item]
    judged = winner >= 0
    size = len(counted.annotators)
    right = np.bincount(counted.annotator[judged & (counted.choice == winner)], minlength=size)
    total = np.bincount(counted.annotator[judged], minlength=size)
    share = np.where(total > 0, right / np.maximum(total, 1), np.nan)
    return np.where(np.isnan(consensus.reliability), share, consensus.reliability)


def preferences(consensus: Consensus, comparisons: Iterable[Comparison]) -> Iterator[Preference]:
    """Training rows of the released items among `comparisons`, in their order; both-bad items give none.

    chosen is the completion with p >= 0.5 (a where both have 0.5), p_chosen its probability. weight is the number of
    votes used over their mean among the rows that all released items give, so that a cross-entropy on p_chosen under
    the majority rule equals that of the single votes up to a constant; an adjudicated item weighs 1.
    """
    weights = preference_weights(consensus)
    index_of = {key: index for index, key in enumerate(consensus.items)}
    for comparison in comparisons:
        index = index_of.get(comparison.id)
        if index is None or np.isnan(weights[index]):
            continue
        swapped = bool(consensus.p_b[index] > 0.5)
        shown = comparison.swap() if swapped else comparison
        sign = 1.0 if swapped else -1.0
        a, b, tie, both_bad = consensus.counts[index].tolist()
        degrees = {name: float(values[index]) * sign for name, values in consensus.criteria.items()}
        yield Preference(
            prompt=shown.prompt,
            chosen=shown.completion_a,
            rejected=shown.completion_b,
            p_chosen=float(max(consensus.p_b[index], 1 - consensus.p_b[index])),
            weight=float(weights[index]),
            margin=float(consensus.margin[index]) * sign,
            criteria={name: value for name, value in degrees.items() if value == value},
            votes={"chosen": b if swapped else a, "rejected": a if swapped else b, "tie": tie, "both_bad": both_bad},
            num_judgments=a + b + tie + both_bad,
            comparison_id=comparison.id,
            source_chosen=shown.source_a,
            source_rejected=shown.source_b,
            meta=shown.meta,
            turns_chosen=shown.turns_a,
            turns_rejected=shown.turns_b,
        )


def preference_weights(consensus: Consensus) -> np.ndarray:
    """(I,) weight of each released item's preference row, NaN for items that give none (see `preferences`)."""
    gives = (consensus.state == STATE_CODES["released"]) & (consensus.choice != CHOICE_CODES["both_bad"])
    voted = gives & ~consensus.adjudicated & (consensus.num_used > 0)
    mean = consensus.num_used[voted].mean() if voted.any() else 1.0
    return np.where(gives, np.where(voted, consensus.num_used / mean, 1.0), np.nan)
