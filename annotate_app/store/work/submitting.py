"""Stores one judgment: its row, its slot, and the consequences of a check or a skip."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update

from annotate_app.protocol.assignment import Side
from annotate_app.protocol.leases import LeaseError, Submission, feedback_text
from annotate_app.store.base.answers import directions, plain_criteria, plain_ranking, plain_spans
from annotate_app.store.base.slots import JUDGED, OPEN, free_slots
from annotate_app.store.schema.tables import comparison, judgment, slot
from annotate_app.store.work import gold_checks, leasing, queue_cursor
from annotate_app.store.work.member_at_work import Seat
from rewardkit.data.records import Judgment

CHECKS = ("gold", "qualification")


@dataclass(frozen=True, kw_only=True)
class OwnSlot:
    """A slot that is somebody's by its token."""

    slot_id: int
    comparison_id: int
    kind: str
    state: int
    shown_left: Side
    leased_until: float | None

    @property
    def open_to_answers(self) -> bool:
        """Leased, or run out and not taken yet, or judged and reopened for an edit."""
        return self.state != JUDGED or self.leased_until is not None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a submission."""

    duplicate: bool
    feedback: str | None


_FIND = select(
    slot.c.id, slot.c.comparison_id, slot.c.kind, slot.c.state, slot.c.user_id, slot.c.shown_left, slot.c.leased_until
).where(slot.c.token == bindparam("of_token"), slot.c.project_id == bindparam("of_project"))
_FIND_LOCKED = _FIND.with_for_update()
_EARLIER = (
    select(judgment.c.user_id, judgment.c.project_id, judgment.c.kind, judgment.c.choice, judgment.c.shown_left)
    .add_columns(comparison.c.gold)
    .join(comparison, comparison.c.id == judgment.c.comparison_id)
    .where(judgment.c.event_id == bindparam("of_event"))
)
_TOUCHED = select(slot.c.id).where(
    slot.c.comparison_id == bindparam("of_comparison"), slot.c.user_id == bindparam("of_user")
)
_CHOICE = select(judgment.c.choice).where(
    judgment.c.slot_id == bindparam("of_slot"), judgment.c.user_id == bindparam("of_user"), judgment.c.newest
)
_GOLD = select(comparison.c.gold).where(comparison.c.id == bindparam("of_comparison"))
_OUTDATE = (
    update(judgment)
    .where(
        judgment.c.comparison_id == bindparam("of_comparison"),
        judgment.c.user_id == bindparam("of_user"),
        judgment.c.kind == bindparam("of_kind"),
        judgment.c.newest,
    )
    .values(newest=False)
)
_JUDGED = (
    update(slot)
    .where(slot.c.id == bindparam("of_slot"))
    .values(state=JUDGED, user_id=bindparam("by_user"), leased_until=None)
)
_FORGET_TOKEN = update(slot).where(slot.c.id == bindparam("of_slot")).values(token=None)


def find_slot(connection: Connection, seat: Seat, token: str, *, lock: bool = False) -> OwnSlot | None:
    """The slot that a token names, if it is this person's: held, judged, or run out and not taken yet."""
    keys = {"of_token": token, "of_project": seat.project_id}
    row = connection.execute(_FIND_LOCKED if lock else _FIND, keys).first()
    if row is None:
        return None
    if row.user_id != seat.user_id and not (row.user_id is None and token.startswith(f"{seat.user_id}-")):
        return None
    return OwnSlot(
        slot_id=row.id,
        comparison_id=row.comparison_id,
        kind=row.kind,
        state=row.state,
        shown_left=row.shown_left,
        leased_until=row.leased_until,
    )


def find_earlier(connection: Connection, seat: Seat, submission: Submission) -> Outcome | None:
    """Finds the result of an earlier submission with the same event id, None if it comes for the first time.

    Raises:
        LeaseError: if the event id is somebody else's, or of another project.
    """
    row = connection.execute(_EARLIER, {"of_event": submission.event_id}).first()
    if row is None:
        return None
    if row.user_id != seat.user_id or row.project_id != seat.project_id:
        raise LeaseError("not_your_event")
    return Outcome(duplicate=True, feedback=_feedback(seat, row.kind, row.choice, row.gold, row.shown_left, submission))


def refuse_token(connection: Connection, seat: Seat, token: str) -> LeaseError:
    """Why a new answer under this token is not taken."""
    return LeaseError("gone" if find_slot(connection, seat, token) is None else "answered")


