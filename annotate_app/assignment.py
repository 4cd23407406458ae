"""Who gets which pair next, on which side, and when it is a check: pure functions, no database.

Everything that looks random here is a hash of what it is about, so that a reload, a restart or another process
decides the same. The SQL that applies it lives in `annotate_app.store`.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from annotate_app.design import Policy

Side = Literal["a", "b"]

# Positions stay below this, so that "judged" decides before the position does; both are exact in a double.
_POSITIONS = 2**40


def fraction(*parts: object) -> float:
    """A number in [0, 1) derived from the parts: 53 bits of their SHA-256, the same in every process."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def slot_rank(policy: Policy, seed: int, position: int, priority: float, judged: int) -> float:
    """The place of an open slot in its project's queue, lower first; equal ranks go by slot id.

    A rank never has to change while people work: with `fewest` the second slot of a comparison lies behind the first
    slots of all others, which is the order of fewest judgments first as long as slots fill from the lowest.

    Args:
        position: of the comparison in its project, 0 or more; its database id will do.
        priority: of the comparison, higher goes first; used by `priority` alone.
        judged: how many slots of the same comparison and group come before this one.
    """
    match policy:
        case "sequential":
            return float(position)
        case "random":
            return fraction("order", seed, position)
        case "fewest":
            return float(judged * _POSITIONS + position)
        case "priority":
            return -float(priority)
