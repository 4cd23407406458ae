"""The leases of a member: which there are, renewing, releasing and handing out the next."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from annotate_app.protocol.assignment import Side, check_at, other_side, shown_left
from annotate_app.store.base.database import insert_row
from annotate_app.store.base.slots import JUDGED, LEASED
from annotate_app.store.people.crowd_visits import complete, visit_at_work
from annotate_app.store.projects.comparisons import blind, read_comparison, select_comparisons
from annotate_app.store.schema.tables import comparison, slot
from annotate_app.store.work import gold_checks, queue_cursor
from annotate_app.store.work.member_at_work import Seat
from rewardkit.data.records import Comparison

LEAVE_S = 90.0
"""How long pairs wait for somebody who closed the page; another open tab says in less than this that they are there."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A leased slot, not yet with its texts."""

    slot_id: int
    comparison_id: int
    kind: str
    token: str
    shown_left: Side
    leased_until: float


_HELD = (
    select(slot.c.id, slot.c.comparison_id, slot.c.kind, slot.c.token, slot.c.shown_left, slot.c.leased_until)
    .where(slot.c.user_id == bindparam("of_user"), slot.c.project_id == bindparam("of_project"), slot.c.state == LEASED)
    .order_by(slot.c.leased_at, slot.c.id)
)
_LEASE = (
    update(slot)
    .where(slot.c.id == bindparam("of_slot"))
    .values(
        state=LEASED,
        user_id=bindparam("new_user"),
        shown_left=bindparam("new_left"),
        token=bindparam("new_token"),
        leased_at=bindparam("now"),
        leased_until=bindparam("until"),
    )
)
_RENEW = (
    update(slot)
    .where(slot.c.user_id == bindparam("of_user"), slot.c.project_id == bindparam("of_project"), slot.c.state == LEASED)
    .values(leased_until=bindparam("until"))
)
_LEAVE = (
    update(slot)
    .where(
        slot.c.user_id == bindparam("of_user"),
        slot.c.project_id == bindparam("of_project"),
        slot.c.state == LEASED,
        slot.c.leased_until > bindparam("until"),
    )
    .values(leased_until=bindparam("until"))
)
_END_EDIT = (
    update(slot)
    .where(
        slot.c.token == bindparam("of_token"),
        slot.c.user_id == bindparam("of_user"),
        slot.c.project_id == bindparam("of_project"),
        slot.c.state == JUDGED,
    )
    .values(leased_until=None)
)
_KEY = select(comparison.c.key).where(comparison.c.id == bindparam("of_comparison"))


def new_token(user_id: int) -> str:
    """A token that nobody can guess and that says whose it is, also after the lease has run out."""
    return f"{user_id}-{secrets.token_urlsafe(16)}"


def renew(connection: Connection, seat: Seat, now: float) -> int:
    """Lengthens the leases in somebody's hands, also those that ran out with nobody taking them; returns how many."""
    keys = {"of_user": seat.user_id, "of_project": seat.project_id, "until": now + seat.design.lease_s}
    return connection.execute(_RENEW, keys).rowcount


def leave(connection: Connection, seat: Seat, now: float) -> int:
    """Shortens the leases in somebody's hands to LEAVE_S; returns how many."""
    keys = {"of_user": seat.user_id, "of_project": seat.project_id, "until": now + LEAVE_S}
    return connection.execute(_LEAVE, keys).rowcount


def held(connection: Connection, seat: Seat) -> list[Held]:
    """What somebody holds that fits their state, oldest first: qualification items in the round, all else after it."""
    keys = {"of_user": seat.user_id, "of_project": seat.project_id}
    return [
        Held(
            slot_id=row.id,
            comparison_id=row.comparison_id,
            kind=row.kind,
            token=row.token,
            shown_left=row.shown_left,
            leased_until=row.leased_until,
        )
        for row in connection.execute(_HELD, keys)
        if (row.kind == "qualification") == (seat.state == "qualifying")
    ]


def fill(connection: Connection, seat: Seat, count: int, now: float) -> list[Held]:
    """Hands out pairs until somebody holds `count`, or there is nothing for them; what they hold then, oldest first."""
    read_visit(connection, seat)
    if not seat.may_work:
        return []
    if seat.is_crowd:
        return _fill_visit(connection, seat, count, now)
    return _fill(connection, seat, count, now)


def read_visit(connection: Connection, seat: Seat) -> None:
    """Reads the visit under which somebody of a crowd link works, as it stands now; nothing for anybody else."""
    if seat.is_crowd:
        seat.visit = visit_at_work(connection, seat.project_id, seat.user_id)


def _fill_visit(connection: Connection, seat: Seat, count: int, now: float) -> list[Held]:
    """What somebody of a crowd link is handed: never more than they have still to give; ends a visit that is done.

    Done is also who has given something, has skipped no more than that, and for whom nothing is left.
    """
    visit = seat.visit
    if visit is None:
        return []
    wanted = max(0, visit.target - visit.done)
    most = count if seat.state == "qualifying" else min(count, wanted)
    holding = _fill(connection, seat, most, now) if most else []
    exhausted = not holding and 0 < visit.done >= visit.skipped
    if seat.state == "active" and (not wanted or exhausted):
        complete(connection, seat.project_id, seat.user_id, seat.user, visit)
        seat.state = "completed"
        release(connection, seat)
        return []
    return holding


