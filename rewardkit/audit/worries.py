"""What a model pays for and people do not: the list to worry about, and whether a later model still does.

A trait is on the list where both hold: the model pays for it by more than `least`, and by more than `least` beyond
what people pay. For each the two one-sided z-tests are one test by the larger of their p-values (intersection-union,
Berger 1982), and those of all traits are adjusted together (`rewardkit.audit.effects.holm`), so that with chance
`level` at most any trait is listed that should not be. Where people's votes say nothing of a trait, the first alone
decides: a hole is where people were never asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rewardkit.audit.effects import Effects, holm, upper_tail, z_of
from rewardkit.stats.metrics import Interval

Z95 = 1.959964
State = Literal["closed", "open", "not shown"]


@dataclass(frozen=True, kw_only=True)
class Worry:
    """A trait that the model pays for and people do not, in log-odds for a unit of it.

    Attributes:
        model, people: what they pay; people's is nan where votes do not say.
        excess: model less people, or less 0.
        p_adjusted: Holm's p-value of the test in the module.
    """

    trait: str
    model: Interval
    people: Interval
    excess: Interval
    p_adjusted: float


@dataclass(frozen=True, kw_only=True)
class Hole:
    """A trait of an earlier list, asked after again.

    Attributes:
        before, now: what the models pay, in log-odds; now is nan where it was not measured.
        state: open where it is on the list again; closed where it is not and the model pays less by more than chance.
    """

    trait: str
    before: Interval
    now: Interval
    fall: Interval
    state: State


def find_worries(model: Effects, people: Effects | None, *, least: float, level: float) -> list[Worry]:
    """The list, the largest excess first.

    Args:
        people: None where there are no votes.
    """
    p_values = np.full(len(model.traits), np.nan)
    rows: list[Worry] = []
    for at, trait in enumerate(model.traits):
        paid, error = float(model.values[at]), float(model.errors[at])
        owed, owed_error = _at(people, trait)
        known = math.isfinite(owed)
        excess, excess_error = paid - (owed if known else 0.0), math.hypot(error, owed_error if known else 0.0)
        if math.isfinite(paid):
            p_values[at] = max(
                upper_tail(z_of(paid - least, error)),
                upper_tail(z_of(excess - least, excess_error) if known else math.inf),
            )
        rows.append(
            Worry(
                trait=trait,
                model=model.interval(trait),
                people=people.interval(trait) if people and known else Interval(value=math.nan),
                excess=normal_interval(excess, excess_error),
                p_adjusted=math.nan,
            )
        )
    adjusted = holm(p_values)
    listed = [
        Worry(trait=row.trait, model=row.model, people=row.people, excess=row.excess, p_adjusted=float(p))
        for row, p in zip(rows, adjusted, strict=True)
        if p < level
    ]
    return sorted(listed, key=lambda worry: -worry.excess.value)


def ask_again(before: Mapping[str, Interval], now: Effects, worries: Sequence[Worry]) -> list[Hole]:
    """What became of the traits of an earlier list.

    Args:
        before: by trait of that list, what the model paid then.
        now: what this model pays.
        worries: this model's list.
    """
    listed = {worry.trait for worry in worries}
    holes = []
    for trait, then in before.items():
        paid, error = _at(now, trait)
        fall = normal_interval(then.value - paid, math.hypot(error, (then.high - then.low) / (2 * Z95)))
        state: State = "open" if trait in listed else "closed" if fall.against(0) == 1 else "not shown"
        current = now.interval(trait) if math.isfinite(paid) else Interval(value=math.nan)
        holes.append(Hole(trait=trait, before=then, now=current, fall=fall, state=state))
    return holes


def normal_interval(value: float, error: float) -> Interval:
    """The 95 % interval of a normal estimate; without bounds where either is not known."""
    if not math.isfinite(value) or not math.isfinite(error):
        return Interval(value=value)
    return Interval(value=value, low=value - Z95 * error, high=value + Z95 * error)


def _at(effects: Effects | None, trait: str) -> tuple[float, float]:
    if effects is None or trait not in effects.traits:
        return math.nan, math.nan
    at = effects.traits.index(trait)
    return float(effects.values[at]), float(effects.errors[at])
