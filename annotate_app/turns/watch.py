"""Reward hacking across turns: what only shows when turns are held against each other, with cause and what to do.

A training's own watcher (`alignment.watch`) sees one run; here the proxy is the reward that each turn's policy was
trained by, and people's blind votes are the measure. A change between two turns is one where it is beyond chance: z =
difference / sqrt(sum of squared standard errors), standard errors from intervals of 95 %. A figure without an interval
raises no alarm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alignment.watch.alarms import Alarm, Severity
from alignment.watch.history import LIKELY, SURE, Sign
from annotate_app.turns.stop_rule import EVEN, WORTH, Z_ONE
from annotate_app.turns.turn import TurnFigures
from rewardkit.stats.metrics import Interval

LENGTH_RATIO = 1.25
"""Length of a reply to that of the turn before."""
KL_RATIO, LEAST_KL = 1.5, 1.0
"""KL to that of the turn before, and nats a reply that it has reached."""
LEAST_FALL = 0.05
"""Of the reward model's accuracy."""


@dataclass(frozen=True, kw_only=True)
class TurnFailure:
    """A way in which a loop fails, a row of the table; see `alignment.watch.failure_modes.FailureMode`."""

    kind: str
    title: str
    severity: Severity
    cause: str
    advice: str
    sign: Callable[[TurnFigures, TurnFigures], Sign | None]


def turn_alarms(turns: Sequence[TurnFigures]) -> list[Alarm]:
    """The alarms of all turns, the newest turn's first; `step` is the turn's number, `metrics` are figures of it.

    An alarm of an earlier turn counts as cleared at the next turn that has the same figures and does not raise it.

    Args:
        turns: by number, oldest first.
    """
    alarms: list[Alarm] = []
    for place, (before, now) in enumerate(itertools.pairwise(turns), 1):
        for failure in TURN_FAILURES:
            sign = failure.sign(before, now)
            if sign is None:
                continue
            alarms.append(
                Alarm(
                    kind=failure.kind,
                    title=failure.title,
                    step=now.number,
                    severity=failure.severity,
                    cause=failure.cause,
                    figure=sign.figure,
                    metrics=sign.metrics,
                    advice=failure.advice,
                    cleared_at=_cleared_at(failure, sign, turns[place:]),
                )
            )
    return alarms[::-1]


def _cleared_at(failure: TurnFailure, sign: Sign, turns: Sequence[TurnFigures]) -> int | None:
    for before, now in itertools.pairwise(turns):
        figures = [getattr(turn, name) for turn in (before, now) for name in sign.metrics if name != "against_previous"]
        if None not in figures and failure.sign(before, now) is None:
            return now.number
    return None


def change_z(before: Interval | None, now: Interval | None) -> float:
    """Standard errors by which a figure rose between two turns, below 0 where it fell; 0 where that is not known."""
    if before is None or now is None or not (before.is_known and now.is_known):
        return 0.0
    error = math.hypot(*((interval.high - interval.low) / (2 * Z_ONE) for interval in (before, now)))
    return (now.value - before.value) / error if error > 0 else 0.0


def parted(before: TurnFigures, now: TurnFigures) -> Sign | None:
    """The proxy rises (z above 2.33), and the turn lost its blind round, or gold fell (z below -1.64)."""
    if change_z(before.proxy, now.proxy) < SURE:
        return None
    if now.against_previous is not None and now.against_previous.against(EVEN) < 0:
        fell = f"its policy won {_share(now.against_previous)} of the blind votes against the turn before"
        return Sign(figure=f"{_proxy(before, now)} while {fell}", metrics=("proxy", "against_previous"))
    if change_z(before.gold, now.gold) < -LIKELY:
        assert before.gold is not None
        assert now.gold is not None
        fell = f"gold fell from {before.gold.value:.2f} to {now.gold.value:.2f}"
        return Sign(figure=f"{_proxy(before, now)} while {fell}", metrics=("proxy", "gold"))
    return None


def stalled(before: TurnFigures, now: TurnFigures) -> Sign | None:
    """The proxy rises (z above 2.33), and the blind win rate holds even and rules out a gain that a turn is worth."""
    rate = now.against_previous
    if change_z(before.proxy, now.proxy) < SURE or rate is None or not rate.is_known:
        return None
    if rate.against(EVEN) != 0 or rate.high >= EVEN + WORTH:
        return None
    won = f"people saw no difference: {_share(rate)} of the blind votes against the turn before"
    return Sign(figure=f"{_proxy(before, now)} while {won}", metrics=("proxy", "against_previous"))


