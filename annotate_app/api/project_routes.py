"""Projects, their rubric and progress; whom a token acts for, and whether the server lives."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from annotate_app.api.calling import (
    SIGNED_IN,
    ActorNow,
    CallerNow,
    Limit,
    Offset,
    ProjectId,
    StoreNow,
    page_link,
)
from annotate_app.api.shapes import (
    Health,
    NewProject,
    ProgressShape,
    ProjectChange,
    ProjectPage,
    ProjectShape,
    RubricShape,
    RubricText,
    WhoAmI,
)
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import load_protocol
from annotate_app.store.projects.projects import Project

open_router = APIRouter(tags=["server"])
router = APIRouter()
own = APIRouter(tags=["projects"], dependencies=SIGNED_IN)


@open_router.get("/health")
def health(store: StoreNow) -> Health:
    """Whether the server and its database answer. Needs no token."""
    store.people.session_user("")
    return Health(status="ok")


@own.get("/whoami", tags=["server"])
def whoami(caller: CallerNow) -> WhoAmI:
    """Whom the token acts for, and how far it reaches."""
    return WhoAmI(
        name=caller.actor.name,
        role=caller.actor.role,
        token=caller.token.name,
        project_id=caller.token.project_id,
        expires_at=caller.token.expires_at,
    )


@own.get("/projects")
def list_projects(
    request: Request,
    actor: ActorNow,
    store: StoreNow,
    name: Annotated[str | None, Query(max_length=120, description="only the one of this name")] = None,
    offset: Offset = 0,
    limit: Limit = 100,
) -> ProjectPage:
    """The projects of the person, oldest first; all of them for admins."""
    projects = [each for each in store.projects.list(actor) if name is None or each.name == name]
    given = projects[offset : offset + limit + 1]
    return ProjectPage(
        items=[shape_of(each) for each in given[:limit]], next=page_link(request, offset, limit, len(given))
    )


@own.post("/projects", status_code=201)
def create_project(actor: ActorNow, store: StoreNow, body: NewProject) -> ProjectShape:
    """Makes a project. Lead or above, by a token that is for no other project."""
    if body.protocol is not None and body.rubric is not None:
        raise ValueError("rubric is there beside a protocol, allowed is one of both")
    protocol = load_protocol(body.protocol or "general")
    rubric = protocol.rubric_text if body.rubric is None else body.rubric
    start = protocol.design if body.rubric is None else Design()
    design = Design.from_dict(start.as_dict() | body.design)
    made = store.projects.create(actor, body.name, rubric_text=rubric, design=design, description=body.description)
    return shape_of(made)


@own.get("/projects/{project_id}")
def get_project(actor: ActorNow, store: StoreNow, project_id: ProjectId) -> ProjectShape:
    """One project."""
    return shape_of(store.projects.get(actor, project_id))


@own.patch("/projects/{project_id}")
def change_project(actor: ActorNow, store: StoreNow, project_id: ProjectId, body: ProjectChange) -> ProjectShape:
    """Changes a project. Lead or above."""
    design = None
    if body.design is not None:
        design = Design.from_dict(store.projects.get(actor, project_id).design.as_dict() | body.design)
    changed = store.projects.update(
        actor, project_id, name=body.name, description=body.description, archived=body.archived, design=design
    )
    return shape_of(changed)


@own.get("/projects/{project_id}/progress")
def get_progress(actor: ActorNow, store: StoreNow, project_id: ProjectId) -> ProgressShape:
    """How far the project is, by day and by person. Adjudicator or above."""
    progress = store.projects.progress(actor, project_id)
    figures: dict[str, Any] = {
        **vars(progress),
        "by_day": [{"day": day.isoformat(), "num_judgments": count} for day, count in progress.judgments_by_day],
        "by_member": [vars(member) for member in progress.by_member],
    }
    return ProgressShape.model_validate(figures)


@own.get("/projects/{project_id}/rubric", tags=["rubric"])
def get_rubric(
    actor: ActorNow,
    store: StoreNow,
    project_id: ProjectId,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="the newest where none is named")] = None,
) -> RubricShape:
    """The rubric of the project."""
    return RubricShape.model_validate(store.projects.rubric(actor, project_id, version))


@own.put("/projects/{project_id}/rubric", tags=["rubric"])
def save_rubric(actor: ActorNow, store: StoreNow, project_id: ProjectId, body: RubricText) -> RubricShape:
    """Stores a new version of the rubric; the text of the newest makes none. Lead or above."""
    return RubricShape.model_validate(store.projects.save_rubric(actor, project_id, body.text))


def shape_of(project: Project) -> ProjectShape:
    """A project as the API gives it."""
    return ProjectShape.model_validate(vars(project) | {"design": project.design.as_dict()})


router.include_router(open_router)
router.include_router(own)
