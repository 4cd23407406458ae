"""Preferences beside the rewards that a model gives their completions. No torch: the model comes as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.records import Message, Preference
from rewardkit.reward.reward import RewardFn
from rewardkit.stats.calibration import Calibration, apply

CHUNK = 256  # completions between two reports of progress
Completion = tuple[tuple[Message, ...], str]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """N preferences and what K members say of them.

    Attributes:
        chosen, rejected: (K, N) rewards.
        prompt: (N,) number of each row's prompt.
        calibration: of the model, see `rewardkit.stats.calibration`.
    """

    rows: Sequence[Preference]
    chosen: np.ndarray
    rejected: np.ndarray
    prompt: np.ndarray
    calibration: Calibration = field(default_factory=dict)

    @property
    def num_members(self) -> int:
        """K, of the reward, which may have fewer than the model (`rewardkit.reward.reward`)."""
        return len(self.chosen)

    @property
    def member_margins(self) -> np.ndarray:
        """(K, N) chosen minus rejected reward by each member."""
        return self.chosen - self.rejected

    @property
    def margins(self) -> np.ndarray:
        """(N,) chosen minus rejected of the mean reward."""
        return self.member_margins.mean(0)

    @property
    def member_probabilities(self) -> np.ndarray:
        """(K, N) calibrated probability of chosen by each member."""
        return apply(self.calibration, self.member_margins)

    @property
    def probabilities(self) -> np.ndarray:
        """(N,) calibrated probability of chosen, the members averaged out."""
        return self.member_probabilities.mean(0)

    @property
    def p_chosen(self) -> np.ndarray:
        return np.array([row.p_chosen for row in self.rows])

    @property
    def weight(self) -> np.ndarray:
        return np.array([row.weight for row in self.rows])

    def take(self, indices: np.ndarray) -> Scored:
        """Returns some of the rows, by their numbers or by a mask."""
        numbers = np.arange(len(self.rows))[indices]
        return replace(
            self,
            rows=[self.rows[number] for number in numbers],
            chosen=self.chosen[:, numbers],
            rejected=self.rejected[:, numbers],
            prompt=self.prompt[numbers],
        )

    def decided(self) -> Scored:
        """The rows where people prefer one completion, which alone can be predicted rightly or wrongly."""
        return self.take((self.p_chosen > 0.5) & (self.weight > 0))


def score_preferences(
    rows: Sequence[Preference],
    reward_fn: RewardFn,
    *,
    calibration: Calibration | None = None,
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> Scored:
    """Scores all completions by a model; a completion that is in several rows is scored once.

    Args:
        told: called with how many completions are scored, and how many there are.
    """
    numbers: dict[Completion, int] = {}
    for row in rows:
        for text in (row.chosen, row.rejected):
            numbers.setdefault((row.prompt, text), len(numbers))
    members = score_completions(list(numbers), reward_fn, told=told)
    prompts: dict[str, int] = {}
    return Scored(
        rows=rows,
        chosen=members[:, [numbers[row.prompt, row.chosen] for row in rows]],
        rejected=members[:, [numbers[row.prompt, row.rejected] for row in rows]],
        prompt=np.array([prompts.setdefault(normal_prompt(row.prompt), len(prompts)) for row in rows], dtype=np.int64),
        calibration=calibration or {},
    )


def score_completions(
    completions: Sequence[Completion],
    reward_fn: RewardFn,
    *,
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> np.ndarray:
    """(K, B) rewards of completions, each with its prompt.

    Raises:
        ValueError: if there is none, or a reward is not finite.
    """
    if not completions:
        raise ValueError("there is nothing to score")
    parts = []
    for start in range(0, len(completions), CHUNK):
        part = completions[start : start + CHUNK]
        parts.append(reward_fn([prompt for prompt, _ in part], [text for _, text in part]).members)
        told(min(start + CHUNK, len(completions)), len(completions))
    members = np.concatenate(parts, axis=1)
    if bad := int((~np.isfinite(members)).any(0).sum()):
        raise ValueError(f"the model gives {bad} of {len(completions)} completions a reward that is not finite")
    return members
