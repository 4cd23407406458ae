"""Questions to the lead about a comparison: asked at the desk, answered once, shown to all who meet the comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, select, update

from annotate_app.access import Actor
from annotate_app.protocol.leases import LeaseError
from annotate_app.store.base import audit, notices
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.rights import checked_text, require_member
from annotate_app.store.schema import tables
from annotate_app.store.schema.desk_tables import question
from annotate_app.store.work.member_at_work import take_seat
from annotate_app.store.work.submitting import find_slot

LONGEST = 2000  # characters of a question and of an answer
MOST_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question and, once a lead has answered, its answer.

    Attributes:
        comparison: the id of the comparison in the project.
        asked_by: the annotator's name, which only leads are told; empty for everybody else.
        answered_at: unix seconds, None while it waits.
    """

    id: int
    comparison: str
    text: str
    asked_by: str
    created_at: float
    answer: str
    answered_by: str
    answered_at: float | None


class Questions:
    """Stores questions and answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, actor: Actor, project_id: int, token: str, event_id: str, text: str) -> bool:
        """Asks the leads about a pair in the actor's hands; True if an earlier delivery had asked it.

        Args:
            token: of the pair's lease, also when it was answered since.
            event_id: made by the browser; the same one sent again asks nothing more.

        Raises:
            LeaseError: if the pair is not the actor's any more.
            ValueError: if the text is empty or too long.
        """
        asked = checked_text(text.strip(), "question", LONGEST)
        with self._database.write() as connection:
            seat = take_seat(connection, actor, project_id, "asking a question")
            before = connection.execute(select(question.c.user_id).where(question.c.event_id == event_id)).scalar()
            if before is not None:
                if before != seat.user_id:
                    raise LeaseError("not_your_event")
                return True
            slot = find_slot(connection, seat, token)
            if slot is None:
                raise LeaseError("question_gone")
            if _num_waiting(connection, project_id) == 0:
                notices.add(connection, project_id, f"{seat.user} asks about a pair: see Questions.")
            insert_row(
                connection,
                question,
                project_id=project_id,
                comparison_id=slot.comparison_id,
                user_id=seat.user_id,
                event_id=event_id,
                text=asked,
                created_at=time.time(),
            )
            audit.record(connection, actor, "question", project_id=project_id, subject=seat.user)
        return False

    def answer(self, actor: Actor, project_id: int, question_id: int, text: str) -> None:
        """Answers a question, or corrects its answer. Lead or above.

        Raises:
            ValueError: if there is no such question, or the text is empty or too long.
        """
        answer = checked_text(text.strip(), "answer", LONGEST)
        chosen = (question.c.id == question_id, question.c.project_id == project_id)
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "answering a question", "lead")
            row = connection.execute(select(question.c.answered_at).where(*chosen)).first()
            if row is None:
                raise ValueError(f"there is no question {question_id} in the project")
            values = {"answer": answer, "answered_by": actor.user_id, "answered_at": time.time()}
            connection.execute(update(question).where(*chosen).values(**values))
            action = "question answer" if row.answered_at is None else "question correct"
            audit.record(connection, actor, action, project_id=project_id, subject=str(question_id))

    def list(self, actor: Actor, project_id: int) -> list[Question]:
        """The newest `MOST_SHOWN` questions, those that wait first and the oldest of them on top. Lead or above."""
        waits = question.c.answered_at.is_(None)
        query = _select(project_id).order_by(waits.desc(), question.c.answered_at.desc(), question.c.id)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading questions", "lead")
            return [Question(**row) for row in connection.execute(query.limit(MOST_SHOWN)).mappings()]

    def own(self, actor: Actor, project_id: int) -> list[Question]:
        """The actor's own questions, newest first, with their answers."""
        query = _select(project_id).where(question.c.user_id == actor.user_id).order_by(question.c.id.desc())
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading own questions")
            rows = connection.execute(query.limit(MOST_SHOWN)).mappings()
            return [Question(**{**row, "answered_by": ""}) for row in rows]


def read_answered(connection: Connection, project_id: int) -> Mapping[int, tuple[tuple[str, str], ...]]:
    """By comparison (its number in the database), its questions that are answered as (question, answer)."""
    columns = question.c
    query = (
        select(columns.comparison_id, columns.text, columns.answer)
        .where(columns.project_id == project_id, columns.answered_at.is_not(None))
        .order_by(columns.id)
    )
    answered: dict[int, tuple[tuple[str, str], ...]] = {}
    for row in connection.execute(query):
        answered[row.comparison_id] = (*answered.get(row.comparison_id, ()), (row.text, row.answer))
    return answered


def _select(project_id: int) -> Select:
    asker, lead = tables.user.alias(), tables.user.alias()
    columns = question.c
    return (
        select(
            columns.id,
            tables.comparison.c.key.label("comparison"),
            columns.text,
            asker.c.name.label("asked_by"),
            columns.created_at,
            columns.answer,
            func.coalesce(lead.c.name, "").label("answered_by"),
            columns.answered_at,
        )
        .join(tables.comparison, tables.comparison.c.id == columns.comparison_id)
        .join(asker, asker.c.id == columns.user_id)
        .outerjoin(lead, lead.c.id == columns.answered_by)
        .where(columns.project_id == project_id)
    )


def _num_waiting(connection: Connection, project_id: int) -> int:
    columns = question.c
    query = select(func.count()).where(columns.project_id == project_id, columns.answered_at.is_(None))
    return connection.execute(query).scalar_one()
