"""Webhooks: addresses that are told what happens in a project."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from annotate_app.api.calling import SIGNED_IN, ActorNow, Limit, ProjectId, StoreNow, link
from annotate_app.api.job_shapes import (
    Deliveries,
    MadeWebhook,
    NewWebhookShape,
    Secret,
    Tested,
    WebhookChange,
    Webhooks,
    WebhookShape,
)
from annotate_app.api.shapes import MOST_ID
from annotate_app.jobs.webhook_sending import UndeliveredError, send_test

router = APIRouter(tags=["webhooks"], dependencies=SIGNED_IN)
WebhookId = Annotated[int, Path(ge=1, le=MOST_ID, description="number of the webhook")]
DeliveryId = Annotated[int, Path(ge=1, le=MOST_ID, description="number of the delivery")]
PLACE = "/projects/{project_id}/webhooks"


@router.get(PLACE)
def list_webhooks(actor: ActorNow, store: StoreNow, project_id: ProjectId) -> Webhooks:
    """The webhooks of a project. Lead or above, as all of this."""
    return Webhooks.model_validate({"items": store.webhooks.list(actor, project_id)})


@router.post(PLACE, status_code=201)
def create_webhook(actor: ActorNow, store: StoreNow, project_id: ProjectId, body: NewWebhookShape) -> MadeWebhook:
    """Makes a webhook, which is told what happens from now on; its secret is told only here."""
    made = store.webhooks.create(actor, project_id, body.url, body.events, private=body.private)
    return MadeWebhook.model_validate(made)


@router.get(PLACE + "/{webhook_id}")
def get_webhook(actor: ActorNow, store: StoreNow, project_id: ProjectId, webhook_id: WebhookId) -> WebhookShape:
    """One webhook."""
    return WebhookShape.model_validate(store.webhooks.get(actor, project_id, webhook_id))


@router.patch(PLACE + "/{webhook_id}")
def change_webhook(
    actor: ActorNow, store: StoreNow, project_id: ProjectId, webhook_id: WebhookId, body: WebhookChange
) -> WebhookShape:
    """Changes a webhook; one that is switched on again is told what happened meanwhile."""
    changes = body.model_dump(exclude_unset=True)
    return WebhookShape.model_validate(store.webhooks.change(actor, project_id, webhook_id, **changes))


@router.delete(PLACE + "/{webhook_id}", status_code=204, response_class=Response)
def remove_webhook(actor: ActorNow, store: StoreNow, project_id: ProjectId, webhook_id: WebhookId) -> None:
    """Ends a webhook, with all that it waits for."""
    store.webhooks.remove(actor, project_id, webhook_id)


@router.post(PLACE + "/{webhook_id}/secret")
def renew_secret(actor: ActorNow, store: StoreNow, project_id: ProjectId, webhook_id: WebhookId) -> Secret:
    """A new secret, which signs from now on; told only here."""
    return Secret(secret=store.webhooks.renew_secret(actor, project_id, webhook_id))


@router.post(PLACE + "/{webhook_id}/test")
def send_a_test(actor: ActorNow, store: StoreNow, project_id: ProjectId, webhook_id: WebhookId) -> Tested:
    """Sends the event `test` at once, and says what the receiver answered."""
    try:
        return Tested(delivered=True, message=send_test(store, actor, project_id, webhook_id))
    except UndeliveredError as error:
        return Tested(delivered=False, message=str(error))


@router.get(PLACE + "/{webhook_id}/deliveries")
def list_deliveries(
    request: Request,
    actor: ActorNow,
    store: StoreNow,
    project_id: ProjectId,
    webhook_id: WebhookId,
    before: Annotated[int | None, Query(ge=1, le=MOST_ID, description="number of the last one known")] = None,
    limit: Limit = 100,
) -> Deliveries:
    """What a webhook was told and is still to be told, newest first."""
    listed = store.webhooks.deliveries(actor, project_id, webhook_id, before=before, limit=limit + 1)
    more = link(request, before=listed[limit - 1].id, limit=limit) if len(listed) > limit else None
    return Deliveries.model_validate({"items": listed[:limit], "next": more})


@router.post("/projects/{project_id}/deliveries/{delivery_id}/again", status_code=204, response_class=Response)
def send_again(actor: ActorNow, store: StoreNow, project_id: ProjectId, delivery_id: DeliveryId) -> None:
    """Puts a delivery that was given up, or waits for its next try, first in line."""
    store.webhooks.send_again(actor, project_id, delivery_id)
