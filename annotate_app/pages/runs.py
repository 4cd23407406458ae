"""Runs: the project's trainings in a table, one of them in full, several side by side."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.views.runs.compare_view import draw_comparison
from annotate_app.pages.views.runs.config_view import draw_said, draw_said_form, show_config
from annotate_app.pages.views.runs.model_pairs_view import draw_differing
from annotate_app.pages.views.runs.rounds_view import draw_hold_against
from annotate_app.pages.views.runs.run_list import draw_choice, draw_filters, draw_table, open_runs
from annotate_app.pages.views.training_view import watch
from annotate_app.trainings.runs import ModelRun, list_runs


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Runs")
        project, actor = current_project(), current_actor()
        actor.require("lead", "reading trainings")
        runs = list_runs(current_store(), actor, project.id)
        if not runs:
            st.info("Nothing has been trained on this project yet.", icon=":material/model_training:")
            st.page_link(page_at("train"), label="Train a model", icon=":material/arrow_forward:")
            return
        shown = draw_filters(runs)
        if shown:
            draw_table(shown)
        else:
            st.info("No run is like that.", icon=":material/search_off:")
        chosen = open_runs(project.id, runs, shown)
        draw_choice(project.id, shown, chosen)
        if len(chosen) == 1:
            draw_one(chosen[0], runs)
        elif chosen:
            draw_comparison(chosen, runs)


def draw_one(run: ModelRun, runs: Sequence[ModelRun]) -> None:
    """One run: what is said of it, what made its numbers, and the training itself."""
    draw_said(run, "runs")
    with st.container(horizontal=True):
        draw_said_form(run, sorted({tag for one in runs for tag in one.said.tags}), "runs")
        if st.button("Configuration", key=f"runs-config-{run.number}", icon=":material/tune:"):
            show_config(run)
    if run.is_scorer:
        draw_differing(run)
    if run.is_policy:
        draw_hold_against(run, runs)
    watch(run, key_prefix="runs")
