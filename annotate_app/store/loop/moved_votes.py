"""An annotator that never was a person: imported among people's judgments, moved to where votes of judges are kept.

Its judgments are withdrawn by tombstones as an undo withdraws one, so that the history stays; the slots that they had
filled wait for people again.
"""

from __future__ import annotations

import time

from sqlalchemy import Connection, insert, select, update

from annotate_app.store.base.answers import read_judgment, select_judgments
from annotate_app.store.base.pending import reopen
from annotate_app.store.base.slots import batches
from annotate_app.store.loop.judge_votes import insert_votes, vote_of
from annotate_app.store.schema import tables

UNKNOWN = "the project has no judgments of an imported annotator {name!r}; it has those of {names}"


def move_votes(connection: Connection, project_id: int, annotator: str, judge_id: int) -> int:
    """Moves all judgments of an imported annotator in a project to a judge; how many they were.

    Raises:
        ValueError: if there are none, or the annotator is a person: an account that signs in, or a simulated one.
    """
    user, judgment = tables.user.c, tables.judgment.c
    imported = user.origin == "imported"
    mine = select_judgments(project_id).where(user.name == annotator, imported, judgment.kind == "import")
    rows = connection.execute(mine).all()
    if not rows:
        others = select(user.name).join(tables.judgment, judgment.user_id == user.id)
        names = connection.execute(
            others.where(judgment.project_id == project_id, imported).distinct().order_by(user.name)
        )
        raise ValueError(UNKNOWN.format(name=annotator, names=", ".join(names.scalars()) or "none"))
    votes = [vote_of(read_judgment(row)) for row in rows]
    insert_votes(connection, judge_id, votes)
    ids = [row.id for row in rows]
    for part in batches(ids):
        connection.execute(update(tables.judgment).where(judgment.id.in_(part)).values(newest=False))
    now = time.time()
    tombstones = [
        {
            "project_id": project_id,
            "comparison_id": row.comparison_id,
            "user_id": row.user_id,
            "slot_id": row.slot_id,
            "kind": "import",
            "event_id": f"moved-{row.id}",
            "choice": "withdrawn",
            "criteria": {},
            "flags": {},
            "created_at": now,
        }
        for row in rows
    ]
    connection.execute(insert(tables.judgment), tombstones)
    slot_ids = sorted({row.slot_id for row in rows if row.slot_id is not None})
    for part in batches(slot_ids):
        reopen(connection, project_id, part)
    return len(rows)
