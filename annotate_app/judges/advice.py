"""What a judge is good for, in words, by fixed rules over its figures; and what is wrong with it, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from annotate_app.agreement.reports.beside_people import Beside, MedianPerson
from annotate_app.judges.biases import Leanings, PositionBias
from rewardkit.report.table import interval_text, number_text, points_text
from rewardkit.stats.calibration import CalibrationFigures
from rewardkit.stats.metrics import Interval
from rewardkit.stats.small_samples import LEAST

Use = Literal["annotator", "pre-screen", "tie-breaker", "not at all", "not known"]
MARGIN = 0.05  # agreement that a judge may lack to the median person and still count as one
NOTABLE = 0.05  # smaller leanings are not named, however sure they are
MANY_REFUSALS = 0.05
MOST_VOTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to use a judge as.

    Attributes:
        why: the figure and the rule that led to it.
        more_votes: human votes, beyond those there are, that would show whether it is as good as the median person; 0
            where that is shown, None where they are more than MOST_VOTES, or not known.
    """

    use: Use
    why: str
    more_votes: int | None

    def sentence(self) -> str:
        """The whole advice."""
        words = {
            "annotator": "Use it as an annotator.",
            "pre-screen": "Use it as a pre-screen: take its answer where it is sure, and ask people about the rest.",
            "tie-breaker": "Use it as a tie-breaker beside people, not in their place.",
            "not at all": "Do not use it.",
            "not known": "Not known yet.",
        }[self.use]
        return f"{words} {self.why}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong with a judge, named: inverted, chance, position, length, self, calibration or refusals."""

    name: str
    sentence: str


def advise(
    overall: Beside,
    median: MedianPerson,
    surest: Beside | None,
    surest_share: float,
    findings: Sequence[Finding],
) -> Advice:
    """By these rules, the first that holds.

    Not known: fewer than LEAST comparisons that people judged too. Not at all: kappa not shown to be above 0, or below
    NOTABLE. Tie-breaker: it leans by length or to its own model, whatever its agreement, for then it moves the figures
    that it is asked for. Annotator: not worse than the median person by more than MARGIN, by the interval of the
    difference. Pre-screen: the same on the half it is surest of, against people's agreement there. Tie-breaker: better
    than chance, and no more is shown.

    Args:
        overall: on all comparisons.
        surest: on those it is surest of; None where it is not surer of some than of others.
        surest_share: their share.
        findings: what is wrong with it (`find`).
    """
    more = _more_votes(median)
    if overall.num_items < LEAST:
        why = f"People judged {overall.num_items} of its comparisons, and {LEAST} are the least to say anything."
        return Advice(use="not known", why=why, more_votes=more)
    kappa = overall.kappa
    if kappa.against(0.0) < 0:
        why = f"It answers against people: kappa {number_text(kappa)}, below 0. Is a or b turned round somewhere?"
        return Advice(use="not at all", why=why, more_votes=0)
    if not _beats_chance(kappa):
        why = f"That it agrees with people beyond chance is not shown: kappa {number_text(kappa)}, and 0 is chance."
        return Advice(use="not at all", why=why, more_votes=more)
    difference = median.difference
    leaning = [finding.sentence for finding in findings if finding.name in ("length", "self")]
    if leaning:
        why = f"It agrees with people beyond chance by a kappa of {number_text(kappa)}, but it leans. {leaning[0]}"
        return Advice(use="tie-breaker", why=why, more_votes=more)
    if difference.low > -MARGIN:
        why = (
            f"It is not worse than the median person by more than {MARGIN:.0%}: its agreement with the others "
            f"differs from theirs by {points_text(difference)} points."
        )
        return Advice(use="annotator", why=why, more_votes=0)
    if surest is not None and surest.difference.low > -MARGIN:
        why = (
            f"On the {surest_share:.0%} it is surest of it agrees with people as they do with each other "
            f"({points_text(surest.difference)} points); over all it is not shown to."
        )
        return Advice(use="pre-screen", why=why, more_votes=more)
    why = f"It agrees with people beyond chance by a kappa of {number_text(kappa)}, "
    if math.isnan(difference.value):
        why += "but nobody shares enough comparisons with others to say how far people agree themselves."
    elif difference.high < 0:
        why += f"but less than the median person: {points_text(difference)} points."
    else:
        why += f"but that it is as good as the median person is not shown: {points_text(difference)} points."
    return Advice(use="tie-breaker", why=why, more_votes=more)


def find(
    overall: Beside,
    position: PositionBias,
    lean: Leanings,
    calibration: CalibrationFigures | None,
    confidence: float,
    hit_rate: float,
    refused_share: float,
) -> tuple[Finding, ...]:
    """Names what is wrong: sure by its interval (or floor), and large enough to matter."""
    findings: list[Finding] = []

    def add(name: str, sentence: str) -> None:
        findings.append(Finding(name=name, sentence=sentence))

    if overall.num_items >= LEAST and overall.kappa.against(0.0) < 0:
        add("inverted", f"It says the opposite of people: kappa {number_text(overall.kappa)}.")
    elif overall.num_items >= LEAST and not _beats_chance(overall.kappa):
        add("chance", f"Its answers are not shown to be better than chance: kappa {number_text(overall.kappa)}.")
    first = position.first
    if first.against(0.5) and abs(first.value - 0.5) >= NOTABLE:
        side = "first" if first.value > 0.5 else "second"
        add(
            "position",
            f"It prefers what it is shown {side}: the first one wins {interval_text(first)} of the time, and "
            f"{interval_text(position.flips)} of its answers change with the order. Both orders together count as one.",
        )
    length = lean.length
    if length.against(0.0) and abs(length.value) >= NOTABLE:
        side = "longer" if length.value > 0 else "shorter"
        add(
            "length",
            f"It prefers the {side} answer beyond what people do: {points_text(length)} points of "
            "probability a doubling of length.",
        )
    own = lean.own
    if own.against(0.0) and abs(own.value) >= NOTABLE:
        verb = "favours" if own.value > 0 else "is harder on"
        add(
            "self",
            f"It {verb} its own model's answers beyond what people think of them: {points_text(own)} of probability.",
        )
    if calibration is not None and calibration.is_off:
        word = "surer" if confidence > hit_rate else "less sure"
        add(
            "calibration",
            f"It is {word} than it is right: it says {confidence:.0%} on average and a person agrees with its side "
            f"{hit_rate:.0%} of the time (calibration error {calibration.ece:.3f}, by chance up to "
            f"{calibration.ece_floor_high:.3f}).",
        )
    if refused_share >= MANY_REFUSALS:
        add("refusals", f"{refused_share:.0%} of its answers are refusals or cannot be read.")
    return tuple(findings)


def _beats_chance(kappa: Interval) -> bool:
    return kappa.against(0.0) > 0 and kappa.value >= NOTABLE


def _more_votes(median: MedianPerson) -> int | None:
    """Human votes that would bring the interval to the right side of -MARGIN, were the difference as it stands.

    The half-width falls with the root of the comparisons, each of as many votes as now.
    """
    difference = median.difference
    if not difference.is_known or not median.num_items:
        return None
    if difference.low > -MARGIN or difference.high < -MARGIN:
        return 0
    reach, target = (difference.high - difference.low) / 2, abs(difference.value + MARGIN)
    if target == 0:
        return None
    more = median.num_votes * ((reach / target) ** 2 - 1)
    return math.ceil(max(more, 1)) if more <= MOST_VOTES else None
