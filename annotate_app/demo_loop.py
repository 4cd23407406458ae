"""The demo's loop: two turns whose pairs simulated annotators judge, and a third that waits for people.

Turned by the functions that turn people's (`annotate_app.turns.stages.wheel`), with real jobs: the policy that the
demo's third model is writes turn 0's answers. Simulated is who judges, by the rule of `annotate_app.desk_marks`.
The turns are the memory of what was begun: one that failed, or that somebody stopped, set back or took over, stays as
it is, and nothing comes after it.
"""

from __future__ import annotations

import logging
from typing import Any

from annotate_app.access import Actor
from annotate_app.demo import NAME
from annotate_app.demo_models import DEMO, NUM_MODELS, demo_jobs
from annotate_app.store.jobs import ENDED
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.turns.stages.simulated_people import judge_open
from annotate_app.turns.stages.wheel import start_turn
from annotate_app.turns.turn import Turn
from annotate_app.turns.waiting import waiting_keys

logger = logging.getLogger(__name__)
NUM_JUDGED = 2
"""Turns that simulated annotators judge; the one after them is for people."""
WRITER = 2
"""Which of the demo's models writes turn 0's answers."""


def plan_turn(number: int, policy: str) -> dict[str, Any]:
    """The plan of a turn of the demo as values: small and short; what is left out is as in the turn before."""
    if number > NUM_JUDGED:
        return {"judge": {"overlap": 1}, "check": {"overlap": 1}}  # so that one visitor alone can go on
    if number > 1:
        return {}
    return {
        "policy": policy,
        "auto": True,
        "write": {"num_prompts": 40, "candidates": 4, "temperature": 0.7, "max_new_tokens": 48},
        "choose": {"num_pairs": 40, "random_share": 0.5, "cut": "keep"},
        "judge": {"overlap": 3},
        "learn": {"config": {"model": "tfidf", "mode": "head"}},
        "align": {"trains": "sft", "config": {"epochs": 4, "batch_size": 8, "learning_rate": 3e-3, "sample_every": 0}},
        "check": {"num_prompts": 40, "overlap": 3},
    }


def go_on(store: Store) -> None:
    """Begins the demo's next turn where it is due, and lets simulated annotators judge; for the worker.

    Does the same however often, and nothing where there is no demo project.
    """
    project = next((one for one in store.projects.list(DEMO) if one.name == NAME and one.simulated), None)
    if project is None or project.archived:
        return
    try:
        _go_on(store, project)
    except (ValueError, OSError) as error:
        logger.warning("the demo's loop does not go on: %s", error)


def _go_on(store: Store, project: Project) -> None:
    turns = store.turns.list(DEMO, project.id)
    last = turns[-1] if turns else None
    if last is None:
        jobs = demo_jobs(store, DEMO, project.id)
        trained = len(jobs) == NUM_MODELS and all(job.state in ENDED for job in jobs)
        if trained and jobs[WRITER].state == "done":
            start_turn(store, DEMO, project.id, plan_turn(1, str(jobs[WRITER].id)))
    elif last.created_by == DEMO.name and last.number <= NUM_JUDGED:
        if last.state == "done":
            start_turn(store, DEMO, project.id, plan_turn(last.number + 1, ""))
        elif last.state == "open":
            _judge(store, DEMO, last)


def _judge(store: Store, actor: Actor, turn: Turn) -> None:
    for record in turn.stages:
        if record.state == "people":
            keys = waiting_keys(store, actor, turn, record)
            judge_open(store, actor, turn.project_id, keys, seed=turn.number)
