"""Whether another turn is worth its labels, in words with the numbers that say so.

The gain of a turn is its policy's blind win rate against the turn before, less a half. The rule stops where the last
two turns gained less than their interval (it holds 0) and each interval also lies below WORTH: that an interval holds 0
shows nothing where it holds 10 points as well. Between the two lies "cannot say yet": too few votes.

Many looks: a loop of turns that gain nothing shows a gain at 95 % in one of forty of them, so the sentence says what
luck alone would do. A wrong stop takes two intervals that miss on the same side; for both to hold at once they are
widened to 97.5 % each (Bonferroni) before they are held against WORTH.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from annotate_app.turns.turn import TurnFigures
from rewardkit.stats.metrics import Interval

Verdict = Literal["stop", "go on", "cannot say"]

WORTH = 0.1
"""The gain that a turn is worth: a blind win rate of 60 % against the turn before."""
EVEN = 0.5
LOOKED_AT = 2
Z_ONE, Z_BOTH = 1.959964, 2.241403  # standard errors to the bounds of 95 % and of 97.5 %
LUCK = 0.025  # chance that the interval of a turn without gain lies above even


@dataclass(frozen=True, kw_only=True)
class StopAdvice:
    """What the stop rule says.

    Attributes:
        verdict: stop, go on, or cannot say yet.
        sentence: the reason with its numbers, and what to do.
        turns: numbers of the turns it rests on, oldest first.
    """

    verdict: Verdict
    sentence: str
    turns: tuple[int, ...] = ()


def stop_advice(turns: Sequence[TurnFigures]) -> StopAdvice:
    """The rule over the turns that ended.

    Args:
        turns: by number, oldest first; one that is open counts once its blind round has an interval.
    """
    ended = [turn for turn in turns if turn.state != "open" or _is_known(turn.against_previous)]
    checked = [turn for turn in ended if _is_known(turn.against_previous)]
    if not ended:
        return StopAdvice(verdict="cannot say", sentence="Cannot say yet: no turn has ended.")
    last = ended[-1]
    if last.against_previous is None or not last.against_previous.is_known:
        return StopAdvice(
            verdict="cannot say",
            sentence=f"Cannot say: turn {last.number} ended without enough blind votes against the turn before it.",
            turns=(last.number,),
        )
    gain = last.against_previous
    if gain.against(EVEN) < 0:
        return StopAdvice(
            verdict="stop",
            sentence=f"Stop, or go back: turn {last.number} lost to the turn before it, {_points(gain)}. "
            "Begin the next turn from the policy before, or find out what its reward model errs on.",
            turns=(last.number,),
        )
    if gain.against(EVEN) > 0:
        return StopAdvice(
            verdict="go on",
            sentence=f"Go on: turn {last.number} gained {_points(gain)} against the turn before it.{_luck(checked)}",
            turns=(last.number,),
        )
    if len(ended) < LOOKED_AT or not _is_known(ended[-2].against_previous):
        return StopAdvice(
            verdict="cannot say",
            sentence=f"Cannot say yet: turn {last.number} gained less than its interval, {_points(gain)}, and the rule "
            "asks for two turns in a row with a blind round.",
            turns=(last.number,),
        )
    return _two_turns(ended[-2], last)


def _two_turns(before: TurnFigures, last: TurnFigures) -> StopAdvice:
    """The rule where the last turn did not gain more than its interval."""
    numbers, earlier, late = (before.number, last.number), before.against_previous, last.against_previous
    assert earlier is not None
    assert late is not None
    shown = f"{_points(earlier)}, {_points(late, unit=False)}"
    if earlier.against(EVEN) > 0:
        return StopAdvice(
            verdict="go on",
            sentence=f"Go on, and watch: turn {before.number} gained, turn {last.number} less than its interval: "
            f"{shown}. One more such turn and the rule stops.",
            turns=numbers,
        )
    times = max(_times_the_votes(earlier), _times_the_votes(late))
    if times > 1:
        more = f"about {times:.0f} times as many votes" if times >= 1.5 else "somewhat more votes"
        if math.isinf(times):
            more = "more votes"
        return StopAdvice(
            verdict="cannot say",
            sentence=f"Cannot say yet: the last two turns gained less than their interval ({shown}), but these few "
            f"votes do not rule out a gain of {100 * WORTH:.0f} points either. It takes {more} a blind round.",
            turns=numbers,
        )
    return StopAdvice(
        verdict="stop",
        sentence=f"Stop: the last two turns gained less than their interval: {shown}. Each is below "
        f"{100 * WORTH:.0f} points, the gain that a turn is worth, with both intervals widened to hold at once.",
        turns=numbers,
    )


def _is_known(interval: Interval | None) -> bool:
    return interval is not None and interval.is_known


def _times_the_votes(rate: Interval) -> float:
    """How many times the votes it takes to rule out a gain of WORTH; at most 1 where it is ruled out.

    A bound lies as far from its value as 1 / sqrt(votes).
    """
    room = EVEN + WORTH - rate.value
    return ((rate.high - rate.value) * Z_BOTH / Z_ONE / room) ** 2 if room > 0 else math.inf


def _points(rate: Interval, *, unit: bool = True) -> str:
    """The gain of a win rate, as +1.2 points (-3 to 5)."""
    value, low, high = (100 * (figure - EVEN) for figure in (rate.value, rate.low, rate.high))
    return f"{value:+.1f}{' points' if unit else ''} ({_whole(low)} to {_whole(high)})"


def _whole(points: float) -> str:
    return f"{round(points):d}"


def _luck(checked: Sequence[TurnFigures]) -> str:
    """What chance does to so many looks; nothing where the last gain is beyond it, or is the only look."""
    looks = len(checked)
    rate = checked[-1].against_previous
    assert rate is not None
    spread = (rate.value - rate.low) / Z_ONE
    if looks < LOOKED_AT or (spread > 0 and math.erfc((rate.value - EVEN) / spread / math.sqrt(2)) / 2 < LUCK / looks):
        return ""
    chance = 1 - (1 - LUCK) ** looks
    return (
        f" After {looks} turns this may be luck: of {looks} that gained nothing, one would look like it with "
        f"{100 * chance:.0f} %."
    )
