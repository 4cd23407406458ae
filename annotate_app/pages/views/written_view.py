"""What a policy wrote while it learned from its own samples, by step, and the way of an audit's pairs to people."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from annotate_app.pages.kit.button_feedback import act, say
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.times import ago
from annotate_app.trainings.audit_rounds import list_rounds, list_sent, send_round
from annotate_app.trainings.runs import ModelRun

ROW_HEIGHT = 104  # about four lines of an answer


def draw_written(run: ModelRun, place: str) -> None:
    """Prompts, answers and their rewards of a step that is picked."""
    by_step = run.samples
    if not by_step:
        return
    with st.expander("What it writes", icon=":material/edit_note:", expanded=True):
        steps = list(by_step)[::-1]
        left, right = st.columns([2, 7], vertical_alignment="bottom")
        step = left.selectbox("Step", steps, format_func=lambda step: f"{step:,}", key=f"{place}-{run.job.id}-step")
        right.caption(
            "Answers that this step drew to a few prompts, and what each was paid; of several to a prompt the best "
            "and the worst."
        )
        rows = pd.DataFrame(
            {
                "prompt": "\n".join(str(turn["content"]) for turn in sample["prompt"]),
                "answer": sample["completion"] or "(nothing)",
                "reward": sample.get("reward"),
                "ended": "" if sample.get("finished", True) else "cut",
            }
            for sample in by_step[step or steps[0]]
        )
        columns = {
            "prompt": st.column_config.TextColumn("prompt", width="medium"),
            "answer": st.column_config.TextColumn("answer", width="large"),
            "reward": st.column_config.NumberColumn("reward", format="%.3f", width="small"),
            "ended": st.column_config.TextColumn("ended", width="small"),
        }
        if not bool((rows["ended"] != "").any()):
            rows = rows.drop(columns="ended")
        st.dataframe(
            rows,
            hide_index=True,
            column_config=columns,
            row_height=ROW_HEIGHT,
            height=36 + ROW_HEIGHT * min(len(rows), 4) + 2,
            key=f"{place}-{run.job.id}-written",
        )


def draw_rounds(run: ModelRun, place: str) -> None:
    """A round of an audit, a project to send it to, the button, and where rounds went."""
    rounds = list_rounds(run)
    if not rounds:
        return
    key = f"{place}-{run.job.id}-round"
    with st.expander("Ask people: blind rounds", icon=":material/balance:"):
        say()  # the outcome of a click, which draws this part alone again
        st.caption(
            "Each audit kept pairs: what the policy answers at that step, beside what it answered before the first "
            "one. People who judge them do not see which is which; the Leaderboard of the project tells who won. "
            "A project of its own keeps these judgments apart from what models are trained on."
        )
        projects = {one.id: one.name for one in current_store().projects.list(current_actor()) if not one.archived}
        left, middle, right = st.columns([2, 4, 3], vertical_alignment="bottom")
        steps = list(rounds)[::-1]
        step = left.selectbox("Audit at step", steps, format_func=lambda step: f"{step:,}", key=f"{key}-step")
        names = projects.__getitem__
        project = middle.selectbox("Into the project", list(projects), format_func=names, key=f"{key}-project")
        step = step or steps[0]
        right.button(
            f"Send {rounds[step]:,} pairs",
            key=f"{key}-send",
            icon=":material/send:",
            on_click=act,
            args=("Sent.", send_round, current_store(), current_actor(), run.job.id, step, project),
        )
        st.page_link(page_at("projects"), label="Make a project for it", icon=":material/arrow_forward:")
        for sent in list_sent(run):
            there = f", {sent.num_existing:,} were there" if sent.num_existing else ""
            out = f", {sent.num_left_out:,} without any answer left out" if sent.num_left_out else ""
            st.text(
                f"Step {sent.step:,} went into {sent.project}: {sent.num_added:,} pairs added{there}{out}; "
                f"{sent.by}, {ago(sent.at)}."
            )
