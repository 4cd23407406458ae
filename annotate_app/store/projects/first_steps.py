"""How far a new project is on its way from a rubric to the first judgment."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select

from annotate_app.access import Actor
from annotate_app.store.base.pending import COMPARISON_SHOWN, JUDGMENT_SHOWN
from annotate_app.store.people.accounts import WITHOUT_SIGN_IN
from annotate_app.store.schema import tables

KEPT = "rubric keep"
"""The line of the audit log that says: somebody has read the rubric, and it is to stay as it is."""


@dataclass(frozen=True, kw_only=True)
class FirstSteps:
    """What a project has of what it needs.

    Attributes:
        rubric_read: whether a lead has changed the rubric, or said that it is right as it is.
        num_people: members who may sign in, without the one who asks.
        num_invited: invitations to it that are open.
        is_judged: whether somebody has judged a pair.
    """

    rubric_read: bool
    num_comparisons: int
    num_people: int
    num_invited: int
    is_judged: bool


def read_first_steps(connection: Connection, actor: Actor, project_id: int) -> FirstSteps:
    """Reads it in one consistent state."""
    rubric, audit, judgment = tables.rubric.c, tables.audit.c, tables.judgment.c
    member, account, invite = tables.membership.c, tables.user.c, tables.invite.c
    is_kept = exists().where(audit.project_id == project_id, audit.action == KEPT)
    is_changed = exists().where(rubric.project_id == project_id, rubric.version > 1)
    is_judged = exists().where(judgment.project_id == project_id, JUDGMENT_SHOWN)
    comparisons = select(func.count()).select_from(tables.comparison)
    people = select(func.count()).select_from(tables.membership).join(tables.user, account.id == member.user_id)
    others = (account.origin.not_in(WITHOUT_SIGN_IN), account.id != (actor.user_id or 0))
    judged = bool(connection.execute(select(is_judged)).scalar())
    return FirstSteps(
        rubric_read=judged or bool(connection.execute(select(is_kept | is_changed)).scalar()),
        num_comparisons=connection.execute(
            comparisons.where(tables.comparison.c.project_id == project_id, COMPARISON_SHOWN)
        ).scalar_one(),
        num_people=connection.execute(people.where(member.project_id == project_id, *others)).scalar_one(),
        num_invited=connection.execute(
            select(func.count()).where(
                invite.project_id == project_id, invite.used_at.is_(None), invite.expires_at > time.time()
            )
        ).scalar_one(),
        is_judged=judged,
    )
