"""How much people's reliability differs, read off their votes alone: no texts, no rewards, no torch.

Where an annotator's vote on a pair is +1 or -1 and right with probability (1 + s_a) / 2, whatever the pair, products of
two people's votes on one pair have the mean s_a s_b d, d of how far careful people agree at all. So the mean product
of somebody's votes with the others', over that of all, is their skill in units of the average: 1 is like everybody, 0
says nothing about what others say. A tie says neither and is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher

NOTABLE = 1 / 3  # spread; real votes with a third of the people made careless had 0.35 and more
SURE = 0.01  # p value under which it is told


@dataclass(frozen=True, kw_only=True)
class VoterSkill:
    """People's skill, in units of the average one.

    Attributes:
        skill: (R,) by person, NaN who shares no decided pair; a raw mean, which few votes leave far from the truth.
        num_votes: (R,) decided votes on pairs that somebody else decided too.
        spread: standard deviation of skill over people, beyond what chance makes of as many votes; 0 all are alike, NaN
            where fewer than two people can be told apart or votes do not agree beyond chance.
        p_value: of all being alike, by Fisher's F.
    """

    skill: np.ndarray
    num_votes: np.ndarray
    spread: float
    p_value: float

    @property
    def is_notable(self) -> bool:
        """Whether people surely differ so much that it may matter who voted."""
        return self.spread >= NOTABLE and self.p_value < SURE

    @property
    def words(self) -> str:
        """The spread, for people."""
        return f"people's skill differs by {self.spread:.0%} of its mean (standard deviation, p {self.p_value:.1g})"


def voter_skill(pair: np.ndarray, annotator: np.ndarray, vote: np.ndarray) -> VoterSkill:
    """Skill of each person, and its spread by analysis of variance with one random factor.

    x_ai = vote_ai times the mean of the others' votes on pair i; MSB = sum_a n_a (x_a - x)^2 / (R - 1), MSW the pooled
    variance within people, spread^2 = (MSB - MSW) / (n_0 x^2), n_0 = (N - sum n_a^2 / N) / (R - 1). Searle, Casella and
    McCulloch 1992, section 3.6. Votes on one pair are taken for independent once the people are known.

    Args:
        pair, annotator: (N,) int, from 0; nobody votes twice on a pair.
        vote: (N,) above 0 for the one answer, below 0 for the other, 0 for a tie.
    """
    num_people = int(annotator.max(initial=-1)) + 1
    side = np.sign(vote)
    decided = np.bincount(pair, np.abs(side))[pair] - 1.0
    known = (side != 0) & (decided > 0)
    others = np.bincount(pair, side)[pair] - side
    product, person = (side * others)[known] / decided[known], annotator[known]
    counts = np.bincount(person, minlength=num_people)
    sums = np.bincount(person, product, num_people)
    means = np.divide(sums, counts, out=np.full(num_people, np.nan), where=counts > 0)
    total, num_voters = len(product), int((counts > 0).sum())
    unknown = VoterSkill(skill=np.full(num_people, np.nan), num_votes=counts, spread=math.nan, p_value=math.nan)
    if num_voters < 2 or total <= num_voters or not (average := float(product.mean())) > 0:
        return unknown
    between = float(np.nansum(counts * (means - average) ** 2)) / (num_voters - 1)
    within = float(((product - means[person]) ** 2).sum()) / (total - num_voters)
    per_person = (total - float((counts**2).sum()) / total) / (num_voters - 1)
    if not within > 0:
        return unknown
    return VoterSkill(
        skill=means / average,
        num_votes=counts,
        spread=math.sqrt(max(0.0, between - within) / per_person) / average,
        p_value=float(fisher.sf(between / within, num_voters - 1, total - num_voters)),
    )