def _fill(connection: Connection, seat: Seat, count: int, now: float) -> list[Held]:
    holding = held(connection, seat)
    if any(held.leased_until < now + seat.design.lease_s / 2 for held in holding):
        renew(connection, seat, now)
    if len(holding) >= count:
        return holding[:count]
    queue_cursor.take_back_expired(connection, seat.place, now)
    while len(holding) < count:
        picked = _next(connection, seat, now)
        if picked is None:
            break
        seat.place.num_leased += 1
        holding.append(picked)
    return holding


def release(connection: Connection, seat: Seat, tokens: Sequence[str] | None = None) -> int:
    """Releases work leases, and ends edits that are named; returns the number of pairs released."""
    keys = {"of_user": seat.user_id, "of_project": seat.project_id}
    rows = [row for row in connection.execute(_HELD, keys) if tokens is None or row.token in tokens]
    work = [(row.id, row.comparison_id) for row in rows if row.kind == "work"]
    if work:
        seat.place.num_returns = queue_cursor.give_back(connection, seat.project_id, work)
    ended = 0
    for token in tokens or ():
        ended += connection.execute(_END_EDIT, keys | {"of_token": token}).rowcount
    return len(work) + ended


def anything_left(connection: Connection, seat: Seat) -> bool:
    """Whether a pair is available for a member now; changes nothing."""
    if not seat.may_work:
        return False
    if held(connection, seat):
        return True
    if seat.state == "qualifying":
        return gold_checks.next_qualification(connection, seat) is not None
    return queue_cursor.has_next(connection, seat.place)


def lease_open(connection: Connection, seat: Seat, slot_id: int, comparison_id: int, now: float) -> Held:
    """Leases an open work slot."""
    key = connection.execute(_KEY, {"of_comparison": comparison_id}).scalar_one()
    side = shown_left(key, seat.user, seat.design.seed, "work")
    lease = _lease_values(seat, side, now)
    connection.execute(_LEASE, lease | {"of_slot": slot_id})
    return _as_held(slot_id, comparison_id, "work", lease)


def read_texts(connection: Connection, project_id: int, comparison_ids: Iterable[int]) -> dict[int, Comparison]:
    """Comparisons by database id, without sources and meta."""
    query = select_comparisons(project_id).where(comparison.c.id.in_(list(comparison_ids)))
    return {row.comparison_id: blind(read_comparison(row)) for row in connection.execute(query)}


def _next(connection: Connection, seat: Seat, now: float) -> Held | None:
    """Picks the next pair for a member: a check if one is due and available, else work."""
    if seat.state == "qualifying":
        item = gold_checks.next_qualification(connection, seat)
        return None if item is None else _lease_check(connection, seat, item, "qualification", now)
    match check_at(seat.design, seat.user, seat.place.num_leased):
        case "gold":
            item = gold_checks.next_gold(connection, seat, "gold")
            if item is not None:
                return _lease_check(connection, seat, item, "gold", now)
        case "repeat":
            again = gold_checks.next_repeat(connection, seat)
            if again is not None:
                return _lease_check(connection, seat, again[0], "repeat", now, other_side(again[1]))
        case None:
            pass
    picked = queue_cursor.next_work_slot(connection, seat.place)
    return None if picked is None else lease_open(connection, seat, *picked, now)


def _lease_check(
    connection: Connection, seat: Seat, comparison_id: int, kind: str, now: float, side: Side | None = None
) -> Held:
    """Makes the slot of a check, leased from its first moment: it is this person's and nobody else's."""
    if side is None:
        key = connection.execute(_KEY, {"of_comparison": comparison_id}).scalar_one()
        side = shown_left(key, seat.user, seat.design.seed, kind)
    lease = _lease_values(seat, side, now)
    slot_id = insert_row(
        connection,
        slot,
        project_id=seat.project_id,
        comparison_id=comparison_id,
        kind=kind,
        group_name="",
        state=LEASED,
        rank=0.0,
        user_id=seat.user_id,
        shown_left=side,
        token=lease["new_token"],
        leased_at=lease["now"],
        leased_until=lease["until"],
    )
    return _as_held(slot_id, comparison_id, kind, lease)


def _lease_values(seat: Seat, side: Side, now: float) -> dict[str, object]:
    return {
        "new_user": seat.user_id,
        "new_left": side,
        "new_token": new_token(seat.user_id),
        "now": now,
        "until": now + seat.design.lease_s,
    }


def _as_held(slot_id: int, comparison_id: int, kind: str, lease: dict[str, object]) -> Held:
    return Held(
        slot_id=slot_id,
        comparison_id=comparison_id,
        kind=kind,
        token=str(lease["new_token"]),
        shown_left=lease["new_left"],  # type: ignore[arg-type]
        leased_until=lease["until"],  # type: ignore[arg-type]
    )
