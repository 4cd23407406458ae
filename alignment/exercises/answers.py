"""The exercises by name: what is asked, the figures, the answer that is expected, and whether it holds here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alignment.config.lab import Exercise
from alignment.exercises.kl_weights import kl_weights
from alignment.exercises.label_flips import label_flips
from alignment.exercises.reward_shapes import num_features, shapes
from alignment.exercises.solved import Solved
from rewardkit.report.table import text_table

Solve = Callable[[Sequence[int]], Solved]
EXERCISES: Mapping[Exercise, Solve] = {
    "flips": label_flips,
    "shape": shapes,
    "features": num_features,
    "kl": kl_weights,
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An exercise that was done.

    Attributes:
        seeds: of the worlds.
    """

    name: Exercise
    seeds: Sequence[int]
    solved: Solved

    @property
    def lines(self) -> list[str]:
        """For a terminal."""
        solved = self.solved
        return [
            f"{self.name}: {solved.question}",
            "",
            text_table(solved.header, solved.rows, num_left=solved.num_left),
            f"means over worlds {self.seeds[0]} to {self.seeds[-1]} with 95 % intervals over worlds",
            f"Expected: {solved.expected}",
            "It holds here." if solved.holds else "It does not hold here.",
        ]


def solve(names: Sequence[Exercise], seeds: Sequence[int]) -> list[Answer]:
    """Does exercises."""
    return [Answer(name=name, seeds=list(seeds), solved=EXERCISES[name](seeds)) for name in names]
