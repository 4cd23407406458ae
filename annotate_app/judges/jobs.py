"""A judge's run as a job: the command `judge run` over the project, or over comparisons that are named."""

from __future__ import annotations

from collections.abc import Sequence

from annotate_app.access import Actor
from annotate_app.jobs import jobs
from annotate_app.store.jobs import UNDER_WAY, Job
from annotate_app.store.store import Store

KIND = "judge"
KEYS = "keys.txt"  # in the run directory: the comparisons to judge, an id a line


def start(
    store: Store,
    actor: Actor,
    project_id: int,
    judge: str,
    *,
    comparisons: Sequence[str] | None = None,
    samples: int | None = None,
    examples: int = 0,
    seed: int = 0,
    max_cost: float = 0.0,
    max_comparisons: int = 0,
) -> Job:
    """Queues a run of a judge. Lead or above; what is asked already is not asked again.

    Args:
        judge: its name.
        comparisons: ids of those to judge; None takes all of the project.
        samples: answers to each question, where not as many as the judge says.
        examples, seed: number of examples to show, and what they are drawn by.
        max_cost, max_comparisons: most to spend, in the currency of the prices, and most to judge; 0 is no limit.

    Raises:
        ValueError: if there is no such judge, it cannot be asked, its run waits or goes on already, or a comparison's
            id holds a line break.
    """
    row = store.judges.get(actor, project_id, judge)
    if row.spec.kind == "imported":
        raise ValueError(f"the votes of {judge} were made elsewhere: it cannot be asked")
    title = f"Judge {judge}"
    for job in store.jobs.list(actor, project_id):
        if job.kind == KIND and job.title == title and job.state in UNDER_WAY:
            raise ValueError(f"a run of {judge} waits or goes on already (job {job.id})")
    command = ["annotate_app", "judge", "run", str(project_id), judge]
    files: dict[str, str | bytes] = {}
    if comparisons is not None:
        if bad := [key for key in comparisons if "\n" in key or "\r" in key]:
            raise ValueError(f"the id {bad[0]!r:.80} holds a line break")
        files[KEYS] = "".join(f"{key}\n" for key in comparisons)
        command += ["--comparisons", KEYS]
    options = {
        "--samples": samples or 0,
        "--examples": examples,
        "--seed": seed,
        "--max-cost": max_cost,
        "--max-comparisons": max_comparisons,
    }
    command += [word for name, value in options.items() if value for word in (name, str(value))]
    return jobs.start(store, actor, kind=KIND, title=title, command=command, project_id=project_id, files=files)
