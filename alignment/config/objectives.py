"""What a source of rewards is besides a summand: a gate of the others, or a constraint. Nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alignment.config.rewards import RewardSpec, named_bound


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A source whose mean reward is to be at least so much.

    Attributes:
        name: of the source, as metrics call it.
        least: reward units.
    """

    name: str
    least: float


def read_constraints(texts: Sequence[str], specs: Sequence[RewardSpec], gated_by: Sequence[str]) -> list[Constraint]:
    """Reads every `--constraint`, NAME=LEAST.

    Args:
        specs: all sources.
        gated_by: names of those that are gates.

    Raises:
        ValueError: if one is of another form, names no source, or one that has a weight or is a gate; or if no source
            is left to be maximised.
    """
    constraints: list[Constraint] = []
    for text in texts:
        name, least = named_bound("constraint", text, specs)
        if least is None:
            raise ValueError(f"constraint is {text!r}, allowed is NAME=LEAST")
        if name in gated_by or name in [other.name for other in constraints]:
            raise ValueError(f"constraint {text!r}: {name} is a gate or a constraint already, each source is one thing")
        constraints.append(Constraint(name=name, least=least))
    if constraints and len(constraints) + len(gated_by) == len(specs):
        raise ValueError("every reward is a constraint or a gate: name one that is to be maximised")
    return constraints


def check_multiplier(start: float, rate: float, smallest: float, most: float) -> None:
    """Raises ValueError if a learned Lagrange multiplier cannot start, move or end like this."""
    if not smallest > 0:
        raise ValueError(f"multiplier_min is {smallest}, allowed is more than 0")
    if not smallest <= start <= most < math.inf:
        bounds = f"multiplier_min, {smallest}, to multiplier_max, {most}"
        raise ValueError(f"multiplier_start is {start}, allowed is {bounds}")
    if not 0 < rate < math.inf:
        raise ValueError(f"multiplier_rate is {rate}, allowed is more than 0")
