"""Draws one turn: its stages in a line, how each stands and what it found, what the next costs, and their buttons."""

from __future__ import annotations

import time
from typing import Literal

import streamlit as st

from annotate_app.jobs.jobs import read_progress
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.kit.reader_clock import reader_time
from annotate_app.pages.views.figures import stage_cost_of
from annotate_app.pages.views.turns.stage_words import found
from annotate_app.store.jobs import Job
from annotate_app.store.projects.projects import Project
from annotate_app.times import ago, duration
from annotate_app.turns.stages.wheel import (
    adopt_stage,
    advance,
    begin_stage,
    cancel_stage,
    next_stage,
    redo_stage,
    skip_stage,
    stop_turn,
)
from annotate_app.turns.turn import Stage, StageRecord, Turn, TurnFigures
from annotate_app.turns.waiting import count_waiting

POLL_S = 2.5
STAGE_LOOK: dict[Stage, tuple[str, str, str]] = {
    "write": ("Write", "edit_note", "The policy writes several answers to each prompt."),
    "choose": ("Choose", "filter_alt", "Pairs of these answers are chosen by rule, some by chance."),
    "judge": ("Judge", "balance", "People judge the pairs, and judges that are no people where asked."),
    "learn": ("Learn", "model_training", "A reward model learns from all that was judged so far."),
    "align": ("Align", "tune", "The policy is trained to write what was preferred."),
    "check": ("Check", "fact_check", "People compare the new policy with the one before, blindly."),
}
"""Name, icon and what it does."""
STATE_LOOK: dict[str, tuple[str, Literal["gray", "blue", "green", "red", "orange"], str]] = {
    "waiting": ("To come", "gray", "schedule"),
    "running": ("Running", "blue", "sync"),
    "people": ("Waits for people", "orange", "groups"),
    "done": ("Done", "green", "check"),
    "failed": ("Not done", "red", "error"),
    "skipped": ("Skipped", "gray", "skip_next"),
}
ADOPTS: dict[Stage, str] = {
    "write": "A file of candidates, as `alignment sample` writes them",
    "choose": "A file of pairs, as `rewardkit choose` writes them",
    "judge": "Leave empty: the judgments that are there",
    "learn": "A reward model: a run's number or a folder",
    "align": "A policy: a run's number, a folder or a hub id",
    "check": "A blind round's number",
}


def watch_turn(project: Project, turn: Turn, figures: TurnFigures | None) -> None:
    """Draws a turn, again every few seconds while a job works for it."""
    busy = any(record.state == "running" for record in turn.stages)
    st.fragment(draw_again, run_every=POLL_S if busy else None)(project, turn.number, marks_of(turn), figures)


def marks_of(turn: Turn) -> tuple[str, ...]:
    """What the whole page has to be drawn again for, once it changes."""
    return (turn.state, *(record.state for record in turn.stages))


def draw_again(project: Project, number: int, marks: tuple[str, ...], figures: TurnFigures | None) -> None:
    """Draws the turn as it is now; where a stage went on since the page was drawn, the page."""
    with plainly():
        store, actor = current_store(), current_actor()
        if marks[0] == "open":
            advance(store, actor, project.id)
        turn = store.turns.get(actor, project.id, number)
        if marks_of(turn) != marks:
            st.rerun()
        draw_turn(project, turn, figures)


def draw_turn(project: Project, turn: Turn, figures: TurnFigures | None) -> None:
    """The line of stages, and each stage."""
    due = next_stage(turn) if turn.state == "open" else None
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"line-{turn.number}"):
        for place, record in enumerate(turn.stages):
            if place:
                st.markdown(":material/chevron_right:", width="content")
            _, color, icon = STATE_LOOK[record.state]
            if record.stage == due:
                color = "blue"
            st.badge(STAGE_LOOK[record.stage][0], color=color, icon=f":material/{icon}:")
    for record in turn.stages:
        draw_stage(project, turn, record, figures, is_due=record.stage == due)
    if turn.state == "open":
        arguments = ("Stopped.", stop_turn, current_store(), current_actor(), turn.project_id, turn.number)
        with st.popover("Stop this turn", icon=":material/stop_circle:", type="tertiary", key=f"stop-{turn.number}"):
            st.caption("What is under way is cancelled; what was found and judged stays. Another turn can begin.")
            st.button("Stop it", key=f"stop-{turn.number}-sure", on_click=act, args=arguments)


def draw_stage(project: Project, turn: Turn, record: StageRecord, figures: TurnFigures | None, *, is_due: bool) -> None:
    """One stage: name, state, time; what it found or will cost; its button."""
    name, icon, does = STAGE_LOOK[record.stage]
    word, color, state_icon = STATE_LOOK[record.state]
    job = current_store().jobs.get(current_actor(), record.job_id) if record.job_id else None
    with st.container(border=True, key=f"stage-{turn.number}-{record.stage}", gap="small"):
        left, right = st.columns([5, 2], vertical_alignment="center")
        with left.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/{icon}: **{name}**", width="content")
            st.badge(word, color=color, icon=f":material/{state_icon}:")
            if record.adopted:
                st.badge("By hand", color="gray", icon=":material/front_hand:")
        right.caption(when(record), text_alignment="right")
        if record.state == "waiting":
            st.caption(does)
        if lines := found(record, figures):
            st.text("\n".join(lines))
        if record.state == "failed":
            st.text(str(record.result.get("message") or "It was cancelled, or its job was lost."))
        if record.state == "running":
            draw_progress(record, job)
        if record.state == "people":
            draw_waiting(turn, record)
        if is_due and record.state == "waiting":
            st.text(f"What it will cost: {stage_cost_of(project, turn, record.stage).words}")
        with st.container(horizontal=True, vertical_alignment="center"):
            draw_buttons(turn, record, is_due=is_due)
            draw_ways(record, job)


