"""The release rules: how an item's votes become shares of a, b, tie and both bad.

A rule sees counted votes only and returns a posterior by item; what is released of it is decided in
`annotate_app.consensus.release`. Every rule is unchanged by the order of votes, people and items, and mirrors when a
and b are exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.consensus.dawid_skene_mace import LatentTruth, Triples, dawid_skene, mace
from annotate_app.protocol.collection_design import Rule
from annotate_app.votes import CHOICE_CODES, KIND_CODES, Votes
from rewardkit.heads.voter_skill import voter_skill

NUM_CHOICES = 4  # a, b, tie, both_bad: the codes of rewardkit.data.records.CHOICES without skip
SHRINK_VOTES = 4.0
ASSUMED_ACCURACY = 0.75


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """The result of a release rule.

    Attributes:
        p: (I, 4) probability of a, b, tie, both_bad; zeros for items without counted votes.
        vote_weight: (N,) how much of each counted vote was used, 0 to 1 (below 1 only where a rule leaves votes out).
        reliability: (R,) per annotator, 0 to 1, NaN where the rule does not estimate one.
        converged, num_iterations: of the fit; True and 0 for rules without one.
        log_likelihood: of the votes under the fitted model, NaN for rules without one.
        notes: what a reader has to know, in words.
    """

    p: np.ndarray
    vote_weight: np.ndarray
    reliability: np.ndarray
    converged: bool = True
    num_iterations: int = 0
    log_likelihood: float = float("nan")
    notes: tuple[str, ...] = ()


def apply_rule(votes: Votes, counted: Votes, rule: Rule) -> RuleResult:
    """Runs a rule on the counted votes; `votes` holds the gold answers that one of them needs."""
    match rule:
        case "majority":
            return majority(counted)
        case "gold_weighted":
            return gold_weighted(votes, counted)
        case "dawid_skene" | "mace":
            return latent_truth(counted, rule)
        case "most_agreeing_3":
            return most_agreeing_3(counted)


def choice_counts(votes: Votes, weights: np.ndarray | None = None) -> np.ndarray:
    """(I, 4) votes by choice, skips left out; with weights (N,) their sums."""
    decided = votes.choice < NUM_CHOICES
    cells = votes.item[decided].astype(np.int64) * NUM_CHOICES + votes.choice[decided]
    weights = None if weights is None else weights[decided]
    return np.bincount(cells, weights, minlength=len(votes.items) * NUM_CHOICES).reshape(-1, NUM_CHOICES)


def majority(counted: Votes) -> RuleResult:
    """Vote shares: every vote counts the same; a note says so where people surely differ in skill."""
    return RuleResult(
        p=_shares(choice_counts(counted).astype(np.float64)),
        vote_weight=np.ones(len(counted)),
        reliability=np.full(len(counted.annotators), np.nan),
        notes=_differing(counted),
    )


def _differing(counted: Votes) -> tuple[str, ...]:
    """What is to be said of how far people differ; nothing of votes that hang together, as of one ranking."""
    if counted.is_clustered:
        return ()
    sides = (counted.choice == CHOICE_CODES["a"]) * 1 - (counted.choice == CHOICE_CODES["b"])
    skill = voter_skill(counted.item, counted.annotator, sides)
    if not skill.is_notable:
        return ()
    return (f"{skill.words}, and every vote counts alike: the rule dawid_skene weighs people by their skill",)


def gold_accuracy(votes: Votes) -> tuple[np.ndarray, np.ndarray]:
    """(R,) right answers and (R,) answers of each annotator on gold items; skips and repeats are left out."""
    answered = (votes.item_gold[votes.item] >= 0) & (votes.choice < NUM_CHOICES) & (votes.kind != KIND_CODES["repeat"])
    right = answered & (votes.choice == votes.item_gold[votes.item])
    size = len(votes.annotators)
    return np.bincount(votes.annotator[right], minlength=size), np.bincount(votes.annotator[answered], minlength=size)


def gold_weighted(votes: Votes, counted: Votes) -> RuleResult:
    """Naive Bayes with each annotator's accuracy on gold items.

    p_k proportional to exp(sum of w_r over votes for k), w_r = log(a_r (C - 1) / (1 - a_r)) with C the answers in use
    and a_r = (right + 4 m) / (answered + 4), m the pooled accuracy: shrunk towards everybody's by 4 votes. Weights
    below 0 count as 0: who is worse than chance is ignored, not reversed. Nitzan and Paroush 1982 (log-odds weights).
    """
    right, answered = gold_accuracy(votes)
    notes: tuple[str, ...] = ()
    pooled = float(right.sum() / answered.sum()) if answered.sum() else ASSUMED_ACCURACY
    if not answered.sum():
        notes = (f"no gold item has been judged: every annotator counts with accuracy {ASSUMED_ACCURACY}",)
    accuracy = (right + SHRINK_VOTES * pooled) / (answered + SHRINK_VOTES)
    codes = _codes_in_use(counted)
    safe = np.clip(accuracy, 0.01, 0.99)
    weight = np.maximum(np.log(safe * (len(codes) - 1) / (1 - safe)), 0)
    scores = choice_counts(counted, weight[counted.annotator])[:, codes]
    p = np.zeros((len(counted.items), NUM_CHOICES))
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    p[:, codes] = odds / odds.sum(axis=1, keepdims=True)
    p[_unvoted(counted)] = 0
    return RuleResult(p=p, vote_weight=np.ones(len(counted)), reliability=accuracy, notes=notes)


def latent_truth(counted: Votes, rule: Rule) -> RuleResult:
    """Dawid-Skene or MACE over the answers in use."""
    codes = _codes_in_use(counted)
    position = np.full(NUM_CHOICES, -1)
    position[codes] = np.arange(len(codes))
    triples = Triples.of(
        counted.item,
        counted.annotator,
        position[counted.choice],
        num_items=len(counted.items),
        num_annotators=len(counted.annotators),
        num_codes=len(codes),
    )
    fitted: LatentTruth = dawid_skene(triples) if rule == "dawid_skene" else mace(triples)
    p = np.zeros((len(counted.items), NUM_CHOICES))
    p[:, codes] = fitted.p
    p[_unvoted(counted)] = 0
    silent = np.bincount(counted.annotator, minlength=len(counted.annotators)) == 0
    note = f"{rule} did not converge in {fitted.num_iterations} iterations"
    return RuleResult(
        p=p,
        vote_weight=np.ones(len(counted)),
        reliability=np.where(silent, np.nan, fitted.reliability),
        converged=fitted.converged,
        num_iterations=fitted.num_iterations,
        log_likelihood=fitted.log_likelihood,
        notes=() if fitted.converged else (note,),
    )


def most_agreeing_3(counted: Votes) -> RuleResult:
    """Shares among the 3 votes whose degrees lie closest together (the release rule of HelpSteer3, 2505.11475).

    Closest means the smallest range. Where several triples tie, their shares are averaged, so that neither order nor
    side decides. Items with up to 3 degrees keep them all. Both-bad votes have no degree: they are left out, unless
    they are more than half of an item's votes, which then keeps all its votes.
    """
    choice_both_bad = CHOICE_CODES["both_bad"]
    counts = choice_counts(counted)
    rejected = counts[:, choice_both_bad] * 2 > counts.sum(axis=1)
    weight = np.where(counted.choice == choice_both_bad, 0.0, 1.0)
    chosen = np.flatnonzero((weight > 0) & ~rejected[counted.item])
    order = chosen[np.lexsort((counted.score[chosen], counted.item[chosen]))]
    item, score = counted.item[order], counted.score[order].astype(np.int64)
    per_item = np.bincount(item, minlength=len(counted.items))
    starts = np.flatnonzero(item[2:] == item[:-2]) if len(item) > 2 else np.empty(0, dtype=np.int64)
    spread = score[starts + 2] - score[starts]
    least = np.full(len(counted.items), np.iinfo(np.int64).max)
    np.minimum.at(least, item[starts], spread)
    best = starts[spread == least[item[starts]]]
    num_best = np.bincount(item[best], minlength=len(counted.items))
    share = np.zeros(len(order))
    for offset in range(3):
        np.add.at(share, best + offset, 1 / num_best[item[best]])
    weight[order] = np.where(per_item[item] > 3, share, 1.0)
    weight[rejected[counted.item]] = 1.0
    return RuleResult(
        p=_shares(choice_counts(counted, weight)),
        vote_weight=weight,
        reliability=np.full(len(counted.annotators), np.nan),
    )


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)


def _codes_in_use(counted: Votes) -> np.ndarray:
    used = np.bincount(counted.choice, minlength=NUM_CHOICES) > 0
    used[[CHOICE_CODES["a"], CHOICE_CODES["b"]]] = True
    return np.flatnonzero(used)


def _unvoted(counted: Votes) -> np.ndarray:
    return np.bincount(counted.item, minlength=len(counted.items)) == 0