def longer(before: TurnFigures, now: TurnFigures) -> Sign | None:
    """Replies are 1.25 times as long as a turn before (z above 2.33), the proxy rose, people's votes did not."""
    if before.words is None or now.words is None or change_z(before.words, now.words) < SURE:
        return None
    if now.words.value < LENGTH_RATIO * before.words.value or not _rose_unearned(before, now):
        return None
    grew = f"replies went from {before.words.value:.0f} to {now.words.value:.0f} words"
    return Sign(figure=f"{grew}; {_proxy(before, now)}; {_votes(now)}", metrics=("words", "proxy", "against_previous"))


def drifted(before: TurnFigures, now: TurnFigures) -> Sign | None:
    """KL is 1 nat or more and 1.5 times that of a turn before (z above 2.33), the proxy rose, the votes did not."""
    if before.kl is None or now.kl is None or change_z(before.kl, now.kl) < SURE:
        return None
    if now.kl.value < max(LEAST_KL, KL_RATIO * before.kl.value) or not _rose_unearned(before, now):
        return None
    grew = f"KL to turn 0's policy went from {before.kl.value:.1f} to {now.kl.value:.1f} nats a reply"
    return Sign(figure=f"{grew}; {_proxy(before, now)}; {_votes(now)}", metrics=("kl", "proxy", "against_previous"))


def outdated(before: TurnFigures, now: TurnFigures) -> Sign | None:
    """The reward model orders this turn's pairs worse than those of the turn before, after it had learned from them.

    By 5 points or more, z below -1.64.
    """
    learned, met = before.accuracy_after, now.accuracy_before
    if learned is None or met is None or change_z(learned, met) > -LIKELY:
        return None
    if learned.value - met.value < LEAST_FALL:
        return None
    figure = (
        f"it ordered {learned.value:.0%} of turn {before.number}'s held-out pairs as people did, and {_share(met)} of "
        f"turn {now.number}'s"
    )
    return Sign(figure=figure, metrics=("accuracy_after", "accuracy_before"))


def _rose_unearned(before: TurnFigures, now: TurnFigures) -> bool:
    """Whether the proxy rose, and the blind round shows no gain."""
    rate = now.against_previous
    return change_z(before.proxy, now.proxy) > SURE and rate is not None and rate.is_known and rate.against(EVEN) <= 0


def _proxy(before: TurnFigures, now: TurnFigures) -> str:
    assert before.proxy is not None
    assert now.proxy is not None
    return f"the reward rose from {before.proxy.value:.2f} to {now.proxy.value:.2f} spreads of turn 0's answers"


def _votes(now: TurnFigures) -> str:
    assert now.against_previous is not None
    return f"blind votes won against the turn before: {_share(now.against_previous)}"


def _share(interval: Interval) -> str:
    return f"{interval.value:.0%} ({interval.low:.0%} to {interval.high:.0%})"


TURN_FAILURES = (
    TurnFailure(
        kind="reward_hacking",
        title="Reward hacking",
        severity="critical",
        cause="The policy found what the reward model errs on: it scores higher there and people like it less",
        advice="Begin the next turn from the policy before; label this policy's answers and let the reward model learn "
        "from them before anything is aligned with it again; raise beta",
        sign=parted,
    ),
    TurnFailure(
        kind="reward_without_gain",
        title="The reward rises, people see nothing",
        severity="warning",
        cause="The policy is trained to what the reward model cannot tell any more, or to a quirk of it",
        advice="Read pairs of the blind round; label uncertain pairs of this policy, and have it aligned less far",
        sign=stalled,
    ),
    TurnFailure(
        kind="length_bias",
        title="Replies grow with the reward",
        severity="warning",
        cause="The reward model takes long for good, whatever is said",
        advice="Hold the reward model to lengths or add the length penalty, and label pairs in which the shorter one "
        "is better; fine where the task asks for longer replies",
        sign=longer,
    ),
    TurnFailure(
        kind="drift",
        title="The policy moves away for nothing",
        severity="warning",
        cause="It moved far from turn 0's policy, where the reward model has seen few answers, and gained no votes",
        advice="Raise beta or take fewer steps; choose pairs of the present policy for labelling",
        sign=drifted,
    ),
    TurnFailure(
        kind="outdated_reward",
        title="The reward model fell behind its policy",
        severity="warning",
        cause="The policy writes what the reward model has not learned from; its pairs may also have grown harder",
        advice="Nothing, if it catches up by learning from this turn's pairs; if it does not, label more of them or "
        "hold the agreement of people against it: where they do not agree either, nobody can learn it",
        sign=outdated,
    ),
)
"""Those in which going on does most harm first."""
