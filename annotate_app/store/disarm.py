"""What a restored backup may do by itself: nothing. It is data until somebody signs in and asks.

A backup comes from another time, often from another machine, and sometimes from another hand. Its rows that would act
or let somebody in without a password are ended in the transaction that restores them: jobs that wait or run, sessions
(which may have been revoked since), API tokens, webhooks, invitations, links for a password and crowd links. Accounts,
roles and passwords stay: they are what is restored.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, select, update

from annotate_app.access import Actor
from annotate_app.installation import data_folder
from annotate_app.store.base import audit
from annotate_app.store.jobs import UNDER_WAY
from annotate_app.store.schema import loop_tables, tables
from annotate_app.store.schema.door_tables import api_token, crowd_link, webhook

_FOLDER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def disarm(connection: Connection, url: str) -> None:
    """Ends what a restored database would do or grant by itself, and notes it in the audit log.

    Run directories are looked for where this installation keeps its own, under the name they had: a backup never points
    to another place of the machine, and runs that were copied along are found again.

    Args:
        url: of the database.
    """
    now = time.time()
    session, invite, job = tables.session.c, tables.invite.c, tables.job.c
    ended = {
        "sessions": update(tables.session).where(session.revoked_at.is_(None)).values(revoked_at=now),
        "invites": update(tables.invite)
        .where(invite.used_at.is_(None), invite.expires_at > now)
        .values(expires_at=now),
        "crowd_links": update(crowd_link).where(crowd_link.c.active).values(active=False),
        "tokens": update(api_token).where(api_token.c.revoked_at.is_(None)).values(revoked_at=now),
        "webhooks": update(webhook).where(webhook.c.active).values(active=False),
        "jobs": update(tables.job)
        .where(job.state.in_(UNDER_WAY))
        .values(state="lost", ended_at=now, process=None, message="it waited or ran when the backup was made"),
    }
    detail = {name: connection.execute(statement).rowcount for name, statement in ended.items()}
    moved: dict[str, str] = {}
    for row in connection.execute(select(job.id, job.run_dir)).all():
        run_dir = str(_own_place(row.run_dir, row.id, data_folder(url) / "jobs"))
        if run_dir != row.run_dir:
            connection.execute(update(tables.job).where(job.id == row.id).values(run_dir=run_dir))
            moved[row.run_dir] = run_dir
    _move_notes(connection, moved)
    audit.record(connection, Actor.command_line(), "restore", detail=detail)


def _move_notes(connection: Connection, moved: Mapping[str, str]) -> None:
    """Lets what is said of runs follow them; a place of which something is said already keeps that."""
    note = loop_tables.run_note.c
    taken = set(connection.execute(select(note.run_dir)).scalars())
    for run_dir in sorted(taken & moved.keys()):
        if moved[run_dir] not in taken:
            taken.add(moved[run_dir])
            connection.execute(
                update(loop_tables.run_note).where(note.run_dir == run_dir).values(run_dir=moved[run_dir])
            )


def _own_place(run_dir: str, job_id: int, folder: Path) -> Path:
    name = Path(run_dir).name
    return folder / (name if _FOLDER_NAME.fullmatch(name) else f"restored-{job_id}")
