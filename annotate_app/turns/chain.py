"""What stands where in the chain of turns: which policy is the present one, and which reward model the newest.

A turn's policy is the one that its align stage left; a turn without one goes on with its parent's, and the first with
turn 0's, which its write stage names. All of it is read from results of stages, nothing from the disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate_app.store.loop.turns import Turn
from annotate_app.turns.policies import PolicyRef
from rewardkit.stats.metrics import Interval


def parent_of(turns: Sequence[Turn], turn: Turn) -> Turn | None:
    """The turn that it begins from."""
    return next((other for other in turns if other.number == turn.parent), None)


def ancestors(turns: Sequence[Turn], turn: Turn) -> list[Turn]:
    """The turn, its parent, and so on to the first."""
    line: list[Turn] = [turn]
    while (parent := parent_of(turns, line[-1])) is not None:
        line.append(parent)
    return line


def first_policy(turns: Sequence[Turn], turn: Turn) -> PolicyRef | None:
    """Turn 0's policy; None before the first turn has written."""
    return _ref(ancestors(turns, turn)[-1].stage("write").result.get("first"))


def policy_before(turns: Sequence[Turn], turn: Turn, back: int = 0) -> PolicyRef | None:
    """The policy that a turn writes with, its present one; with `back` the one so many policies earlier."""
    left = [_ref(one.stage("align").result.get("policy")) for one in ancestors(turns, turn)[1:]]
    line = [policy for policy in (*left, first_policy(turns, turn)) if policy is not None]
    return line[min(back, len(line) - 1)] if line else None


def policy_of(turns: Sequence[Turn], turn: Turn) -> PolicyRef | None:
    """The policy that a turn left, or where it left none the one that it began with."""
    return _ref(turn.stage("align").result.get("policy")) or policy_before(turns, turn)


def model_before(turns: Sequence[Turn], turn: Turn) -> str:
    """Folder of the reward model that a turn begins with; empty for none."""
    models = (one.stage("learn").result.get("model") for one in ancestors(turns, turn)[1:])
    return next((str(model) for model in models if model), "")


def model_of(turns: Sequence[Turn], turn: Turn) -> str:
    """Folder of the reward model that a turn learned, or where it learned none the one before."""
    return str(turn.stage("learn").result.get("model") or model_before(turns, turn))


def need_folder(what: str, folder: str) -> str:
    """A folder that a result names, if it is still there.

    Raises:
        ValueError: if it is gone.
    """
    if folder.startswith("/") and not Path(folder).is_dir():
        raise ValueError(f"{what} {folder} is gone: redo the stage that made it, or adopt another")
    return folder


def ref_values(policy: PolicyRef) -> dict[str, str]:
    """A policy as it stands in results."""
    return {"name": policy.name, "model": policy.model}


def _ref(values: Any) -> PolicyRef | None:
    return PolicyRef(name=values["name"], model=values["model"]) if values else None


def read_interval(values: Mapping[str, float | None] | None) -> Interval | None:
    """An interval as it stands in a result; None where there is none."""
    if not values or values.get("value") is None:
        return None
    value, low, high = (values.get(name) for name in ("value", "low", "high"))
    unknown = math.nan
    return Interval(
        value=unknown if value is None else value,
        low=unknown if low is None else low,
        high=unknown if high is None else high,
    )
