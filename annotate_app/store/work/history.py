"""Somebody's own earlier judgments: listing, undoing and reopening them."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, Row, Select, bindparam, delete, select, text, update

from annotate_app.protocol.leases import LeaseError, OwnJudgment
from annotate_app.store.base.answers import read_judgment, select_judgments
from annotate_app.store.base.slots import LEASED
from annotate_app.store.schema.tables import OPEN_WORK, comparison, judgment, slot, user
from annotate_app.store.work import leasing
from annotate_app.store.work.member_at_work import Seat
from annotate_app.store.work.submitting import CHECKS, OwnSlot, append, outdate
from rewardkit.data.records import Judgment

MOST_ID = 2**63 - 1

_BY_EVENT = select(judgment.c.id, judgment.c.slot_id, judgment.c.user_id).where(
    judgment.c.event_id == bindparam("of_event")
)
_BEFORE = (
    select(judgment.c.id)
    .where(
        judgment.c.slot_id == bindparam("of_slot"),
        judgment.c.user_id == bindparam("of_user"),
        judgment.c.choice != "withdrawn",
        judgment.c.id < bindparam("before"),
    )
    .order_by(judgment.c.id.desc())
    .limit(1)
)
_ANY = (
    select(judgment, comparison.c.key, user.c.name)
    .join(comparison, comparison.c.id == judgment.c.comparison_id)
    .join(user, user.c.id == judgment.c.user_id)
    .where(judgment.c.id == bindparam("of_judgment"))
)
_OPEN_SLOTS = (
    select(slot.c.id, slot.c.group_name)
    .where(slot.c.comparison_id == bindparam("of_comparison"), text(OPEN_WORK))
    .order_by(slot.c.rank, slot.c.id)
    .with_for_update()
)
_UNMARK = delete(slot).where(
    slot.c.comparison_id == bindparam("of_comparison"), slot.c.user_id == bindparam("of_user"), slot.c.kind == "skipped"
)
_TAKE_AGAIN = (
    update(slot)
    .where(slot.c.id == bindparam("of_slot"))
    .values(state=LEASED, token=bindparam("new_token"), leased_until=bindparam("until"))
)
_REOPEN = (
    update(slot)
    .where(slot.c.id == bindparam("of_slot"))
    .values(token=bindparam("new_token"), leased_until=bindparam("until"))
)


def undo(connection: Connection, seat: Seat, event_id: str, now: float) -> tuple[leasing.Held, Judgment] | None:
    """Withdraws the newest own judgment; see `Work.undo`."""
    if event_id:
        earlier = connection.execute(_BY_EVENT, {"of_event": event_id}).first()
        if earlier is not None:
            return _undone(connection, seat, earlier)
    row = connection.execute(_own(seat).order_by(None).order_by(judgment.c.id.desc()).limit(1)).first()
    return None if row is None else _withdraw(connection, seat, row, event_id, now)


def reopen(connection: Connection, seat: Seat, judgment_id: int, now: float) -> tuple[leasing.Held, Judgment]:
    """Opens an own judgment for an edit; see `Work.reopen`."""
    known = 0 < judgment_id <= MOST_ID  # no database takes a larger number
    row = connection.execute(_own(seat).where(judgment.c.id == judgment_id)).first() if known else None
    if row is None:
        raise LeaseError("not_yours")
    if row.kind == "work" and row.choice == "skip":
        return _withdraw(connection, seat, row, "", now)
    _refuse_what_stands(seat, row)
    own_slot = _own_slot(row)
    opened = _held(seat, own_slot, now)
    values = {"of_slot": own_slot.slot_id, "new_token": opened.token, "until": opened.leased_until}
    connection.execute(_REOPEN, values)
    return opened, read_judgment(row)


def history(connection: Connection, seat: Seat, offset: int, limit: int) -> list[OwnJudgment]:
    """Own judgments that stand, newest first; see `Work.history`."""
    query = select_judgments(seat.project_id).where(judgment.c.user_id == seat.user_id)
    rows = connection.execute(query.order_by(None).order_by(judgment.c.id.desc()).offset(offset).limit(limit)).all()
    texts = leasing.read_texts(connection, seat.project_id, {row.comparison_id for row in rows})
    return [
        OwnJudgment(
            judgment_id=row.id,
            comparison=texts[row.comparison_id],
            judgment=read_judgment(row),
            shown_left=row.shown_left,
            can_edit=seat.may_work and row.kind != "import" and _standing(seat, row) is None,
        )
        for row in rows
    ]


def _own(seat: Seat) -> Select:
    return select_judgments(seat.project_id).where(judgment.c.user_id == seat.user_id, judgment.c.kind != "import")


def _withdraw(connection: Connection, seat: Seat, row: Row, event_id: str, now: float) -> tuple[leasing.Held, Judgment]:
    """Appends a tombstone and leases the pair again, a skipped one in any slot that is still open."""
    _refuse_what_stands(seat, row)
    own_slot = _own_slot(row)
    skipped = row.kind == "work" and row.choice == "skip"
    free = _open_slot(connection, seat, own_slot) if skipped else None
    outdate(connection, seat, own_slot)
    append(connection, seat, own_slot, event_id or f"undo-{secrets.token_hex(16)}", "withdrawn", now)
    seat.place.num_judged -= row.choice != "skip"
    if free is not None:
        keys = {"of_comparison": own_slot.comparison_id, "of_user": seat.user_id}
        connection.execute(_UNMARK, keys)
        return leasing.lease_open(connection, seat, free, own_slot.comparison_id, now), read_judgment(row)
    again = _held(seat, own_slot, now)
    connection.execute(
        _TAKE_AGAIN, {"of_slot": own_slot.slot_id, "new_token": again.token, "until": again.leased_until}
    )
    return again, read_judgment(row)


def _open_slot(connection: Connection, seat: Seat, own_slot: OwnSlot) -> int:
    for row in connection.execute(_OPEN_SLOTS, {"of_comparison": own_slot.comparison_id}):
        if row.group_name in seat.place.groups:
            return row.id
    raise LeaseError("taken")


def _undone(connection: Connection, seat: Seat, tombstone: Row) -> tuple[leasing.Held, Judgment] | None:
    """The pair that an earlier delivery of the same undo put back, while it is still in hand."""
    if tombstone.user_id != seat.user_id:
        raise LeaseError("not_yours")
    keys = {"of_slot": tombstone.slot_id, "of_user": seat.user_id, "before": tombstone.id}
    before = connection.execute(_BEFORE, keys).scalar()
    held = [lease for lease in leasing.held(connection, seat) if lease.slot_id == tombstone.slot_id]
    if before is None or not held:
        return None
    return held[0], read_judgment(connection.execute(_ANY, {"of_judgment": before}).one())


def _refuse_what_stands(seat: Seat, row: Row) -> None:
    if not seat.may_work:
        raise LeaseError(seat.state)
    reason = _standing(seat, row)
    if reason is not None:
        raise LeaseError(reason)


def _standing(seat: Seat, row: Row) -> str | None:
    """Why a judgment cannot be changed any more, as the key of a `LeaseError`; None where it can."""
    if row.kind in CHECKS and seat.design.gold_feedback and row.choice != "skip":
        return "shown"
    if row.kind == "qualification" and seat.state != "qualifying":
        return "round_over"
    return None


def _own_slot(row: Row) -> OwnSlot:
    return OwnSlot(
        slot_id=row.slot_id,
        comparison_id=row.comparison_id,
        kind=row.kind,
        state=LEASED,
        shown_left=row.shown_left,
        leased_until=None,
    )


def _held(seat: Seat, own_slot: OwnSlot, now: float) -> leasing.Held:
    return leasing.Held(
        slot_id=own_slot.slot_id,
        comparison_id=own_slot.comparison_id,
        kind=own_slot.kind,
        token=leasing.new_token(seat.user_id),
        shown_left=own_slot.shown_left,
        leased_until=now + seat.design.lease_s,
    )
