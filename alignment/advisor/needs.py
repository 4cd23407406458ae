"""What data a way needs and whether there is enough: by a learning curve where there is one, else by published runs.

accuracy = a + b log2(pairs), least squares over the curve's points: b is what doubling the pairs adds, in points. Of
7 reward models on 8k to 64k comparisons it was about 1.1 points (Stiennon et al. 2020, section 4.3, arXiv 2009.01325).
A straight line has no ceiling: it is not to be followed past four times the largest point.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alignment.advisor.ways import WayName, draws_with_model
from alignment.config.advisor import AdvisorConfig

Verdict = Literal["enough", "thin", "too few"]
GAIN_PER_DOUBLING = 0.011
FARTHEST = 4
LITTLE = 0.005
"""Of accuracy: doubling that adds less is not worth its labels."""
# Pairs or prompts of runs that worked; half of them are enough here, below a twentieth there are too few.
DPO_PAIRS, DPO_SOURCE = 61_966, "Zephyr (Tunstall et al. 2023)"
REWARD_PAIRS, REWARD_SOURCE = 33_207, "InstructGPT's reward model (Ouyang et al. 2022, table 6)"
SFT_ANSWERS, SFT_SOURCE = 12_725, "InstructGPT's SFT (Ouyang et al. 2022, table 6)"
PROMPTS, PROMPT_SOURCE = 31_144, "InstructGPT's PPO (Ouyang et al. 2022, table 6)"
ENOUGH, TOO_FEW = 2, 20


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """A line through accuracies of reward models by their number of pairs.

    Attributes:
        at_one: a, its value at one pair; only of use with the slope.
        per_doubling: b.
        error: standard error of b; nan with two points.
        largest: pairs of the largest point.
    """

    at_one: float
    per_doubling: float
    error: float
    largest: float

    def accuracy(self, pairs: float) -> float:
        """On held-out pairs; at four times the largest point where there are more."""
        return min(1.0, self.at_one + self.per_doubling * math.log2(min(pairs, FARTHEST * self.largest)))

    def pairs_for(self, gain: float, pairs: float) -> float:
        """Pairs at which accuracy is higher by `gain` than at `pairs`; infinite where it does not rise."""
        return pairs * 2 ** min(64.0, gain / self.per_doubling) if self.per_doubling > 0 else math.inf


@dataclass(frozen=True, kw_only=True)
class Need:
    """One kind of data that a way needs.

    Attributes:
        what: its name.
        available: how many there are.
        reference: how many a published run had.
        verdict: what comes of the two.
        words: the reason.
    """

    what: str
    available: int
    reference: int
    verdict: Verdict
    words: str


def fit_learning_curve(points: Sequence[tuple[float, float]]) -> LearningCurve:
    """The line through (pairs, accuracy).

    Raises:
        ValueError: of fewer than two different numbers of pairs, or values out of range.
    """
    if len({pairs for pairs, _ in points}) < 2:
        raise ValueError(f"a learning curve takes two numbers of pairs or more, there are {len(points)} points")
    for pairs, accuracy in points:
        if not (pairs >= 1 and 0 <= accuracy <= 1):
            raise ValueError(f"pairs {pairs:g} and accuracy {accuracy:g}, allowed are 1 or more and 0 to 1")
    at = [math.log2(pairs) for pairs, _ in points]
    values = [accuracy for _, accuracy in points]
    slope, at_one = statistics.linear_regression(at, values)
    rest = sum((y - at_one - slope * x) ** 2 for x, y in zip(at, values, strict=True))
    spread = len(at) * statistics.pvariance(at)
    error = math.sqrt(rest / (len(points) - 2) / spread) if len(points) > 2 else math.nan
    largest = max(pairs for pairs, _ in points)
    return LearningCurve(at_one=at_one, per_doubling=slope, error=error, largest=largest)


def read_learning_curve(path: str) -> LearningCurve:
    """The curve of a file of rows with `pairs` and `accuracy`.

    Raises:
        ValueError, FileNotFoundError: if it cannot be read, or a row lacks one of them.
    """
    from rewardkit.data.files import read_rows

    points = []
    for number, row in read_rows(path):
        try:
            points.append((float(row["pairs"]), float(row["accuracy"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}:{number} has no numbers `pairs` and `accuracy`") from error
    return fit_learning_curve(points)


def needs(way: WayName, config: AdvisorConfig, curve: LearningCurve | None) -> tuple[Need, ...]:
    """What a way needs of what there is."""
    own: list[Need] = []
    if way == "sft+dpo":
        own.append(_need("pairs", config.pairs, DPO_PAIRS, DPO_SOURCE))
    elif draws_with_model(way, config) and not config.reward_model:
        own.append(_need("pairs for the reward model", config.pairs, REWARD_PAIRS, REWARD_SOURCE, curve))
    elif not config.tuned:
        own.append(_need("chosen answers for SFT", config.pairs, SFT_ANSWERS, SFT_SOURCE))
    if way in ("online-dpo", "grpo", "ppo"):
        own.append(_need("prompts", config.num_prompts, PROMPTS, PROMPT_SOURCE))
    return tuple(own)


def _need(what: str, available: int, reference: int, source: str, curve: LearningCurve | None = None) -> Need:
    if curve is not None:
        return _by_curve(what, available, reference, curve)
    verdict: Verdict = (
        "enough" if ENOUGH * available >= reference else "thin" if TOO_FEW * available >= reference else "too few"
    )
    words = f"{available:,} beside {reference:,} of {source}"
    if what == "pairs for the reward model":
        words += (
            f"; doubling them is worth about {100 * GAIN_PER_DOUBLING:.1f} points of accuracy (Stiennon et al. 2020)"
        )
    return Need(what=what, available=available, reference=reference, verdict=verdict, words=words)


def _by_curve(what: str, available: int, reference: int, curve: LearningCurve) -> Need:
    """Enough where doubling adds little; too few where the reward is right hardly more often than a coin."""
    accuracy = curve.accuracy(available)
    verdict: Verdict = "too few" if accuracy < 0.6 else "enough" if curve.per_doubling < LITTLE else "thin"
    spread = "" if math.isnan(curve.error) else f" ± {100 * 1.96 * curve.error:.1f}"
    words = (
        f"by your learning curve {accuracy:.1%} accurate with {available:,}, and doubling them adds "
        f"{100 * curve.per_doubling:.1f}{spread} points"
    )
    return Need(what=what, available=available, reference=reference, verdict=verdict, words=words)
