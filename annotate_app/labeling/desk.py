"""The server's side of a labeling session: what the browser is shown, and what its events do to the store.

The browser is untrusted and forgetful, the network drops, and the process may restart between any two lines. So a
`Desk` holds nothing that may not be lost: judgments are in the store before they are acknowledged, pairs are leases, an
event that comes twice counts once. What reaches the browser names no model, no source and no comparison: a lease's
token is the only id, and an event is only believed about a token that is this person's.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from annotate_app.access import AccessError, Actor
from annotate_app.labeling.pair_payload import (
    describe_choice,
    excerpt,
    read_answer,
    screen_answer,
    show_pair,
    show_rubric,
    storable,
)
from annotate_app.labeling.ranking_payload import (
    order_on_screen,
    read_ranking_answer,
    screen_ranking,
    show_ranking,
)
from annotate_app.labeling.steps_payload import read_steps_answer, screen_steps, show_steps
from annotate_app.protocol.leases import Lease, LeaseError, OwnProgress, Submission
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.base.database import failure
from annotate_app.store.store import Store
from annotate_app.store.work.day import OwnDay
from annotate_app.words import FALLBACK, say, words
from rewardkit.data.records import Judgment, content_id

logger = logging.getLogger(__name__)

PAIRS_AHEAD = 2
MOST_EVENTS = 50  # in one message
HISTORY_SHOWN = 50
DAY_KEPT_S = 20.0
EVENT_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """The result of an event.

    `saved` and `repeated` are on disk (a repeated one from an earlier delivery), `refused` never will be (`message`
    says why), `failed` may be sent again.
    """

    event_id: str
    status: Literal["saved", "repeated", "refused", "failed"]
    message: str = ""


@dataclass
class Desk:
    """One person's seat at one project, in one browser tab."""

    actor: Actor
    project_id: int
    rubric: Rubric
    rubric_version: int
    idle_s: int
    leases: list[Lease]
    progress: OwnProgress
    language: str = FALLBACK  # of what it says to the person
    edit: Lease | None = None  # an own earlier judgment that is being changed
    edit_of: int = 0  # its id
    returned: str = ""  # token of an undone judgment's pair, shown before the others with the answer it had
    acks: list[Acknowledgement] = field(default_factory=list)
    feedback: str = ""
    notice: str = ""
    history: list[dict[str, object]] | None = None
    zone: tzinfo = UTC  # in which the person's day begins
    day: OwnDay | None = None
    day_read: float = float("-inf")  # monotonic
    newest_read: int = 0  # version of the guidelines that the person has acknowledged

    @classmethod
    def open(cls, store: Store, actor: Actor, project_id: int, language: str = FALLBACK, zone: tzinfo = UTC) -> Desk:
        """Opens the session: takes up the person's live leases, and new ones if there are none."""
        version = store.projects.rubric(actor, project_id)
        desk = cls(
            actor=actor,
            project_id=project_id,
            rubric=version.rubric,
            rubric_version=version.version,
            idle_s=store.projects.get(actor, project_id).design.idle_s,
            leases=[],
            progress=store.work.own_progress(actor, project_id),
            language=language,
            zone=zone,
        )
        desk.refresh(store)
        return desk

    def refresh(self, store: Store) -> None:
        """Reads the person's leases and progress from the store again."""
        version = store.projects.rubric(self.actor, self.project_id)
        self.rubric, self.rubric_version = version.rubric, version.version
        self.leases = list(store.work.lease(self.actor, self.project_id, count=PAIRS_AHEAD))
        self.progress = store.work.own_progress(self.actor, self.project_id)
        self.newest_read = store.readings.newest(self.actor, self.project_id)
        self._read_day(store)

    def _read_day(self, store: Store) -> None:
        now = datetime.now(self.zone)
        since = now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        self.day, self.day_read = store.work.own_day(self.actor, self.project_id, since), time.monotonic()

    def receive(self, store: Store, message: object) -> None:
        """Handles a browser's message, {"events": [event, ...]}, in order; acknowledgements replace the last ones.

        An event that the store fails on (a locked database, a lost connection) is acknowledged as failed, and so are
        those after it: the browser keeps them and sends them again.
        """
        self.acks, self.feedback, self.notice, self.history = [], "", "", None
        events = message.get("events") if isinstance(message, Mapping) else None
        for event in events[:MOST_EVENTS] if isinstance(events, list) else []:
            event_id = event.get("event_id") if isinstance(event, Mapping) else None
            if not isinstance(event_id, str) or not EVENT_ID.fullmatch(event_id):
                continue  # nothing to acknowledge it by
            if self.acks and self.acks[-1].status == "failed":
                self.acks.append(Acknowledgement(event_id=event_id, status="failed"))
                continue
            self.acks.append(self._handle(store, event_id, event))

    def _handle(self, store: Store, event_id: str, event: Mapping[str, Any]) -> Acknowledgement:
        try:
            duplicate = self._act(store, event_id, event)
        except (ValueError, OverflowError, AccessError) as error:  # of these, OverflowError: a number nothing takes
            self._try_refresh(store)
            message = error.in_language(self.language) if isinstance(error, LeaseError) else str(error)
            return Acknowledgement(event_id=event_id, status="refused", message=message)
        except Exception as error:
            _log(error, f"labeling event {str(event.get('kind'))[:40]} of {self.actor.name} failed")
            return Acknowledgement(event_id=event_id, status="failed")
        return Acknowledgement(event_id=event_id, status="repeated" if duplicate else "saved")

    def _act(self, store: Store, event_id: str, event: Mapping[str, Any]) -> bool:
        """Carries out an event; returns True if an earlier delivery had done it."""
        match event.get("kind"):
            case "submit" | "skip":
                return self._submit(store, event_id, event)
            case "undo":
                self._undo(store, event_id)
            case "reopen":
                self.reopen(store, event.get("judgment_id"))
            case "cancel":
                self._cancel(store)
            case "renew":
                store.work.renew(self.actor, self.project_id)
                if not self.leases:
                    self.refresh(store)
                self._read_day(store)
            case "refresh":
                self.refresh(store)
            case "read":
                return self._acknowledge(store, event.get("version"))
            case "question":
                return self._ask(store, event_id, event)
            case "history":
                self.history = self._list_history(store)
            case kind:
                raise ValueError(f"kind is {str(kind)[:40]!r}, which is no event of the labeling page")
        return False

    def _acknowledge(self, store: Store, version: object) -> bool:
        """Notes that the guidelines of a version were read."""
        if isinstance(version, bool) or not isinstance(version, int):
            raise ValueError(f"version is {str(version)[:40]!r}, allowed is a number")
        repeated = store.readings.acknowledge(self.actor, self.project_id, version)
        self.newest_read = max(self.newest_read, version)
        return repeated

    def _ask(self, store: Store, event_id: str, event: Mapping[str, Any]) -> bool:
        """Passes a question about a pair on to the leads."""
        token, asked = event.get("token"), event.get("text")
        if not isinstance(token, str) or not isinstance(asked, str):
            raise ValueError("a question names a pair and has a text")
        return store.questions.ask(self.actor, self.project_id, token, event_id, storable(asked))

    def _submit(self, store: Store, event_id: str, event: Mapping[str, Any]) -> bool:
        token = event.get("token")
        if not isinstance(token, str) or not 0 < len(token) <= 64:
            raise ValueError("the event names no pair")
        judgment = self.read(event, self._find_lease(store, token))
        submission = Submission(token=token, event_id=event_id, judgment=judgment, language=self.language)
        receipt = store.work.submit(self.actor, self.project_id, submission, lease_count=PAIRS_AHEAD)
        self.leases, self.progress = list(receipt.leases), receipt.progress
        self.feedback = receipt.feedback or self.feedback
        if self.edit is not None and self.edit.token == token:
            self.edit = None
        began = self.day is not None and self.day.num_pairs > 0
        if not began or time.monotonic() - self.day_read > DAY_KEPT_S:
            self._read_day(store)
        return receipt.duplicate

    def read(self, event: Mapping[str, Any], lease: Lease) -> Judgment:
        """Reads a `submit` or `skip` event as the rubric's task asks: a choice between two, a ranking, labels of steps.

        Raises:
            ValueError: naming the field, its value and the form it must have.
        """
        match self.rubric.task:
            case "compare":
                return read_answer(event, lease, self.actor.name)
            case "rank" | "best":
                return read_ranking_answer(event, lease, self.actor.name, self.actor.user_id or 0)
            case "steps":
                return read_steps_answer(event, lease, self.actor.name)

    def _show(self, lease: Lease) -> dict[str, object]:
        match self.rubric.task:
            case "compare":
                return show_pair(lease, marks=bool(self.rubric.span_flags))
            case "rank" | "best":
                return show_ranking(lease, self.actor.user_id or 0, self.rubric.task)
            case "steps":
                return show_steps(lease)

    def _show_answer(self, answer: Judgment, lease: Lease) -> dict[str, object]:
        match self.rubric.task:
            case "compare":
                return screen_answer(answer, lease.shown_left)
            case "rank" | "best":
                return screen_ranking(answer, order_on_screen(lease, self.actor.user_id or 0))
            case "steps":
                return screen_steps(answer)

    def _find_lease(self, store: Store, token: str) -> Lease:
        """The lease of a token; the store is asked where this session did not hand it out."""
        for lease in self._in_hand():
            if lease.token == token:
                return lease
        lease = store.work.find_lease(self.actor, self.project_id, token)
        if lease is None:
            raise LeaseError("no_longer")
        return lease

    def _in_hand(self) -> list[Lease]:
        """The pairs that the page may show, in order: an edit, a pair that was put back, then the queue."""
        leases = sorted(self.leases, key=lambda lease: lease.token != self.returned)
        return leases if self.edit is None else [self.edit, *leases]

    def _undo(self, store: Store, event_id: str) -> None:
        lease = store.work.undo(self.actor, self.project_id, event_id=event_id)
        self.edit = None
        self.refresh(store)
        if lease is None:
            self.notice = say(self.language, "desk.nothing_to_undo")
            return
        self.returned = lease.token
        self.leases = [lease, *(other for other in self.leases if other.token != lease.token)]

    def reopen(self, store: Store, judgment_id: object) -> None:
        """Reopens an own earlier judgment for a change; a skip is withdrawn instead, and its pair is leased again."""
        if isinstance(judgment_id, bool) or not isinstance(judgment_id, int):
            raise ValueError(f"judgment_id is {str(judgment_id)[:40]!r}, allowed is a number")
        lease, _ = store.work.reopen(self.actor, self.project_id, judgment_id)
        self.refresh(store)
        if lease.token in {other.token for other in self.leases}:
            self.returned = lease.token
        else:
            self.edit, self.edit_of = lease, judgment_id

    def _cancel(self, store: Store) -> None:
        """Ends an edit; the judgment stands as it was."""
        if self.edit is not None:
            store.work.release(self.actor, self.project_id, [self.edit.token])
        self.edit = None
        self.refresh(store)

    def _try_refresh(self, store: Store) -> None:
        """Refreshes after a refused event; if the store cannot be read, the page keeps what it showed."""
        try:
            self.refresh(store)
        except Exception as error:
            _log(error, f"leases of {self.actor.name} could not be read")

    def _list_history(self, store: Store) -> list[dict[str, object]]:
        return [
            {
                "id": own.judgment_id,
                "at": own.judgment.created_at,
                "prompt": excerpt(own.comparison.prompt),
                "choice": describe_choice(own.judgment, own.shown_left or "a", self.rubric.scale, self.language),
                "can_edit": own.can_edit,
            }
            for own in store.work.history(self.actor, self.project_id, limit=HISTORY_SHOWN)
        ]

    def data(self, message: object) -> dict[str, object]:
        """The component's data. Texts the browser says it has (`known` in its message) are not sent again."""
        held_by_page = message.get("known") if isinstance(message, Mapping) else None
        held_by_page = held_by_page if isinstance(held_by_page, Mapping) else {}
        held = held_by_page.get("pairs")
        leases = self._in_hand()[: PAIRS_AHEAD + 1]
        shown = show_rubric(self.rubric, self.rubric_version, self.language)
        # Another rubric may show the same pairs in another way.
        held = held if isinstance(held, list) and held_by_page.get("rubric") == shown["id"] else []
        return {
            "project": self.project_id,
            "scope": content_id("labeling", self.actor.user_id, self.actor.name, self.project_id),
            "state": self.progress.state,
            "queue": [lease.token for lease in leases],
            "pairs": {lease.token: self._show(lease) for lease in leases if lease.token not in held},
            "given": {
                lease.token: self._show_answer(lease.previous, lease) for lease in leases if lease.previous is not None
            },
            "questions": {lease.token: [list(pair) for pair in lease.questions] for lease in leases if lease.questions},
            "rubric_version": self.rubric_version,
            "has_read": self.newest_read >= self.rubric_version,
            "day": None if self.day is None else _show_day(self.day),
            "edit": "" if self.edit is None else self.edit.token,
            "edit_of": 0 if self.edit is None else self.edit_of,
            "rubric": shown if held_by_page.get("rubric") != shown["id"] else {"id": shown["id"]},
            "words": {"language": self.language}
            | ({} if held_by_page.get("words") == self.language else {"texts": dict(words(self.language))}),
            "idle_s": self.idle_s,
            "progress": {"done": self.progress.done, "target": self.progress.target},
            "acks": [{"event_id": ack.event_id, "status": ack.status, "message": ack.message} for ack in self.acks],
            "feedback": self.feedback,
            "notice": self.notice,
            "history": self.history,
        }


def _show_day(day: OwnDay) -> dict[str, object]:
    return {
        "pairs": day.num_pairs,
        "median_s": day.median_s,
        "minutes": int(day.active_s // 60),
        "earned": day.earned,
        "checks": day.num_gold,
        "right": day.num_right,
        "break_after": int(day.since_break_s // 60) if day.break_due else 0,
    }


def _log(error: Exception, what: str) -> None:
    """One line where the database failed, which happens to the best; the traceback of what is a mistake of ours."""
    reason = failure(error)
    if reason:
        logger.error("%s: %s", what, reason)
    else:
        logger.error(what, exc_info=error)
