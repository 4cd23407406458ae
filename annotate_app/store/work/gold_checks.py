"""Gold items, qualification rounds and repeats: which comes next, and how its answer changes a member's state."""

from __future__ import annotations

import time
from typing import Literal

from sqlalchemy import Connection, bindparam, exists, func, select, text, update

from annotate_app.protocol.assignment import REPEAT_GAP, Side, falls_short, fraction, is_right, qualification_verdict
from annotate_app.store.base import audit, notices
from annotate_app.store.base.slots import LEASED
from annotate_app.store.schema.tables import CHECK_KINDS, comparison, judgment, membership, slot
from annotate_app.store.work.member_at_work import Seat

# Somebody's accuracy is that of so many newest gold items, so that a decline after a good start is seen.
NEWEST_GOLD = 50

_untouched = ~exists(
    select(slot.c.id).where(slot.c.comparison_id == comparison.c.id, slot.c.user_id == bindparam("of_user"))
)
_golds = (comparison.c.project_id == bindparam("of_project"), comparison.c.gold_use == bindparam("use"))
_GOLD_RANGE = select(func.min(comparison.c.id), func.max(comparison.c.id)).where(*_golds, text("gold_use <> ''"))
_NEXT_GOLD = (
    select(comparison.c.id)
    .where(*_golds, text("gold_use <> ''"), comparison.c.id >= bindparam("pivot"), _untouched)
    .order_by(comparison.c.id)
    .limit(1)
)
_NUM_GOLD_LEFT = select(func.count()).select_from(comparison).where(*_golds, text("gold_use <> ''"), _untouched)
_own = (judgment.c.user_id == bindparam("of_user"), judgment.c.project_id == bindparam("of_project"))
_OLDEST = select(judgment.c.id).where(*_own).order_by(judgment.c.id).limit(1)
_LATEST_TO_REPEAT = select(judgment.c.id).where(*_own).order_by(judgment.c.id.desc()).offset(REPEAT_GAP - 1).limit(1)
_repeated = exists(
    select(slot.c.id).where(
        slot.c.comparison_id == judgment.c.comparison_id, slot.c.user_id == judgment.c.user_id, slot.c.kind == "repeat"
    )
)
_NEXT_REPEAT = (
    select(judgment.c.comparison_id, judgment.c.shown_left)
    .where(
        *_own,
        judgment.c.id.between(bindparam("pivot"), bindparam("latest")),
        judgment.c.newest,
        judgment.c.kind == "work",
        judgment.c.choice.not_in(("skip", "withdrawn")),
        ~_repeated,
    )
    .order_by(judgment.c.id)
    .limit(1)
)
_ANSWERS = (
    select(judgment.c.choice, comparison.c.gold)
    .join(comparison, comparison.c.id == judgment.c.comparison_id)
    .where(
        *_own,
        text(CHECK_KINDS),
        judgment.c.kind == bindparam("use"),
        judgment.c.newest,
        judgment.c.choice != "withdrawn",
        judgment.c.created_at >= bindparam("since"),
        comparison.c.gold_use == bindparam("use"),
    )
    .order_by(judgment.c.id.desc())
    .limit(bindparam("most"))
)
_NUM_HELD = (
    select(func.count())
    .select_from(slot)
    .where(
        slot.c.user_id == bindparam("of_user"),
        slot.c.project_id == bindparam("of_project"),
        slot.c.state == LEASED,
        slot.c.kind == bindparam("use"),
    )
)


def next_gold(connection: Connection, seat: Seat, use: Literal["gold", "qualification"]) -> int | None:
    """A gold comparison that this person has not seen, each in an order of their own; None when there is none left."""
    keys = {"of_project": seat.project_id, "of_user": seat.user_id, "use": use}
    low, high = connection.execute(_GOLD_RANGE, keys).one()
    if low is None:
        return None
    share = fraction(use, seat.design.seed, seat.user, seat.place.num_leased)
    for pivot in (low + int(share * (high - low + 1)), low):
        comparison_id = connection.execute(_NEXT_GOLD, keys | {"pivot": pivot}).scalar()
        if comparison_id is not None:
            return comparison_id
    return None


