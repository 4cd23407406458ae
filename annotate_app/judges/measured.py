"""A project's judges measured against its people: what a page and a command ask the store for, in one place."""

from __future__ import annotations

from collections.abc import Collection

from annotate_app.access import Actor
from annotate_app.consensus.project_judges import own_names, told_answers
from annotate_app.judges.report import JudgeReport, judge_report
from annotate_app.store.store import Store


def measure(
    store: Store,
    actor: Actor,
    project_id: int,
    judge: str,
    *,
    own: Collection[str] = (),
    num_resamples: int = 500,
    seed: int = 0,
) -> JudgeReport:
    """The report of one judge of a project. Lead or above.

    Args:
        own: sources that count as its own model, beside its model's name.

    Raises:
        ValueError: if there is no such judge.
    """
    row = store.judges.get(actor, project_id, judge)
    return judge_report(
        store.judgments.votes(actor, project_id),
        store.judges.vote_table(actor, project_id, row.id),
        judge,
        own=(*own_names(row), *own),
        examples=told_answers(store, actor, project_id, row),
        num_resamples=num_resamples,
        seed=seed,
    )