def write_judgment(
    connection: Connection, seat: Seat, own_slot: OwnSlot, submission: Submission, now: float
) -> Outcome:
    """Appends a checked submission and closes its slot; a skipped work slot opens for others instead.

    Raises:
        LeaseError: if the person may not work now, or the pair came back to them another way.
    """
    if not seat.may_work:
        raise LeaseError(seat.state)
    choice, keys = submission.judgment.choice, {"of_comparison": own_slot.comparison_id, "of_user": seat.user_id}
    if own_slot.state == OPEN and connection.execute(_TOUCHED, keys).first() is not None:
        raise LeaseError("answered")
    if own_slot.state == JUDGED:
        before = connection.execute(_CHOICE, {"of_slot": own_slot.slot_id, "of_user": seat.user_id}).scalar()
        seat.place.num_judged -= before not in (None, "skip", "withdrawn")
    connection.execute(_OUTDATE, keys | {"of_kind": own_slot.kind})
    append(connection, seat, own_slot, submission.event_id, choice, now, submission.judgment)
    connection.execute(_JUDGED, {"of_slot": own_slot.slot_id, "by_user": seat.user_id})
    seat.place.num_judged += choice != "skip"
    if own_slot.kind == "work" and choice == "skip":
        pass_on(connection, seat, own_slot)
    if own_slot.kind not in CHECKS:
        return Outcome(duplicate=False, feedback=None)
    gold = connection.execute(_GOLD, {"of_comparison": own_slot.comparison_id}).scalar()
    gold_checks.update_member_state(connection, seat, own_slot.kind)
    if not seat.may_work:
        leasing.release(connection, seat)
    return Outcome(
        duplicate=False, feedback=_feedback(seat, own_slot.kind, choice, gold, own_slot.shown_left, submission)
    )


def append(
    connection: Connection,
    seat: Seat,
    own_slot: OwnSlot,
    event_id: str,
    choice: str,
    now: float,
    answer: Judgment | None = None,
) -> None:
    """Appends the newest row of a slot: an answer, or without one a tombstone."""
    criteria = plain_criteria(answer.criteria) if answer else {}
    connection.execute(
        insert(judgment),
        {
            "project_id": seat.project_id,
            "comparison_id": own_slot.comparison_id,
            "user_id": seat.user_id,
            "slot_id": own_slot.slot_id,
            "kind": own_slot.kind,
            "event_id": event_id,
            "choice": choice,
            "strength": answer.strength if answer else 0,
            "criteria": criteria,
            "directions": directions(criteria),
            "flags": {side: list(names) for side, names in answer.flags.items()} if answer else {},
            "spans": plain_spans(answer.spans) if answer else None,
            "edited": dict(answer.edited) or None if answer else None,
            "rationale": answer.rationale if answer else "",
            "reason": answer.reason if answer else "",
            "seconds": answer.seconds if answer else 0.0,
            "shown_left": own_slot.shown_left,
            "rubric_version": seat.rubric_version,
            "newest": True,
            "created_at": now,
            "ranking": plain_ranking(answer) if answer else None,
            "step_labels": list(answer.step_labels) or None if answer else None,
        },
    )


def pass_on(connection: Connection, seat: Seat, own_slot: OwnSlot) -> None:
    """Opens a skipped slot for others, and marks the comparison so that it does not come to this person again."""
    connection.execute(_FORGET_TOKEN, {"of_slot": own_slot.slot_id})
    free_slots(connection, seat.project_id, [own_slot.slot_id])  # who was to judge it does not want to
    seat.place.num_returns = queue_cursor.give_back(
        connection, seat.project_id, [(own_slot.slot_id, own_slot.comparison_id)]
    )
    connection.execute(
        insert(slot),
        {
            "project_id": seat.project_id,
            "comparison_id": own_slot.comparison_id,
            "kind": "skipped",
            "group_name": "",
            "state": JUDGED,
            "user_id": seat.user_id,
            "shown_left": own_slot.shown_left,
            "rank": 0.0,
        },
    )


def outdate(connection: Connection, seat: Seat, own_slot: OwnSlot) -> None:
    """Takes the mark `newest` from what this person said of a slot's comparison."""
    keys = {"of_comparison": own_slot.comparison_id, "of_user": seat.user_id, "of_kind": own_slot.kind}
    connection.execute(_OUTDATE, keys)


def _feedback(
    seat: Seat, kind: str, choice: str, gold: dict[str, object] | None, left: Side, submission: Submission
) -> str | None:
    if kind not in CHECKS or not seat.design.gold_feedback or not gold or choice in ("skip", "withdrawn"):
        return None
    given = submission.judgment
    return feedback_text(choice, gold, left, submission.language, given.shown, bool(given.step_labels))
