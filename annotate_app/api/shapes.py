"""The forms of what the API takes and gives, as its OpenAPI document describes them; jobs are in `job_shapes`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from annotate_app.access import UserRole
from annotate_app.store.people.accounts import Origin

MOST_ID = 2**63 - 1
Name = Annotated[str, Field(min_length=1, max_length=120)]
Text = Annotated[str, Field(max_length=500_000)]
Time = Annotated[float, Field(description="unix time in seconds")]
MaybeTime = Annotated[float | None, Field(description="unix time in seconds")]


class Given(BaseModel):
    """Base of what comes in: unknown fields are refused, values are taken as they are."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Shown(BaseModel):
    """Base of what goes out, read from the store's own objects."""

    model_config = ConfigDict(from_attributes=True)


class RefusedRow(Shown):
    """A row of a body that cannot be used."""

    line: int | None = Field(description="line of JSONL, number of the record in a list, from 1")
    field: str = Field(description="where in the row; empty for the row itself")
    value: str
    reason: str = Field(description="in one word")
    message: str


class ErrorBody(Shown):
    """Why something was not done."""

    message: str
    field: str | None = Field(description="field of the request, null where it is none")
    value: Any = Field(description="what stood there")
    allowed: str | None = Field(description="what may stand there")
    rows: list[RefusedRow] = Field(description="rows of a body that cannot be used")


class Error(Shown):
    """The answer wherever something was not done."""

    error: ErrorBody


class Health(Shown):
    """The server answers, and so does its database."""

    status: Literal["ok"]


class WhoAmI(Shown):
    """Whom a token acts for, and how far it reaches."""

    name: str
    role: UserRole = Field(description="the role it acts with: the lesser of the token's and the person's")
    token: str
    project_id: int | None = Field(description="the one project it is for; null for all of the person's")
    expires_at: MaybeTime


class ProjectShape(Shown):
    """A project."""

    id: int
    name: str
    description: str
    design: dict[str, Any]
    simulated: bool
    archived: bool
    created_at: Time


class ProjectPage(Shown):
    """Some projects, oldest first."""

    items: list[ProjectShape]
    next: str | None = Field(description="address of the next page, null on the last")


class NewProject(Given):
    """A project to make."""

    name: Name
    protocol: str | None = Field(default=None, description="a shipped one, with its rubric and design: general, ...")
    rubric: Annotated[str, Field(min_length=1, max_length=500_000)] | None = Field(
        default=None, description="YAML as the page Rubric takes it; without it the protocol's"
    )
    description: Text = ""
    design: dict[str, Any] = Field(default_factory=dict, description="settings that differ from the usual ones")


class ProjectChange(Given):
    """What is to change of a project; what is left out stays."""

    name: Name | None = None
    description: Text | None = None
    archived: bool | None = None
    design: dict[str, Any] | None = Field(default=None, description="settings that change")


class RubricShape(Shown):
    """A version of a rubric."""

    version: int
    text: str
    created_at: Time
    created_by: str


class RubricText(Given):
    """A rubric to store as the next version."""

    text: Annotated[str, Field(min_length=1, max_length=500_000)]


class GoldShape(Shown):
    """A known answer."""

    choice: str
    explanation: str
    use: str


class ComparisonShape(Shown):
    """A comparison with how far it is. One of two responses can be sent in again as it is."""

    id: str
    prompt: list[dict[str, Any]]
    response_a: str | list[dict[str, Any]]
    response_b: str | list[dict[str, Any]]
    source_a: str
    source_b: str
    overlap: int | None
    priority: float
    gold: GoldShape | None
    meta: dict[str, Any]
    num_judged: int
    num_wanted: int
    decided: bool
    further: list[dict[str, Any]] = Field(
        description="of a ranking, its third and later responses, each with its source; "
        "to send one in, list all of them as `responses`"
    )
    steps: list[str] = Field(description="of an answer whose steps are judged, these; it stands as both responses")
    step_scores: list[float | None] = Field(
        description="what a model gives the steps, by step the probability of right"
    )
    tags: list[str]
    excluded: bool = Field(description="whether it is neither handed out nor counted")


class ComparisonPage(Shown):
    """Some comparisons, in the order they came."""

    items: list[ComparisonShape]
    next: str | None = Field(description="address of the next page, null on the last")


