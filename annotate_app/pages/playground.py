"""Playground: a prompt and two answers, and what a trained reward model says of them, with how sure it is."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.charts import curves
from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.trainings.runs import ModelRun, list_runs
from annotate_app.trainings.scorer import LONGEST_TEXT, Verdict, scorers

PROMPT, FIRST, SECOND = "playground-prompt", "playground-a", "playground-b"
ASKED = "playground-asked"
ANSWERED = "playground-answered"


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Playground")
        project, actor = current_project(), current_actor()
        actor.require("lead", "asking models")
        runs = {run.job.id: run for run in list_runs(current_store(), actor, project.id) if run.is_scorer}
        if not runs:
            st.info("There is no trained reward model in this project yet.", icon=":material/model_training:")
            st.page_link(page_at("train"), label="Train one", icon=":material/arrow_forward:")
            return
        key = f"playground-model-{project.id}"
        chosen = st.selectbox("Model", list(runs), format_func=lambda number: runs[number].name, key=key)
        st.text_area("Prompt", key=PROMPT, height=100, max_chars=LONGEST_TEXT)
        left, right = st.columns(2)
        left.text_area("Answer A", key=FIRST, height=180, max_chars=LONGEST_TEXT)
        right.text_area("Answer B", key=SECOND, height=180, max_chars=LONGEST_TEXT)
        with st.container(horizontal=True):
            st.button("Score", type="primary", key="playground-score", icon=":material/balance:", on_click=ask)
            st.button("Swap A and B", key="playground-swap", icon=":material/swap_horiz:", on_click=swap)
        if chosen is not None and chosen in runs:
            draw_answer(runs[chosen])


def ask() -> None:
    """Stores the question; the page asks the model while it draws, so that it can show that it waits."""
    fields = st.session_state
    st.session_state[ASKED] = tuple(fields[name] for name in (PROMPT, FIRST, SECOND))


def swap() -> None:
    """Exchanges the two answers."""
    fields = st.session_state
    fields[FIRST], fields[SECOND] = fields[SECOND], fields[FIRST]


def draw_answer(run: ModelRun) -> None:
    """What the model says of the texts asked last; kept until other texts, or another model, are asked."""
    asked = st.session_state.get(ASKED)
    if asked is None:
        return
    question = (run.job.id, run.job.run_dir, *asked)
    answered = st.session_state.get(ANSWERED)
    if answered is None or answered[0] != question:
        loaded = scorers().is_loaded(run.model)
        waiting = "Scoring" if loaded else "Loading the model into a process of its own; the next answers come at once"
        try:
            with st.spinner(waiting, show_time=True):
                answered = (question, scorers().judge(run.model, *asked))
        except ValueError as error:
            st.error("The model gave no answer:", icon=":material/error:")
            st.text(str(error))
            return
        st.session_state[ANSWERED] = answered
    if asked != tuple(st.session_state[name] for name in (PROMPT, FIRST, SECOND)):
        st.caption("The texts have changed since; Score asks again.")
    draw_verdict(answered[1])


def draw_verdict(verdict: Verdict) -> None:
    """Who wins, how surely, and what each answer is worth."""
    better = "A" if verdict.probability >= 0.5 else "B"
    share = max(verdict.probability, 1 - verdict.probability)
    with st.container(border=True, key="playground-verdict"):
        left, middle, right = st.columns(3)
        left.metric(f"Prefers {better}", f"{share:.1%}", help="Calibrated probability, the members averaged out.")
        low, high = (verdict.low, verdict.high) if better == "A" else (1 - verdict.high, 1 - verdict.low)
        left.caption(f"nine of ten members: {low:.0%} to {high:.0%}" if len(verdict.members) > 1 else "a single member")
        for column, name, number in ((middle, "A", 0), (right, "B", 1)):
            column.metric(f"Reward of {name}", f"{verdict.rewards[number]:+.2f}")
            spread = f"± {verdict.stds[number]:.2f} between members, " if len(verdict.members) > 1 else ""
            column.caption(f"{spread}{verdict.normalised[number]:+.1f} sd from a chosen answer")
        st.altair_chart(curves.members(verdict.members, verdict.probability), key="playground-members")
        information = f", a vote here would tell {verdict.information:.3f} nats" if len(verdict.members) > 1 else ""
        st.caption(f"answered in {verdict.seconds:.1f} s{information}")