def next_qualification(connection: Connection, seat: Seat) -> int | None:
    """The next item of a qualification round; None when enough are judged or in hand."""
    keys = {"of_project": seat.project_id, "of_user": seat.user_id, "use": "qualification"}
    held = connection.execute(_NUM_HELD, keys).scalar_one()
    if len(_answers(connection, seat, "qualification")) + held >= seat.design.qualification_items:
        return None
    return next_gold(connection, seat, "qualification")


def qualification_progress(connection: Connection, seat: Seat) -> tuple[int, int]:
    """How many items of a qualification round are answered, and how many the person will have met at its end."""
    keys = {"of_project": seat.project_id, "of_user": seat.user_id, "use": "qualification"}
    done = len(_answers(connection, seat, "qualification"))
    held = connection.execute(_NUM_HELD, keys).scalar_one()
    left = connection.execute(_NUM_GOLD_LEFT, keys).scalar_one()
    return done, min(seat.design.qualification_items, done + held + left)


def next_repeat(connection: Connection, seat: Seat) -> tuple[int, Side] | None:
    """An own pair judged at least `REPEAT_GAP` judgments ago and not repeated yet, and what stood left back then."""
    keys: dict[str, object] = {"of_project": seat.project_id, "of_user": seat.user_id}
    latest = connection.execute(_LATEST_TO_REPEAT, keys).scalar()
    if latest is None:
        return None
    oldest = connection.execute(_OLDEST, keys).scalar_one()
    share = fraction("repeat", seat.design.seed, seat.user, seat.place.num_leased)
    for pivot in (oldest + int(share * (latest - oldest + 1)), oldest):
        row = connection.execute(_NEXT_REPEAT, keys | {"pivot": pivot, "latest": latest}).first()
        if row is not None:
            return row.comparison_id, row.shown_left
    return None


def update_member_state(connection: Connection, seat: Seat, kind: str) -> None:
    """Sets the state that follows from a check that was just answered: active, failed, paused or as it was.

    The state is changed in `seat` too. Checks answered before the state was last set do not count.
    """
    match kind:
        case "qualification" if seat.state == "qualifying":
            right = _answers(connection, seat, "qualification")
            keys = {"of_project": seat.project_id, "of_user": seat.user_id, "use": "qualification"}
            left = connection.execute(_NUM_GOLD_LEFT, keys).scalar_one()
            held = connection.execute(_NUM_HELD, keys).scalar_one()
            verdict = qualification_verdict(seat.design, right, len(right) + left + held)
            counted = f"{sum(right)} of {len(right)} items right, asked for are {seat.design.qualification_pass:.0%}"
            if verdict == "pass":
                _set_state(connection, seat, "active")
            elif verdict == "fail":
                _set_state(connection, seat, "failed")
                notices.add(connection, seat.project_id, f"{seat.user} did not pass the qualification: {counted}.")
        case "gold" if seat.state == "active" and seat.design.pause_below > 0:
            right = _answers(connection, seat, "gold")
            if falls_short(seat.design, right):
                _set_state(connection, seat, "paused")
                counted = f"{sum(right)} of {len(right)} gold items right, asked for are {seat.design.pause_below:.0%}"
                notices.add(connection, seat.project_id, f"{seat.user} was paused: {counted}.")


def _answers(connection: Connection, seat: Seat, use: Literal["gold", "qualification"]) -> list[bool]:
    """By check answered since the state was set, the newest ones, whether it was right; see `NEWEST_GOLD`.

    Only a qualification counts skips, as wrong.
    """
    most = max(NEWEST_GOLD, seat.design.pause_after, seat.design.qualification_items)
    keys = {"of_project": seat.project_id, "of_user": seat.user_id, "use": use, "since": seat.state_since, "most": most}
    return [
        is_right(row.choice, row.gold["choice"])
        for row in connection.execute(_ANSWERS, keys)
        if row.choice != "skip" or use == "qualification"
    ]


def _set_state(connection: Connection, seat: Seat, state: str) -> None:
    now = time.time()
    connection.execute(
        update(membership)
        .where(membership.c.project_id == seat.project_id, membership.c.user_id == seat.user_id)
        .values(state=state, state_since=now)
    )
    audit.record(
        connection, seat.actor, "member state", project_id=seat.project_id, subject=seat.user, detail={"state": state}
    )
    seat.state, seat.state_since = state, now