class GoldGiven(Given):
    """A known answer to set."""

    choice: Literal["a", "b", "tie", "both_bad"]
    explanation: Annotated[str, Field(max_length=10_000)] = ""
    use: Literal["gold", "qualification"] = "gold"


class ComparisonChange(Given):
    """What is to change of one comparison; what is left out stays, null takes it away."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    gold: GoldGiven | None = None
    priority: float = Field(default=0.0, allow_inf_nan=False, ge=-1e300, le=1e300)
    overlap: Annotated[int, Field(ge=1, le=1000)] | None = None


class ComparisonChanges(Given):
    """Changes of comparisons, all of them or none."""

    changes: Annotated[list[ComparisonChange], Field(min_length=1, max_length=1000)]


class Changed(Shown):
    """How many were changed."""

    num_changed: int


class Taken(Shown):
    """What became of the rows of a body."""

    num_rows: int
    num_added: int
    num_existing: int = Field(description="rows that were there already, or came twice")
    num_labels: int
    num_empty: int
    rows: list[RefusedRow] = Field(description="rows that were left out, where on_bad_row is skip")


class JudgmentShape(Shown):
    """One thing that somebody said of a comparison, whichever side its a stood on."""

    id: int = Field(description="its number: the cursor behind it")
    comparison_id: str
    annotator: str
    choice: Literal["a", "b", "tie", "both_bad", "skip", "withdrawn"]
    strength: int
    criteria: dict[str, Any]
    flags: dict[str, list[str]]
    rationale: str
    reason: str
    seconds: float
    shown_left: str = Field(description="a or b; empty where it is not known")
    kind: str = Field(description="work, gold, repeat, qualification or import; empty for annotators")
    rubric_version: int
    created_at: Time
    counts: bool = Field(description="whether it counts now: not replaced, not withdrawn")
    replaces: int | None = Field(description="number of the same person's judgment that it took the place of")
    ranking: Any
    spans: Any
    edited: Any
    step_labels: Any = Field(
        description="of an answer in steps, by step 1 right, 0.5 neutral, 0 wrong, null not judged"
    )


class JudgmentPage(Shown):
    """What was said behind a cursor, oldest first."""

    items: list[JudgmentShape]
    after: int = Field(description="the cursor to ask with next time, also on the last page")
    next: str | None = Field(description="address of the next page, null where nothing more is known yet")


class MemberFigures(Shown):
    """How much one person has judged."""

    name: str
    num_judgments: int
    seconds: float
    last_at: Time


class DayFigures(Shown):
    """Judgments of one day, in UTC."""

    day: str
    num_judgments: int


class ProgressShape(Shown):
    """How far a project is."""

    num_comparisons: int
    num_complete: int
    slots_wanted: int
    slots_judged: int
    slots_leased: int
    at_work: list[str]
    by_day: list[DayFigures]
    by_member: list[MemberFigures]


class Person(Shown):
    """An account."""

    id: int
    name: str
    role: UserRole
    origin: Origin
    active: bool
    created_at: Time


class PersonPage(Shown):
    """Some accounts, by name."""

    items: list[Person]
    next: str | None = Field(description="address of the next page, null on the last")


class MemberShape(Shown):
    """Somebody's part in a project."""

    user_id: int
    name: str
    role: UserRole
    group: str
    state: str
    joined_at: Time


class Members(Shown):
    """Everybody who works on a project, by name."""

    items: list[MemberShape]


class NewMember(Given):
    """Somebody to let into a project, or to move to another group."""

    name: Name
    group: Annotated[str, Field(max_length=64)] = ""


class NewInvite(Given):
    """An invitation to make."""

    role: UserRole = "annotator"
    name: Name | None = Field(default=None, description="of the account; null lets the invited choose")
    project_id: Annotated[int, Field(ge=1, le=MOST_ID)] | None = None
    group: Annotated[str, Field(max_length=64)] = ""


class MadeInvite(Shown):
    """A link that works once, within three days."""

    path: str = Field(description="behind the address of the server")


class InviteShape(Shown):
    """An invitation that works now."""

    id: str
    name: str | None
    role: UserRole
    resets: bool = Field(description="whether the account is there, and the link sets its password")
    project: str | None
    group: str
    created_by: str
    created_at: Time
    expires_at: Time


class Invites(Shown):
    """The invitations that work now, newest first."""

    items: list[InviteShape]
