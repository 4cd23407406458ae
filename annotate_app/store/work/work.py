"""Work: handing out pairs and taking judgments in, each call one transaction.

Who may have what is decided in `queue_cursor` (the queue), `gold_checks` (gold, qualification, repeats) and `leasing`
(what somebody holds). `submitting` writes an answer; undo, edits and the own history are in `history`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from annotate_app.access import Actor
from annotate_app.protocol.assignment import shown_order
from annotate_app.protocol.leases import (
    Lease,
    OwnJudgment,
    OwnProgress,
    Receipt,
    Submission,
    check_against_texts,
    check_submission,
)
from annotate_app.protocol.rubric import Rubric, parse_rubric
from annotate_app.store.base.database import Database
from annotate_app.store.base.pending import COMPARISON_SHOWN
from annotate_app.store.schema import tables
from annotate_app.store.work import day, gold_checks, history, leasing, submitting
from annotate_app.store.work.member_at_work import Seat, save_place, take_seat
from annotate_app.store.work.questions import read_answered
from rewardkit.data.records import Comparison, Judgment

ATTEMPTS = 5  # of a transaction that met another one on PostgreSQL
RETRIED = ("40001", "40P01", "23505")  # serialization failure, deadlock, the same row made at the same time
TEXTS_KEPT = 256  # comparisons held in memory: the two in the hands of some hundred people
TARGET_KEPT_S = 60.0
ANSWERS_KEPT_S = 3.0
Result = TypeVar("Result")


class Work:
    """Leases pairs to the actor and stores their judgments; requires membership of the project."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rubrics: dict[tuple[int, int], Rubric] = {}
        self._texts: dict[int, Comparison] = {}
        self._targets: dict[int, tuple[float, int]] = {}
        self._answers: dict[int, tuple[float, Mapping[int, tuple[tuple[str, str], ...]]]] = {}

    def lease(self, actor: Actor, project_id: int, *, count: int = 2) -> list[Lease]:
        """The pairs in the actor's hands, oldest first, with new ones until there are `count`.

        The same pairs come again, with the same tokens and sides, until they are judged, released or run out and are
        taken by somebody else.
        """

        def hand_out(connection: Connection) -> list[leasing.Held]:
            seat = take_seat(connection, actor, project_id, "working")
            holding = leasing.fill(connection, seat, count, time.time())
            save_place(connection, seat.place)
            return holding

        return self._with_texts(project_id, self._write(hand_out))

    def renew(self, actor: Actor, project_id: int) -> int:
        """Keeps the actor's pairs for another lease time; returns how many they hold."""

        def renew(connection: Connection) -> int:
            seat = take_seat(connection, actor, project_id, "working")
            return leasing.renew(connection, seat, time.time())

        return self._write(renew)

    def leave(self, actor: Actor, project_id: int) -> int:
        """Says that the actor closed the page: whoever does not come back soon has their pairs given to others.

        A reload looks the same from here, so nothing is given back at once. Returns how many pairs wait.
        """

        def leave(connection: Connection) -> int:
            seat = take_seat(connection, actor, project_id, "leaving")
            return leasing.leave(connection, seat, time.time())

        return self._write(leave)

    def release(self, actor: Actor, project_id: int, tokens: Sequence[str] | None = None) -> int:
        """Gives pairs back, all of the actor's or those named; an edit that is named ends with the answer as it was.

        Checks stay the actor's, so that nobody gets rid of one by leaving. Returns how many pairs were let go.
        """

        def release(connection: Connection) -> int:
            seat = take_seat(connection, actor, project_id, "releasing pairs")
            return leasing.release(connection, seat, tokens)

        return self._write(release)

    def find_lease(self, actor: Actor, project_id: int, token: str) -> Lease | None:
        """One of the actor's leases, also when it has been answered; None for any other token."""
        with self._database.read() as connection:
            seat = take_seat(connection, actor, project_id, "working", writing=False)
            slot = submitting.find_slot(connection, seat, token)
        if slot is None:
            return None
        held = leasing.Held(
            slot_id=slot.slot_id,
            comparison_id=slot.comparison_id,
            kind=slot.kind,
            token=token,
            shown_left=slot.shown_left,
            leased_until=slot.leased_until or 0.0,
        )
        return self._with_texts(project_id, [held])[0]

    def submit(self, actor: Actor, project_id: int, submission: Submission, *, lease_count: int = 2) -> Receipt:
        """Writes a judgment and hands out what comes next; both are on disk when this returns.

        Raises:
            LeaseError: if the pair is not the actor's: answered already, or run out and taken by somebody else.
            ValueError: if the answer is not what the rubric asks for, naming the field.
            AccessError: if the actor may not work on the project.
        """

        def take_in(
            connection: Connection,
        ) -> tuple[Seat, submitting.Outcome, list[leasing.Held], tuple[int, int] | None]:
            seat = take_seat(connection, actor, project_id, "working")
            now = time.time()
            slot = submitting.find_slot(connection, seat, submission.token, lock=True)
            outcome = submitting.find_earlier(connection, seat, submission)
            if outcome is None:
                if slot is None or not slot.open_to_answers:
                    raise submitting.refuse_token(connection, seat, submission.token)
                shown = self._as_shown(connection, seat, slot, submission)
                self._check_texts(connection, seat, slot, submission.judgment)
                outcome = submitting.write_judgment(connection, seat, slot, shown, now)
            holding = leasing.fill(connection, seat, lease_count, now)
            save_place(connection, seat.place)
            return seat, outcome, holding, _round_of(connection, seat)

        seat, outcome, holding, of_round = self._write(take_in)
        return Receipt(
            accepted=True,
            duplicate=outcome.duplicate,
            feedback=outcome.feedback,
            leases=self._with_texts(project_id, holding),
            progress=self._progress(seat, bool(holding), of_round),
        )

    def undo(self, actor: Actor, project_id: int, *, event_id: str = "") -> Lease | None:
        """Withdraws the actor's newest judgment and puts its pair back into their hands; None if there is none.

        Args:
            event_id: made by the browser; the same one sent again withdraws nothing more, and returns the same pair
                as long as it is still to be answered.

        Raises:
            LeaseError: if that judgment stands: a check whose answer was shown, a pair that somebody else has by now.
        """

        def undo(connection: Connection) -> tuple[leasing.Held, Judgment] | None:
            seat = take_seat(connection, actor, project_id, "undoing")
            undone = history.undo(connection, seat, event_id, time.time())
            save_place(connection, seat.place)
            return undone

        undone = self._write(undo)
        return None if undone is None else self._with_texts(project_id, [undone[0]], undone[1])[0]

    def reopen(self, actor: Actor, project_id: int, judgment_id: int) -> tuple[Lease, Judgment]:
        """Lets the actor edit an own earlier judgment: the lease to submit under, and the answer as it stands.

        The earlier answer counts until the new one is submitted. A skip is withdrawn instead, as by `undo`.

        Raises:
            LeaseError: if there is no such judgment of the actor's, or it stands as in `undo`.
        """

        def reopen(connection: Connection) -> tuple[leasing.Held, Judgment]:
            seat = take_seat(connection, actor, project_id, "editing")
            reopened = history.reopen(connection, seat, judgment_id, time.time())
            save_place(connection, seat.place)
            return reopened

        opened, judgment = self._write(reopen)
        return self._with_texts(project_id, [opened], judgment)[0], judgment

    def history(self, actor: Actor, project_id: int, *, offset: int = 0, limit: int = 50) -> list[OwnJudgment]:
        """The actor's judgments that stand, newest first; checks are not told from work."""
        with self._database.read() as connection:
            seat = take_seat(connection, actor, project_id, "reading own judgments", writing=False)
            return history.history(connection, seat, offset, limit)

    def own_progress(self, actor: Actor, project_id: int) -> OwnProgress:
        """How far the actor is, and whether there is more."""
        with self._database.read() as connection:
            seat = take_seat(connection, actor, project_id, "reading own progress", writing=False)
            leasing.read_visit(connection, seat)
            available = leasing.anything_left(connection, seat)
            of_round = _round_of(connection, seat)
        return self._progress(seat, available, of_round)

    def own_day(self, actor: Actor, project_id: int, since: float) -> day.OwnDay:
        """What the actor did on the project since the day began, `since` in unix seconds."""
        with self._database.read() as connection:
            seat = take_seat(connection, actor, project_id, "reading the own day", writing=False)
            return day.own_day(connection, seat, since, time.time())

    def _write(self, action: Callable[[Connection], Result]) -> Result:
        """Runs an action in a write transaction, again where it met another one; nothing of a failed try remains."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._database.write() as connection:
                    return action(connection)
            except DBAPIError as error:
                state = getattr(error.orig, "sqlstate", None)
                if attempt == ATTEMPTS or (state not in RETRIED and not isinstance(error, IntegrityError)):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _rubric(self, connection: Connection, seat: Seat) -> Rubric:
        key = (seat.project_id, seat.rubric_version)
        if key not in self._rubrics:
            columns = tables.rubric.c
            query = select(columns.text).where(columns.project_id == key[0], columns.version == key[1])
            self._rubrics[key] = parse_rubric(connection.execute(query).scalar_one())
        return self._rubrics[key]

    def _check_texts(self, connection: Connection, seat: Seat, slot: submitting.OwnSlot, judgment: Judgment) -> None:
        """Holds marked words and edits against the texts; an answer without them costs no look."""
        if not judgment.spans and not judgment.edited:  # labels of steps were held against them before
            return
        number = slot.comparison_id
        comparison = self._texts.get(number) or leasing.read_texts(connection, seat.project_id, [number])[number]
        check_against_texts(judgment, comparison)

    def _as_shown(
        self, connection: Connection, seat: Seat, slot: submitting.OwnSlot, submission: Submission
    ) -> Submission:
        """The checked submission; a ranking with the order in which its responses stood on the screen."""
        rubric, texts = self._rubric(connection, seat), self._texts
        if rubric.task == "compare":
            check_submission(submission, rubric)
            return submission
        if slot.comparison_id not in texts:
            texts = leasing.read_texts(connection, seat.project_id, [slot.comparison_id])
        comparison = texts[slot.comparison_id]
        count = len(comparison.responses)
        check_submission(submission, rubric, count, len(comparison.steps))
        if not submission.judgment.ranks:
            return submission
        order = shown_order(comparison.id, seat.user_id, slot.shown_left, count)
        return replace(submission, judgment=replace(submission.judgment, shown=order))

    def _with_texts(
        self, project_id: int, holding: Sequence[leasing.Held], previous: Judgment | None = None
    ) -> list[Lease]:
        """Leases with what they show. Texts never change, so they are read after the transaction, and kept a while; not
        those in steps, which may be divided anew.
        """
        texts = self._texts
        missing = {held.comparison_id for held in holding} - texts.keys()
        if missing:
            with self._database.read() as connection:
                texts = texts | leasing.read_texts(connection, project_id, missing)
            kept = [(number, comparison) for number, comparison in texts.items() if not comparison.steps]
            self._texts = dict(kept[-TEXTS_KEPT:])
        answered = self._answered(project_id) if holding else {}
        return [
            Lease(
                token=held.token,
                comparison=texts[held.comparison_id],
                shown_left=held.shown_left,
                leased_until=held.leased_until,
                previous=previous,
                questions=answered.get(held.comparison_id, ()),
            )
            for held in holding
        ]

    def _answered(self, project_id: int) -> Mapping[int, tuple[tuple[str, str], ...]]:
        """The project's answered questions by comparison, read every few seconds: they are few, and change rarely."""
        read_at, answered = self._answers.get(project_id, (float("-inf"), {}))
        if time.monotonic() - read_at > ANSWERS_KEPT_S:
            with self._database.read() as connection:
                answered = read_answered(connection, project_id)
            self._answers[project_id] = (time.monotonic(), answered)
        return answered

    def _progress(self, seat: Seat, available: bool, of_round: tuple[int, int] | None) -> OwnProgress:
        if seat.visit is not None:
            target, done = seat.visit.target, seat.visit.done
            return OwnProgress(done=done, target=target, state=seat.state, remaining_available=available)
        done = seat.place.num_judged
        target = seat.design.target or self._project_target(seat.project_id)
        if of_round is not None:
            done, target = of_round
        return OwnProgress(done=done, target=target, state=seat.state, remaining_available=available)

    def _project_target(self, project_id: int) -> int:
        """The project's number of comparisons to judge, counted once a minute."""
        counted_at, count = self._targets.get(project_id, (float("-inf"), 0))
        if time.monotonic() - counted_at > TARGET_KEPT_S:
            columns = tables.comparison.c
            chosen = (columns.project_id == project_id, columns.gold_use == "", ~columns.excluded, COMPARISON_SHOWN)
            query = select(func.count()).where(*chosen)
            with self._database.read() as connection:
                count = connection.execute(query).scalar_one()
            self._targets[project_id] = (time.monotonic(), count)
        return count


def _round_of(connection: Connection, seat: Seat) -> tuple[int, int] | None:
    """Items answered and to be answered in a qualification round, None outside of one."""
    return gold_checks.qualification_progress(connection, seat) if seat.state == "qualifying" else None
