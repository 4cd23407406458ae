"""What an evaluation of a policy says, as plain dataclasses; computed in `evaluation`, shown in `report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alignment.watch.text_metrics import Kl, WinRate
from rewardkit.data.prompts import Prompt
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.stats.metrics import Interval


@dataclass(frozen=True, kw_only=True)
class PolicyFigures:
    """What one policy's completions are like; intervals are over prompts.

    Attributes:
        reward: mean over completions of the mean over members; None without a reward model.
        reward_std: mean over completions of the members' standard deviation (ddof = 1).
        length: tokens of a completion.
        cut: share of completions that did not end by themselves.
        distinct_1, distinct_2: different words and pairs of words by all.
        repetition: mean share of repeated 4-grams of words.
    """

    name: str
    reward: Interval | None
    reward_std: float | None
    length: Interval
    cut: Interval
    distinct_1: float
    distinct_2: float
    repetition: Interval


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What both policies wrote to one prompt, for people to read; rewards are None without a reward model."""

    prompt: Prompt
    base: str
    trained: str
    base_reward: float | None
    trained_reward: float | None


@dataclass(frozen=True, kw_only=True)
class SuiteFigure:
    """One part of the suite (`alignment.evaluation.suite`).

    Attributes:
        base, trained: shares, of text nats a token.
        difference: trained less base, paired by item.
    """

    name: str
    base: Interval
    trained: Interval
    difference: Interval
    num_items: int


@dataclass(frozen=True, kw_only=True)
class PolicyEvaluation:
    """All figures.

    Attributes:
        about: by name, how it was made.
        notes: what a reader has to know before believing a figure.
        reward_gain: trained minus base, of the same prompts.
        win_rate: of trained against base by the reward model.
        member_win_rates: the same by each member alone, where there are several.
        kl: of trained to base by estimator; empty where their tokens differ.
        suite: what training cost elsewhere; empty where it was not asked.
    """

    base: PolicyFigures
    trained: PolicyFigures
    num_prompts: int
    num_samples: int
    about: Mapping[str, str]
    notes: list[str] = field(default_factory=list)
    reward_gain: Interval | None = None
    win_rate: WinRate | None = None
    member_win_rates: list[float] = field(default_factory=list)
    kl: list[Kl] = field(default_factory=list)
    shown: list[Answered] = field(default_factory=list)
    suite: list[SuiteFigure] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Returns plain values for JSON; unknown figures are None. The completions are in their own file."""
        values = asdict(self)
        del values["shown"]
        if self.win_rate:
            values["win_rate"] |= {"tie_share": self.win_rate.tie_share}
        return finite(values)
