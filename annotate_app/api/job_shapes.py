"""The forms of jobs, exports and webhooks; the others are in `shapes`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from annotate_app.api.shapes import Given, MaybeTime, Shown, Time
from annotate_app.exchange.rows.options import ExportForm
from annotate_app.store.jobs import JobState
from annotate_app.store.projects.webhooks import EVENTS, LONGEST_URL, DeliveryState, Event


class JobShape(Shown):
    """A command that waits, runs or has ended."""

    id: int
    project_id: int | None
    kind: str
    title: str
    state: JobState
    created_by: str
    created_at: Time
    started_at: MaybeTime
    ended_at: MaybeTime
    message: str
    progress: float | None = Field(description="from 0 to 1; null where it is not known")
    files: list[str] = Field(description="addresses of what an export has left")


class Jobs(Shown):
    """The newest jobs first."""

    items: list[JobShape]


class NewExport(Given):
    """What to export; the meaning of each field is that of the option of `annotate-app export`."""

    form: ExportForm | Literal["everything"] = "preference"
    format: Literal["jsonl", "json", "csv", "parquet"] = "jsonl"
    layout: Literal["conversational", "plain", "implicit"] = "conversational"
    min_votes: Annotated[int, Field(ge=0, le=1000)] = 1
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.0
    adjudicated_only: bool = False
    ties: Literal["keep", "drop"] = "drop"
    splits: dict[str, float] = Field(default_factory=dict, description="shares of prompts by name")
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    sources: bool = False
    names: bool = False
    license: Annotated[str, Field(max_length=100)] = ""


class ExportFile(Shown):
    """A file that an export has left."""

    name: str
    num_bytes: int
    created_at: Time
    href: str


class ExportFiles(Shown):
    """What exports of a project have left, newest first."""

    items: list[ExportFile]


class WebhookShape(Shown):
    """An address and what it is told."""

    id: int
    project_id: int
    url: str
    events: list[Event]
    active: bool
    private: bool
    created_by: str
    created_at: Time
    num_waiting: int
    num_failed: int


class Webhooks(Shown):
    """The webhooks of a project, oldest first."""

    items: list[WebhookShape]


class NewWebhookShape(Given):
    """A webhook to make."""

    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
    events: Annotated[list[Event], Field(min_length=1, max_length=10)] = Field(default_factory=lambda: list(EVENTS))
    private: bool = Field(default=False, description="let it reach addresses of the own network; for admins")


class WebhookChange(Given):
    """What is to change of a webhook; what is left out stays."""

    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)] | None = None
    events: Annotated[list[Event], Field(min_length=1, max_length=10)] | None = None
    active: bool | None = None
    private: bool | None = None


class MadeWebhook(Shown):
    """A webhook with the secret that signs what it is sent; told only here."""

    webhook: WebhookShape
    secret: str


class Secret(Shown):
    """A secret; told only here."""

    secret: str


class Tested(Shown):
    """What became of a test."""

    delivered: bool
    message: str


class DeliveryShape(Shown):
    """What a webhook is told once."""

    id: int
    event: str
    subject: str
    state: DeliveryState
    tries: int
    next_at: Time
    created_at: Time
    sent_at: MaybeTime
    message: str


class Deliveries(Shown):
    """What a webhook was told and is still to be told, newest first."""

    items: list[DeliveryShape]
    next: str | None = Field(description="address of the next page, null on the last")
