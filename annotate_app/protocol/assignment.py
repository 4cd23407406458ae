"""Decides who gets which pair next, on which side, and when a check comes; pure functions without a database.

Everything that looks random here is a hash of what it is about, so that a reload, a restart or another process
decides the same. What an answer must hold is in `annotate_app.protocol.leases`, the SQL that applies it all in
`annotate_app.store.work`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from annotate_app.protocol.collection_design import Design, Policy

Side = Literal["a", "b"]
Check = Literal["gold", "repeat"]

# Positions stay below this, so that with `fewest` the number of slots decides first; exact in a double up to some
# thousand slots of one comparison.
RANK_STEP = 2**40
# An own pair comes again only after this many others, so that it is judged anew and not remembered.
REPEAT_GAP = 10


def fraction(*parts: object) -> float:
    """A number in [0, 1) derived from the parts: 53 bits of their SHA-256, the same in every process."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def slot_rank(policy: Policy, seed: int, position: int, priority: float, judged: int) -> float:
    """Computes the rank of an open slot in its project's queue, lower first; ties go by slot id.

    A rank does not change while people work: with `fewest` the second slot of a comparison lies behind the first slots
    of all others, which is the order of fewest judgments first, because the slots of one comparison fill in order.

    Args:
        position: of the comparison in its project, 0 or more and below `RANK_STEP`; its database id will do.
        priority: of the comparison, higher goes first; used by `priority` alone.
        judged: how many slots of the comparison come before this one; used by `fewest` alone.
    """
    match policy:
        case "sequential":
            return float(position)
        case "random":
            return fraction("order", seed, position)
        case "fewest":
            return float(judged * RANK_STEP + position)
        case "priority":
            return -float(priority)


def shown_left(key: str, user: str, seed: int, kind: str) -> Side:
    """Which completion stands on the left for somebody: half of all pairs each way, always the same for one pair.

    Args:
        key: the comparison's id.
        user: the person's name.
        kind: of the slot, `annotate_app.votes.KINDS`.
    """
    return "a" if fraction("side", seed, key, user, kind) < 0.5 else "b"


def other_side(side: Side) -> Side:
    """The other completion: what stands left when an own earlier pair comes again."""
    match side:
        case "a":
            return "b"
        case "b":
            return "a"


def check_at(design: Design, user: str, position: int) -> Check | None:
    """Which check, if any, is mixed in at a person's n-th pair.

    Args:
        user: the person's name.
        position: number of pairs handed to this person before, 0 or more.
    """
    fraction_drawn = fraction("check", design.seed, user, position)
    if fraction_drawn < design.gold_rate:
        return "gold"
    if fraction_drawn < design.gold_rate + design.repeat_rate:
        return "repeat"
    return None


def is_right(choice: str, gold_choice: str) -> bool:
    """Whether an answer to a gold item counts as right: the same choice, of whatever strength; a skip never does."""
    return choice == gold_choice


def qualification_verdict(design: Design, right: Sequence[bool], num_items: int) -> Literal["pass", "fail", "open"]:
    """How a qualification round stands.

    Args:
        right: by item judged so far, whether it was right.
        num_items: how many items there are to judge; fewer than the design asks for where the project has no more.
    """
    needed = min(design.qualification_items, num_items)
    if len(right) < needed or not right:
        return "open"
    return "pass" if sum(right) >= design.qualification_pass * len(right) else "fail"


def falls_short(design: Design, right: Sequence[bool]) -> bool:
    """Whether somebody's gold answers ask for a pause: enough of them, and too small a share of them right."""
    return len(right) >= design.pause_after and sum(right) < design.pause_below * len(right)


def shown_order(key: str, user_id: int, left: Side, count: int) -> tuple[int, ...]:
    """The order in which the responses of a ranking stand on somebody's screen, always the same for one comparison.

    A hash of the comparison and the person shuffles them; of the first two, `left` comes before the other, so that an
    own earlier ranking that comes again as a repeat has the whole order turned round.

    Args:
        key: the comparison's id.
        user_id: of the person.
        left: of the slot (`shown_left`).
        count: number of responses.
    """
    order = sorted(range(count), key=lambda index: fraction("order", key, user_id, index))
    turned = (order.index(0) < order.index(1)) != (left == "a")
    return tuple(reversed(order) if turned else order)
