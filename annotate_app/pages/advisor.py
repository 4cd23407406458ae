"""Advisor: which training to take on given GPUs, and how much to label; the address holds the question."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.context import current_actor, current_project
from annotate_app.pages.views.advisor.labeling_power import draw_labeling
from annotate_app.pages.views.advisor.training_advice import draw_training

QUESTIONS = {"training": "Which training", "labeling": "How much labeling"}


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Advisor")
        project = current_project()
        current_actor().require("lead", "planning")
        about = st.segmented_control(
            "Ask about",
            list(QUESTIONS),
            default="training",
            required=True,
            format_func=QUESTIONS.__getitem__,
            key="advisor-about",
            bind="query-params",
            label_visibility="collapsed",
        )
        if about == "labeling":
            draw_labeling(project)
        else:
            draw_training(project)
