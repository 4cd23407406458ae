"""Jobs: running, waiting and ended. Refreshes itself only while one runs."""

from __future__ import annotations

import streamlit as st

from annotate_app.jobs.jobs import read_log, read_progress
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.views.training_view import STATE_LOOK
from annotate_app.store.jobs import Job
from annotate_app.times import ago, duration

UNDER_WAY = ("queued", "running")
POLL_S = 2.0
ONE = "job"
"""What the address names a job by, `?job=12`."""


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Jobs")
        jobs = chosen_jobs()
        busy = any(job.state in UNDER_WAY for job in jobs)
        st.fragment(draw_jobs, run_every=POLL_S if busy else None)(busy)


def visible_jobs() -> list[Job]:
    """All jobs for admins, the project's for its leads."""
    actor = current_actor()
    return current_store().jobs.list(actor, None if actor.role == "admin" else current_project().id)


def chosen_jobs() -> list[Job]:
    """The one job that the address names, `?job=12`, else all that the reader may see."""
    jobs, asked = visible_jobs(), st.query_params.get(ONE, "")
    return [job for job in jobs if str(job.id) == asked] if asked else jobs


def forget_choice() -> None:
    """Shows all jobs again."""
    st.query_params.pop(ONE, None)


def draw_jobs(busy: bool) -> None:
    """Draws the list; `busy` says whether a job ran when the page was drawn; when none does, the page is redrawn."""
    jobs = chosen_jobs()
    if busy and not any(job.state in UNDER_WAY for job in jobs):
        st.rerun()
    if st.query_params.get(ONE):
        if not jobs:
            st.info("There is no such job for you.", icon=":material/search_off:")
        st.button("Show all jobs", key="jobs-all", on_click=forget_choice)
    elif not jobs:
        st.info("Nothing has run yet. Imports and exports of large files run here.", icon=":material/pending_actions:")
    for job in jobs:
        draw_job(job)
        if len(jobs) > 1:
            link = {ONE: str(job.id), "project": st.session_state.get("project") or ""}
            label = f"Only this one, job {job.id}"
            st.page_link(page_at("jobs_page"), label=label, icon=":material/link:", query_params=link)


def draw_job(job: Job) -> None:
    """Draws one job: its state, progress and the end of its log."""
    word, color, icon = STATE_LOOK[job.state]
    with st.container(border=True, key=f"job-{job.id}"):
        left, right = st.columns([5, 2], vertical_alignment="center")
        with left.container(horizontal=True, vertical_alignment="center"):
            st.badge(word, color=color, icon=f":material/{icon}:")
            st.text(job.title)
        right.caption(f"{job.kind}, {as_markdown(job.created_by)}, {ago(job.created_at)}", text_alignment="right")
        if job.state == "running":
            draw_progress(job)
        if job.message:
            st.text(job.message)
        if job.started_at and job.ended_at:
            st.caption(f"took {duration(job.ended_at - job.started_at)}")
        if job.state in UNDER_WAY:
            waiting = "Stopping…" if job.cancel else "Cancel"
            arguments = ("Asked to stop.", current_store().jobs.cancel, current_actor(), job.id)
            st.button(waiting, key=f"cancel-{job.id}", disabled=job.cancel, on_click=act, args=arguments)
        log = read_log(job)
        if log:
            with st.expander("Log", expanded=job.state in ("running", "failed")):
                st.code(log, language=None, height=180)


def draw_progress(job: Job) -> None:
    """A bar where the share is known, words otherwise."""
    progress = read_progress(job)
    if progress.share is not None:
        st.progress(progress.share, progress.text)
    elif progress.text:
        st.text(progress.text)
