"""Completions that vote for their answers: the answer that most of them give, or that has the most reward behind it.

An answer is the number that `alignment.verifiers.numbers.read_answer` finds; a completion without one does not vote.
No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from alignment.verifiers.numbers import agree, read_answer


def elected(texts: Sequence[str], rewards: Sequence[float], *, weighted: bool) -> int | None:
    """Returns the completion of largest reward among those with the elected answer; None where none has an answer.

    answer = argmax_a sum over i with answer a of w_i,  w = 1 or the reward; of equal sums the one that came first.
    Wang et al. 2023 (self-consistency, arXiv 2203.11171); weighted: Li et al. 2023, eq. 3 (arXiv 2206.02336), where
    weights are probabilities: a reward below 0 votes against its answer.

    Args:
        texts: n completions of a prompt.
        rewards: their n rewards.
    """
    answers: list[frozenset[Fraction]] = []
    voters: list[list[int]] = []
    for number, text in enumerate(texts):
        if (answer := read_answer(text)) is None:
            continue
        place = next((place for place, other in enumerate(answers) if agree(answer, other)), len(answers))
        if place == len(answers):
            answers.append(answer)
            voters.append([])
        voters[place].append(number)
    if not voters:
        return None
    sums = [sum(rewards[number] if weighted else 1.0 for number in of_one) for of_one in voters]
    return max(voters[int(np.argmax(sums))], key=lambda number: rewards[number])