def when(record: StageRecord) -> str:
    """When it began or ended, how long it took, how often it was tried."""
    words: list[str] = []
    if record.ended_at and record.started_at:
        words = [ago(record.ended_at), f"took {duration(record.ended_at - record.started_at)}"]
    elif record.started_at:
        words = [f"since {duration(time.time() - record.started_at)}"]
    if record.tries > 1:
        words.append(f"try {record.tries}")
    return ", ".join(words)


def draw_progress(record: StageRecord, job: Job | None) -> None:
    """How far the job is."""
    if job is None:
        return
    progress = read_progress(job)
    words = "Waits until the worker is free" if job.state == "queued" else progress.text or "Starting"
    st.progress(progress.share or 0.0, words[:200])


def draw_waiting(turn: Turn, record: StageRecord) -> None:
    """How many judgments are there, of how many."""
    waiting = count_waiting(current_store(), current_actor(), turn, record)
    st.progress(waiting.share, f"{waiting.num_judged:,} of {waiting.total:,} judgments are there")


def draw_ways(record: StageRecord, job: Job | None) -> None:
    """Links to what the stage left: its run, its job, its pairs, its rounds."""
    run = record.result.get("run")
    if run is None and record.stage in ("learn", "align"):
        run = record.job_id
    if run is not None:
        st.page_link(page_at("runs"), label=f"Run {run}", query_params={"run": str(run)}, width="content")
    elif job is not None and record.state in ("running", "failed"):
        st.page_link(page_at("jobs_page"), label=f"Job {job.id}, {job.state}", width="content")
    if record.stage in ("choose", "judge") and record.state not in ("waiting", "running", "failed"):
        st.page_link(page_at("comparisons"), label="Pairs", width="content")
    if record.stage == "check" and record.result.get("rounds"):
        st.page_link(page_at("leaderboard"), label="Leaderboard", width="content")


def draw_buttons(turn: Turn, record: StageRecord, *, is_due: bool) -> None:
    """The button that a stage has now, and behind another what is done by hand."""
    stage, key = record.stage, f"{turn.number}-{record.stage}"
    place = (current_store(), current_actor(), turn.project_id, turn.number, stage)
    name = STAGE_LOOK[stage][0].lower()
    match record.state:
        case "waiting" | "failed" if is_due:
            words = "Begin" if record.state == "waiting" else "Try again"
            st.button(
                f"{words}: {name}",
                key=f"begin-{key}",
                type="primary",
                icon=":material/play_arrow:",
                on_click=act,
                args=("Begun.", begin_stage, *place),
            )
        case "people":
            if st.button("Go to labeling", key=f"label-{key}", type="primary", icon=":material/balance:"):
                st.switch_page(page_at("label"))
            st.button(
                "Go on with the votes that are there",
                key=f"enough-{key}",
                on_click=act,
                args=("The stage ended with the votes that are there.", skip_stage, *place),
            )
        case "running":
            st.button("Cancel", key=f"cancel-{key}", on_click=act, args=("Asked to stop.", cancel_stage, *place))
        case "done" | "skipped" if turn.state == "open":
            draw_redo(place, key)
    if is_due:
        draw_by_hand(place, key)


def draw_redo(place: tuple, key: str) -> None:
    """Sets a stage back, after saying what that does."""
    with st.popover("Redo", icon=":material/replay:", type="tertiary", key=f"redo-{key}"):
        st.caption("This stage and those after it are set back. Runs stay, and judgments stay.")
        st.button("Redo it", key=f"redo-{key}-sure", on_click=act, args=("Set back.", redo_stage, *place))


def draw_by_hand(place: tuple, key: str) -> None:
    """Takes over what was done by hand, or passes the stage over."""
    stage: Stage = place[-1]
    with st.popover("By hand", icon=":material/front_hand:", type="tertiary", key=f"hand-{key}"):
        st.text_input(f"Take over: {ADOPTS[stage]}", key=f"adopt-{key}-what")
        st.button("Take over", key=f"adopt-{key}", on_click=take_over, args=(place, f"adopt-{key}-what"))
        if stage not in ("write", "choose"):
            st.divider()
            st.caption("The turn goes on without this stage.")
            st.button("Skip it", key=f"skip-{key}", on_click=act, args=("Skipped.", skip_stage, *place))


def take_over(place: tuple, field: str) -> None:
    """Adopts what a field names."""
    act("Taken over.", adopt_stage, *place, str(st.session_state[field]).strip())


def turn_title(turn: Turn) -> str:
    """For the chooser: its number, state and day."""
    return f"Turn {turn.number}: {turn.state}, begun {reader_time(turn.created_at):%-d %b %Y}"
