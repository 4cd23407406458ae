"""Judges in the consensus, where somebody chose that: each by what it was measured to know, never by more.

People's posterior comes first, by Dawid and Skene's model of people alone. Each judge's confusion matrix is then
counted against it on the items that people judged, and mixed with answers that say nothing until its kappa is the lower
end of its interval. The judges of an item share one vote: machines err alike, and their number proves nothing. Nothing
a judge says changes what is believed of people or of another judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotate_app.consensus.judge_readings import Readings
from annotate_app.consensus.rules import NUM_CHOICES, RuleResult
from annotate_app.protocol.collection_design import Rule
from annotate_app.votes import CHOICE_CODES
from rewardkit.stats.metrics import Interval, percentile_interval
from rewardkit.stats.small_samples import LEAST, is_enough, kappa_at, share_bounds

NUM_RESAMPLES = 1000
SMOOTHING = 1.0  # votes a row of a confusion matrix, spread over all answers


@dataclass(frozen=True, kw_only=True)
class JudgeWeight:
    """What a judge counts for.

    Attributes:
        kappa: of its answers and people's posterior on `num_items` items, with its interval over them.
        weight: the lower end of the interval over kappa, 0 to 1: the share of its measured knowledge that is used.
    """

    judge: str
    num_items: int
    kappa: Interval
    weight: float

    def note(self) -> str:
        """In words."""
        measured = f"kappa {self.kappa.value:.2f} on {self.num_items:,} comparisons that people judged too"
        if self.weight == 0:
            return f"the judge {self.judge} counts for nothing: {measured}, not shown to be above 0"
        low = self.kappa.value * self.weight
        return f"the judge {self.judge} ({measured}) enters with the lower end of its interval, {low:.2f}"


@dataclass(frozen=True, kw_only=True)
class JoinedJudges:
    """A consensus that judges are part of.

    Attributes:
        result: the rule's result with the judges in it.
        weights: what each judge counts for.
        shares: (I, 4) the judges' votes by choice, one a judge that counts for something.
        used: (I,) weight of the vote that they share, 0 where none of them answered.
    """

    result: RuleResult
    weights: tuple[JudgeWeight, ...]
    shares: np.ndarray
    used: np.ndarray


def join_judges(result: RuleResult, rule: Rule, judges: Sequence[Readings], *, seed: int = 0) -> JoinedJudges:
    """Adds judges to what people's votes came to.

    p(k | item) ~ p_people(k) prod_j prod_c C_j[k, c]^(s_jc / J), s_jc the shares of the judge's answers, J the item's
    judges, C_j = t M_j + (1 - t) m_j with M_j its confusion matrix, m_j its answers over all items, t its weight. Items
    that nobody judged begin at the mean of the others, a and b alike: that most answers called a won elsewhere is no
    reason to prefer this one.

    Raises:
        ValueError: if the rule is another than dawid_skene.
    """
    if rule != "dawid_skene":
        raise ValueError(f"the rule is {rule}, allowed with judges is dawid_skene: it alone weighs by reliability")
    people = result.p
    voted = people.sum(axis=1) > 0
    if not voted.any():
        raise ValueError("people have judged nothing yet, so no judge's reliability can be measured")
    mean = people[voted].mean(axis=0)
    sides = [CHOICE_CODES["a"], CHOICE_CODES["b"]]
    mean[sides] = mean[sides].mean()
    prior = np.where(voted[:, None], people, mean)
    with np.errstate(divide="ignore"):
        scores = np.maximum(np.log(prior), -1e4)
    evidence, shares, used = np.zeros_like(scores), np.zeros_like(scores), np.zeros(len(scores))
    num_judges, weights = np.zeros(len(scores)), []
    for readings in judges:
        weight = _weigh(readings, people, voted, seed)
        weights.append(weight)
        if weight.weight == 0:
            continue
        both = voted & readings.answered
        counts = people[both].T @ readings.shares[both] + SMOOTHING / NUM_CHOICES
        answers = readings.shares[readings.answered].mean(axis=0)
        confusion = weight.weight * counts / counts.sum(axis=1, keepdims=True) + (1 - weight.weight) * answers
        evidence += readings.shares @ np.log(np.maximum(confusion, 1e-300)).T
        shares += readings.shares
        used += weight.weight * readings.answered
        num_judges += readings.answered
    sharing = np.maximum(num_judges, 1)
    scores = scores + evidence / sharing[:, None]
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    joined = np.where((num_judges > 0)[:, None], p, people)
    notes = tuple(weight.note() for weight in weights)
    return JoinedJudges(
        result=replace(result, p=joined, notes=(*result.notes, *notes)),
        weights=tuple(weights),
        shares=shares,
        used=used / sharing,
    )


def _weigh(readings: Readings, people: np.ndarray, voted: np.ndarray, seed: int) -> JudgeWeight:
    both = np.flatnonzero(voted & readings.answered)
    if len(both) == 0:
        return JudgeWeight(judge=readings.judge, num_items=0, kappa=Interval(value=math.nan), weight=0.0)
    own, truth = readings.shares[both], people[both]
    right = (own * truth).sum(axis=1)
    rows = np.column_stack([right, own, truth])
    value, percent = (float(part[0]) for part in _kappa(rows.mean(axis=0)[None]))
    low, high = math.nan, math.nan
    if is_enough(percent, len(both)):
        rng = np.random.default_rng(seed)
        samples = np.array([rng.poisson(1.0, len(both)) @ rows / len(both) for _ in range(NUM_RESAMPLES)])
        scale = samples[:, 1 : 1 + NUM_CHOICES].sum(axis=1, keepdims=True)
        low, high = percentile_interval(_kappa(samples / scale)[0])
    if not math.isfinite(low):
        low, high = (kappa_at(value, percent, bound) for bound in share_bounds(percent, len(both)))
    known = len(both) >= LEAST and value > 0 and math.isfinite(low)
    weight = min(max(low, 0.0) / value, 1.0) if known else 0.0
    return JudgeWeight(
        judge=readings.judge, num_items=len(both), kappa=Interval(value=value, low=low, high=high), weight=weight
    )


def _kappa(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) kappa and observed agreement from means of right, own shares and truth."""
    own, truth = means[:, 1 : 1 + NUM_CHOICES], means[:, 1 + NUM_CHOICES :]
    expected = (own * truth).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1 - 1e-12, (means[:, 0] - expected) / (1 - expected), np.nan), means[:, 0]
