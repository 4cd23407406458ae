"""People: accounts, members of a project, invitations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from annotate_app.access import MissingError
from annotate_app.api.calling import SIGNED_IN, ActorNow, Limit, Offset, ProjectId, StoreNow, page_link
from annotate_app.api.shapes import (
    Invites,
    MadeInvite,
    Members,
    MemberShape,
    NewInvite,
    NewMember,
    PersonPage,
)

router = APIRouter(tags=["people"], dependencies=SIGNED_IN)
InviteId = Annotated[str, Path(max_length=64, description="id of the invitation")]


@router.get("/people")
def list_people(
    request: Request, actor: ActorNow, store: StoreNow, offset: Offset = 0, limit: Limit = 100
) -> PersonPage:
    """All accounts, by name. Lead or above."""
    given = store.people.list(actor)[offset : offset + limit + 1]
    page = {"items": given[:limit], "next": page_link(request, offset, limit, len(given))}
    return PersonPage.model_validate(page)


@router.get("/projects/{project_id}/members")
def list_members(actor: ActorNow, store: StoreNow, project_id: ProjectId) -> Members:
    """Who works on a project, by name. Adjudicator or above."""
    return Members.model_validate({"items": store.projects.members(actor, project_id)})


@router.post("/projects/{project_id}/members", status_code=201)
def add_member(actor: ActorNow, store: StoreNow, project_id: ProjectId, body: NewMember) -> MemberShape:
    """Lets somebody into a project, or moves a member to another group. Lead or above."""
    actor.require("lead", "adding a member")
    user = store.people.by_name(actor, body.name)
    if user is None:
        raise MissingError(f"there is no user {body.name!r}")
    store.projects.add_member(actor, project_id, user.id, body.group)
    members = store.projects.members(actor, project_id)
    return MemberShape.model_validate(next(each for each in members if each.user_id == user.id))


@router.get("/invites")
def list_invites(actor: ActorNow, store: StoreNow) -> Invites:
    """The invitations that work now, newest first. Lead or above."""
    return Invites.model_validate({"items": store.people.invites(actor)})


@router.post("/invites", status_code=201)
def create_invite(actor: ActorNow, store: StoreNow, body: NewInvite) -> MadeInvite:
    """Makes an invitation. Leads invite to projects of theirs, admins anybody anywhere."""
    token = store.people.create_invite(
        actor, role=body.role, name=body.name, project_id=body.project_id, group=body.group
    )
    return MadeInvite(path=f"/invite/{token}")


@router.delete("/invites/{invite_id}", status_code=204, response_class=Response)
def end_invite(actor: ActorNow, store: StoreNow, invite_id: InviteId) -> None:
    """Ends an invitation."""
    store.people.revoke_invite(actor, invite_id)
