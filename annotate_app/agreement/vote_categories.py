"""Votes as categories: the nominal answer (a, tie, b, both bad) and the degree on the preference scale.

Which votes count: `Votes.counted`. A both-bad vote is a category of its own in nominal figures; in ordinal figures it
is missing, because it has no place between a and b; where ties leave or count half, it is treated as a tie, because
both answers decline to prefer. Everything is in content space, so the sides that a page showed cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from annotate_app.agreement.bootstrap import Tally, tally
from annotate_app.votes import CHOICE_CODES, Votes

# Order of the nominal categories: exchanging a and b reverses the first three.
NOMINAL = ("a", "tie", "b", "both_bad")
NOMINAL_CODES = {name: code for code, name in enumerate(NOMINAL)}
_FROM_CHOICE = np.full(len(CHOICE_CODES), -1)
for _name, _code in NOMINAL_CODES.items():
    _FROM_CHOICE[CHOICE_CODES[_name]] = _code


@dataclass(frozen=True, kw_only=True)
class Ballots:
    """N answers to one question (the overall one or a criterion).

    Attributes:
        item, annotator: (N,) int, as in Votes.
        nominal: (N,) int, index into NOMINAL.
        degree: (N,) int, index into levels, -1 where the vote has no place on the scale (both bad).
        categories: the nominal codes that this question knows, ascending; a and b always.
        levels: (L,) ascending signed degrees in use, closed under exchange of a and b.
        num_items, num_annotators: sizes of the index spaces.
    """

    item: np.ndarray
    annotator: np.ndarray
    nominal: np.ndarray
    degree: np.ndarray
    categories: tuple[int, ...]
    levels: np.ndarray
    num_items: int
    num_annotators: int

    @cached_property
    def answer(self) -> np.ndarray:
        """(N,) int, index into categories."""
        position = np.full(len(NOMINAL), -1)
        position[list(self.categories)] = np.arange(len(self.categories))
        return position[self.nominal]

    @cached_property
    def nominal_tally(self) -> Tally:
        """Items by counts of the nominal categories."""
        return tally(self.item, self.answer, self.num_items, len(self.categories))

    def annotator_counts(self) -> np.ndarray:
        """(R, C) votes by annotator and nominal category."""
        width = len(self.categories)
        cells = self.annotator.astype(np.int64) * width + self.answer
        return np.bincount(cells, minlength=self.num_annotators * width).reshape(-1, width)

    def degree_tally(self) -> Tally:
        """Items by counts of the levels; votes without a degree are missing."""
        placed = self.degree >= 0
        return tally(self.item[placed], self.degree[placed], self.num_items, len(self.levels))


def overall_ballots(votes: Votes) -> Ballots:
    """The overall answers of counted votes."""
    nominal = _FROM_CHOICE[votes.choice]
    if (nominal < 0).any():
        raise ValueError("skips have no category: pass Votes.counted()")
    return _ballots(votes, nominal, votes.score, nominal != NOMINAL_CODES["both_bad"])


def criterion_ballots(votes: Votes, name: str) -> Ballots:
    """The answers on one criterion, of the counted votes that gave one."""
    answered = ~np.isnan(votes.criteria[name])
    answers = votes.where(answered)
    values = answers.criteria[name]
    nominal = np.sign(values).astype(np.int64) + 1
    return _ballots(answers, nominal, values, np.ones(len(values), dtype=bool))


def _ballots(votes: Votes, nominal: np.ndarray, values: np.ndarray, has_degree: np.ndarray) -> Ballots:
    values = values.astype(np.int64)
    reach = int(np.abs(values).max(initial=0))
    is_used = np.bincount(values[has_degree] + reach, minlength=2 * reach + 1) > 0
    position = np.where(is_used | is_used[::-1], np.cumsum(is_used | is_used[::-1]) - 1, -1)
    degree = np.where(has_degree, position[values + reach], -1)
    always = {NOMINAL_CODES["a"], NOMINAL_CODES["b"]}
    used = np.flatnonzero(np.bincount(nominal, minlength=len(NOMINAL)))
    return Ballots(
        item=votes.item,
        annotator=votes.annotator,
        nominal=nominal,
        degree=degree,
        categories=tuple(sorted(always | {int(code) for code in used})),
        levels=np.flatnonzero(position >= 0) - float(reach),
        num_items=len(votes.items),
        num_annotators=len(votes.annotators),
    )
