"""The way of a new project: rubric, import, people, watch. Shown until somebody has judged."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.store.projects.first_steps import FirstSteps
from annotate_app.store.projects.projects import Project

State = Literal["done", "next", "later"]
Step = tuple[bool, str, str, tuple[str, ...]]
"""Whether it is done, what it is, what it has or needs, and the pages on which it is done."""
LOOK = {"done": ("check_circle", "green", "done"), "next": ("arrow_circle_right", "blue", "next"), "later": ()}


def steps_of(steps: FirstSteps) -> list[Step]:
    """The four steps of a project."""
    counted = f"{steps.num_comparisons:,} imported." if steps.num_comparisons else ""
    people = "1 person is in" if steps.num_people == 1 else f"{steps.num_people:,} people are in"
    people += f", {steps.num_invited:,} invited." if steps.num_invited else "."
    return [
        (
            steps.rubric_read,
            "Read and adapt the rubric",
            "What annotators read first and what they answer. Needs your words for what is better.",
            ("rubric",),
        ),
        (
            steps.num_comparisons > 0,
            "Import prompts with two or more responses",
            counted or "Needs a file: JSONL, JSON, CSV or Parquet. Its columns are found by themselves.",
            ("import_data",),
        ),
        (
            steps.num_people + steps.num_invited > 0,
            "Invite people, or label yourself",
            people
            if steps.num_people + steps.num_invited
            else "Needs their names, or nothing: links work for whoever opens them.",
            ("people", "label"),
        ),
        (
            steps.is_judged,
            "Watch",
            "Progress, agreement and quality appear here with the first judgment. Needs somebody to judge a pair.",
            ("settings",) if steps.num_comparisons else (),
        ),
    ]


def draw_first_steps(project: Project) -> None:
    """Draws the way; nothing once somebody has judged."""
    steps = current_store().projects.first_steps(current_actor(), project.id)
    if steps.is_judged:
        return
    way = steps_of(steps)
    following = next((number for number, (done, *_) in enumerate(way) if not done), None)
    with st.container(border=True, key="first-steps"):
        st.header("First steps", anchor=False)
        for number, step in enumerate(way):
            state: State = "done" if step[0] else "next" if number == following else "later"
            draw_step(project, number, step, state)


def draw_step(project: Project, number: int, step: Step, state: State) -> None:
    """One step, with its state in words, and its pages."""
    done, title, needs, pages = step
    with st.container(key=f"first-step-{number}"):
        words, actions = st.columns([5, 2], vertical_alignment="center")
        with words.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{number + 1}. {title}**", width="content")
            if look := LOOK[state]:
                icon, color, word = look
                st.badge(word, icon=f":material/{icon}:", color=color)
        words.caption(needs)
        with actions.container(horizontal=True, horizontal_alignment="right"):
            for where in pages:
                st.page_link(page_at(where), query_params={"project": project.name})
            if pages == ("rubric",) and not done:
                st.button(
                    "It is right as it is",
                    key="keep-rubric",
                    on_click=act,
                    args=("Noted.", current_store().projects.keep_rubric, current_actor(), project.id),
                )
