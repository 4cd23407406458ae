"""Turns the wheel from a command: begins what is due, carries out its jobs, and stops where people are needed."""

from __future__ import annotations

import time
from collections.abc import Callable

from annotate_app.access import Actor
from annotate_app.jobs.worker import keep, mark_lost_jobs
from annotate_app.store.loop.turns import Stage, Turn
from annotate_app.store.store import Store
from annotate_app.turns.stages.simulated_people import judge_open, known_gold
from annotate_app.turns.stages.wheel import advance, begin_stage, next_stage, start_turn
from annotate_app.turns.waiting import waiting_keys

WAIT_S = 0.3
Told = Callable[[str], None]


def run_turn(store: Store, actor: Actor, project_id: int, *, simulate: bool, told: Told) -> Turn:
    """Runs the open turn, or a new one where none is open, until it is done or waits for people.

    Jobs are carried out by this process where no worker takes them. A stage that failed before is begun once more.

    Args:
        simulate: let simulated annotators judge what waits for people.
        told: hears of each stage that begins and ends.

    Raises:
        ValueError: with its message, if a stage fails; if nobody knows what a simulated annotator is to say.
    """
    if simulate:
        known_gold(store, actor, project_id)
    turn = advance(store, actor, project_id) or start_turn(store, actor, project_id)
    begun: set[Stage] = set()
    shown: set[Stage] = {record.stage for record in turn.stages if record.state in ("done", "skipped")}
    while turn.state == "open":
        for record in turn.stages:
            if record.state in ("done", "skipped") and record.stage not in shown:
                shown.add(record.stage)
                told(f"{record.stage} {record.state} after {(record.ended_at or 0) - (record.started_at or 0):.0f} s")
            if record.state == "failed" and record.stage in begun:
                raise ValueError(f"{record.stage} of turn {turn.number} failed: {record.result.get('message', '')}")
        if (stage := next_stage(turn)) is not None:
            told(f"{stage} begins")
            begun.add(stage)
            begin_stage(store, actor, project_id, turn.number, stage)
        elif people := next((record for record in turn.stages if record.state == "people"), None):
            if not simulate:
                return turn
            keys = waiting_keys(store, actor, turn, people)
            judged = judge_open(store, actor, project_id, keys, seed=turn.number)
            told(f"{judged} judgments of simulated annotators")
        else:
            _carry_out(store)
        turn = advance(store, actor, project_id) or store.turns.get(actor, project_id, turn.number)
    for record in turn.stages:
        if record.state == "done" and record.stage not in shown:
            told(f"{record.stage} done after {(record.ended_at or 0) - (record.started_at or 0):.0f} s")
    return turn


def _carry_out(store: Store) -> None:
    """Carries out the job that waits longest, or waits for a worker that has taken it."""
    mark_lost_jobs(store)
    job = store.jobs.claim()
    if job is None:
        time.sleep(WAIT_S)
    else:
        keep(store, job.id)
