"""Comparisons: taking them in, listing them, and what leads set on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from annotate_app.api.bodies import ColumnMap, bad_rows, read_map, result_of, rows_body, taken_in
from annotate_app.api.calling import SIGNED_IN, ActorNow, Limit, Offset, ProjectId, StoreNow, page_link
from annotate_app.api.shapes import Changed, ComparisonChanges, ComparisonPage, Taken
from annotate_app.exchange.comparisons_in import BadRowsError, ImportOptions, import_comparisons
from annotate_app.exchange.project_out import comparison_row
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.workbench.browsing import Listed
from annotate_app.store.workbench.comparison_filter import State, read_view
from rewardkit.data.columns import Form

router = APIRouter(tags=["comparisons"], dependencies=SIGNED_IN)
EXAMPLE = {
    "id": "c1",
    "prompt": "How do I return a kettle?",
    "response_a": "Send it back within 30 days.",
    "response_b": "Please write to us.",
    "source_a": "model one",
    "source_b": "model two",
}
BODY = rows_body("rows in any form that files may have; see the reference of row formats", EXAMPLE)


@router.post("/projects/{project_id}/comparisons", openapi_extra=BODY)
async def add_comparisons(
    request: Request,
    actor: ActorNow,
    store: StoreNow,
    project_id: ProjectId,
    form: Annotated[Form | None, Query(description="what a row is; else told from its columns")] = None,
    pairs: Annotated[str, Query(max_length=40, description="all, adjacent, random:N or star:first of N")] = "all",
    empty: Annotated[Literal["keep", "bad"] | None, Query(description="comparisons with an empty answer")] = None,
    on_bad_row: Annotated[Literal["error", "skip"], Query(description="skip leaves bad rows out")] = "error",
    labels: Annotated[bool, Query(description="also take what a row says is better, as annotator dataset")] = False,
    overlap: Annotated[int | None, Query(ge=1, le=1000, description="judgments wanted of each new one")] = None,
    map: ColumnMap = [],  # noqa: B006 (the name of the parameter; FastAPI copies it)
) -> Taken:
    """Adds comparisons, all rows or none, each once: what is there already by its id, or its content, is counted."""
    async with taken_in(request) as (file, format):
        options = ImportOptions(
            form=form,
            columns=read_map(map),
            pairs=pairs,
            empty=empty,
            format=format,
            on_bad_row=on_bad_row,
            labels=labels,
            overlap=overlap,
        )
        try:
            done = await run_in_threadpool(import_comparisons, store, actor, project_id, [file], options)
        except BadRowsError as error:
            raise bad_rows(error) from error
    return Taken.model_validate(result_of(done))


@router.get("/projects/{project_id}/comparisons")
def list_comparisons(
    request: Request,
    actor: ActorNow,
    store: StoreNow,
    project_id: ProjectId,
    text: Annotated[str, Query(max_length=1000, description="what the id, the conversation or an answer holds")] = "",
    state: Annotated[State, Query(description="how far they are")] = "any",
    view: Annotated[str, Query(max_length=4000, description="a filter as the address of the page Comparisons")] = "",
    id: Annotated[list[str], Query(max_length=200, description="only those of these ids")] = [],  # noqa: B006
    offset: Offset = 0,
    limit: Limit = 100,
) -> ComparisonPage:
    """Lists comparisons with how far each is. Lead or above."""
    given = {"text": text, "keys": tuple(id)} | ({} if state == "any" else {"state": state})
    chosen = replace(read_view(view), **{name: value for name, value in given.items() if value})
    listed = store.browsing.find(actor, project_id, chosen, offset=offset, limit=limit + 1)
    page = {"items": [shape_of(each) for each in listed[:limit]], "next": None}
    if len(listed) > limit:
        page["next"] = page_link(request, offset, limit, len(listed))
    return ComparisonPage.model_validate(page)


@router.patch("/projects/{project_id}/comparisons")
def change_comparisons(actor: ActorNow, store: StoreNow, project_id: ProjectId, body: ComparisonChanges) -> Changed:
    """Sets known answers, priorities and overlaps, all of them or none. Lead or above."""
    with store.together():
        for change in body.changes:
            named = change.model_fields_set
            if "gold" in named:
                gold = None if change.gold is None else Gold(**change.gold.model_dump())
                store.comparisons.set_gold(actor, project_id, change.id, gold)
            if "overlap" in named:
                store.comparisons.set_overlap(actor, project_id, change.id, change.overlap)
        priorities = {each.id: each.priority for each in body.changes if "priority" in each.model_fields_set}
        store.comparisons.set_priorities(actor, project_id, priorities)
    return Changed(num_changed=len({each.id for each in body.changes}))


def shape_of(listed: Listed) -> dict[str, Any]:
    """A comparison as the API gives it: the row of a whole project's export, and how far it is."""
    everything = {"further": [], "steps": [], "step_scores": [], "tags": [], "excluded": False} | comparison_row(listed)
    return everything | {
        "num_judged": listed.num_judged,
        "num_wanted": listed.num_wanted,
        "decided": listed.decided,
    }
