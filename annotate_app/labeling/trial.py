"""A desk to try a rubric at: the labeling page on a few pairs, where nothing is stored and nobody's work is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from annotate_app.access import Actor
from annotate_app.labeling.desk import EVENT_ID, Acknowledgement, Desk
from annotate_app.labeling.pair_payload import describe_choice
from annotate_app.protocol.leases import Lease, OwnProgress, Submission, check_against_texts, check_submission
from annotate_app.protocol.rubric import Rubric
from annotate_app.words import say
from rewardkit.data.records import Comparison, Judgment

NO_PROJECT = 0
"""The project of a trial: none, so that what the browser says of it to the server's routes is about nothing."""


@dataclass
class TrialDesk:
    """Hands out the pairs in their order, checks each answer as a real desk does, and forgets it.

    Attributes:
        desk: what the browser is shown.
        waiting: what is not answered yet, in order.
        images_of: the project that has the images of the pairs.
        answers: what was answered so far, by pair.
    """

    desk: Desk
    waiting: list[Lease]
    images_of: int
    answers: list[tuple[Lease, Judgment]] = field(default_factory=list)

    @classmethod
    def open(
        cls, actor: Actor, rubric: Rubric, comparisons: Sequence[Comparison], images_of: int = NO_PROJECT
    ) -> TrialDesk:
        """Opens a desk on comparisons, whose sides change from pair to pair."""
        leases = [
            Lease(
                token=f"trial-{number}",
                comparison=comparison,
                shown_left="b" if number % 2 else "a",
                leased_until=float("inf"),
            )
            for number, comparison in enumerate(comparisons)
        ]
        desk = Desk(
            actor=actor,
            project_id=NO_PROJECT,
            rubric=rubric,
            rubric_version=0,
            idle_s=60,
            leases=[],
            progress=OwnProgress(done=0, target=len(leases), state="active", remaining_available=True),
        )
        trial = cls(desk=desk, waiting=leases, images_of=images_of)
        trial._show()
        return trial

    def receive(self, message: object) -> None:
        """Handles a browser's message as `Desk.receive` does."""
        self.desk.acks, self.desk.notice, self.desk.feedback, self.desk.history = [], "", "", None
        events = message.get("events") if isinstance(message, Mapping) else None
        for event in events if isinstance(events, list) else []:
            event_id = event.get("event_id") if isinstance(event, Mapping) else None
            if isinstance(event_id, str) and EVENT_ID.fullmatch(event_id):
                self.desk.acks.append(self._handle(event_id, event))
        self._show()

    def data(self, message: object) -> dict[str, object]:
        """The component's data, as `Desk.data` makes it, and whose images its texts name."""
        return self.desk.data(message) | {"images": self.images_of}

    def _handle(self, event_id: str, event: Mapping[str, Any]) -> Acknowledgement:
        try:
            match event.get("kind"):
                case "submit" | "skip":
                    self._take(event_id, event)
                case "undo":
                    self._undo()
                case "history":
                    self.desk.history = []
        except ValueError as error:
            return Acknowledgement(event_id=event_id, status="refused", message=str(error))
        return Acknowledgement(event_id=event_id, status="saved")

    def _take(self, event_id: str, event: Mapping[str, Any]) -> None:
        lease = next((lease for lease in self.waiting if lease.token == event.get("token")), None)
        if lease is None:
            return
        judgment = self.desk.read(event, lease)
        submission = Submission(token=lease.token, event_id=event_id, judgment=judgment)
        shown = lease.comparison
        check_submission(submission, self.desk.rubric, len(shown.responses), len(shown.steps))
        check_against_texts(judgment, lease.comparison)
        self.waiting.remove(lease)
        self.answers.append((lease, judgment))
        said = describe_choice(judgment, lease.shown_left, self.desk.rubric.scale)
        self.desk.notice = f"An answer like this would be stored: {said}. Nothing was."

    def _undo(self) -> None:
        if not self.answers:
            self.desk.notice = say(self.desk.language, "desk.nothing_to_undo")
            return
        lease, judgment = self.answers.pop()
        token = f"{lease.token.partition('~')[0]}~{len(self.desk.acks)}{len(self.answers)}"
        self.waiting.insert(0, replace(lease, token=token, previous=judgment))

    def _show(self) -> None:
        self.desk.leases = list(self.waiting)
        self.desk.progress = replace(self.desk.progress, done=len(self.answers))
