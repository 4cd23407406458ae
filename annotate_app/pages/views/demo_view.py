"""The demo's models on the overview: which one is being trained, how far it is, and the way to what came of them."""

from __future__ import annotations

import streamlit as st

from annotate_app.demo_models import demo_jobs
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.store.jobs import ENDED, Job
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.runs import read_run

POLL_S = 2.0


def draw_demo_models(project: Project) -> None:
    """A line for the leads of the demo, drawn again while something is trained; nothing where there are no models."""
    if not project.simulated:
        return
    jobs = demo_jobs(current_store(), current_actor(), project.id)
    if jobs:
        busy = any(job.state not in ENDED for job in jobs)
        st.fragment(draw_line, run_every=POLL_S if busy else None)(project.id)


def draw_line(project_id: int) -> None:
    """A bar and a sentence, and the pages on which the models are."""
    jobs = demo_jobs(current_store(), current_actor(), project_id)
    with st.container(border=True, key="demo-models", horizontal=True, vertical_alignment="center"):
        under_way = next((job for job in jobs if job.state not in ENDED), None)
        if under_way is None:
            st.markdown(say_ended(jobs))
        else:
            st.progress(share_of(jobs), say_under_way(jobs, under_way))
        st.page_link(page_at("runs"))
        if any(job.state == "done" for job in jobs):
            st.page_link(page_at("playground"))


def share_of(jobs: list[Job]) -> float:
    """How much is trained: a model that is under way counts by its steps."""
    return sum(1.0 if job.state in ENDED else _steps_done(job) for job in jobs) / len(jobs)


def say_under_way(jobs: list[Job], job: Job) -> str:
    """What is being trained, and which of how many."""
    doing = "Waiting for the worker to train" if job.state == "queued" else "Training"
    ended = [each for each in jobs if each.state in ENDED]
    undone = sum(each.state != "done" for each in ended)
    what = f"reward model {job.title}" if read_run(job).is_reward_model else job.title
    words = f"{doing} model {len(ended) + 1} of {len(jobs)} from these judgments: {what}"
    return f":material/model_training: {words}{f'; {undone} did not get done' if undone else ''}"


def say_ended(jobs: list[Job]) -> str:
    """What came of them."""
    done = sum(job.state == "done" for job in jobs)
    if done == len(jobs):
        plural = f"{done} models have" if done > 1 else "A model has"
        return f":material/check_circle: {plural} been trained from these judgments."
    return f":material/error: {done} of {len(jobs)} models have been trained from these judgments; Runs says why."


def _steps_done(job: Job) -> float:
    status = read_run(job).status
    num_steps = int(status.get("num_steps") or 0)
    return 0.9 * int(status.get("step") or 0) / num_steps if num_steps else 0.0  # its report takes the rest
