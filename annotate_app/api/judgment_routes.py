"""Judgments: following them from a cursor, and taking in those made elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from annotate_app.api.bodies import ColumnMap, bad_rows, read_map, result_of, rows_body, taken_in
from annotate_app.api.calling import SIGNED_IN, ActorNow, Limit, ProjectId, StoreNow, link
from annotate_app.api.shapes import MOST_ID, JudgmentPage, Taken
from annotate_app.exchange.comparisons_in import BadRowsError
from annotate_app.exchange.judgments_in import BallotOptions, import_judgments
from annotate_app.exchange.rows.rows_out import Pseudonyms
from rewardkit.data.choices import parse_choice_map, parse_scale

router = APIRouter(tags=["judgments"], dependencies=SIGNED_IN)
EXAMPLE = {"comparison_id": "c1", "annotator": "anna", "choice": "a", "strength": 2}
BODY = rows_body("a judgment a row, in any layout that files may have", EXAMPLE)


@router.get("/projects/{project_id}/judgments")
def follow_judgments(
    request: Request,
    actor: ActorNow,
    store: StoreNow,
    project_id: ProjectId,
    after: Annotated[int, Query(ge=0, le=MOST_ID, description="the cursor: `after` of the last page")] = 0,
    limit: Limit = 100,
    names: Annotated[bool, Query(description="real names in place of pseudonyms; lead or above")] = False,
) -> JudgmentPage:
    """What was said behind a cursor, oldest first: edits replace, undos are `withdrawn`; none is ever passed over.

    Everybody's for adjudicators and above, one's own for annotators.
    """
    page = store.judgments.feed(actor, project_id, after=after, limit=limit)
    items: list[dict[str, Any]] = [vars(each) for each in page.judgments]
    if names:
        actor.require("lead", "reading the names of annotators", project_id)
    elif actor.is_at_least("adjudicator"):
        pseudonyms = Pseudonyms.of(store, actor, project_id)
        items = [each | {"annotator": pseudonyms.of_name(each["annotator"])} for each in items]
    more = link(request, after=page.after, limit=limit) if page.more else None
    return JudgmentPage.model_validate({"items": items, "after": page.after, "next": more})


@router.post("/projects/{project_id}/judgments", openapi_extra=BODY)
async def add_judgments(
    request: Request,
    actor: ActorNow,
    store: StoreNow,
    project_id: ProjectId,
    layout: Annotated[Literal["long", "wide"] | None, Query(description="a row, or a column, an annotator")] = None,
    annotators: Annotated[list[str], Query(max_length=200, description="columns of the layout wide")] = [],  # noqa: B006
    scale: Annotated[str | None, Query(max_length=20, description="of choices that are numbers, LOW..HIGH")] = None,
    choice: Annotated[list[str], Query(alias="choice_map", max_length=40, description="VALUE=CHOICE[:STRENGTH]")] = [],  # noqa: B006
    on_bad_row: Annotated[Literal["error", "skip"], Query(description="skip leaves bad rows out")] = "error",
    map: ColumnMap = [],  # noqa: B006
) -> Taken:
    """Takes in judgments made elsewhere, all rows or none, each once. Lead or above."""
    async with taken_in(request) as (file, format):
        options = BallotOptions(
            layout=layout,
            columns=read_map(map),
            annotators=tuple(annotators),
            scale=parse_scale(scale) if scale else None,
            choice_map=parse_choice_map(choice),
            format=format,
            on_bad_row=on_bad_row,
        )
        try:
            done = await run_in_threadpool(import_judgments, store, actor, project_id, [file], options)
        except BadRowsError as error:
            raise bad_rows(error) from error
    return Taken.model_validate(result_of(done))
