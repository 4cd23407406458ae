"""What somebody of a crowd platform sees once their visit has ended, in place of the labeling page: the code."""

from __future__ import annotations

import streamlit as st

from annotate_app.labeling.desk import Desk
from annotate_app.pages.kit.context import current_store, current_user
from annotate_app.pages.kit.language import say

ENDED = ("completed", "failed", "paused")


def has_ended(desk: Desk) -> bool:
    """Whether the person at the desk came by a crowd link, and their visit has ended."""
    return desk.progress.state in ENDED and current_user().origin == "crowd"


def draw_ending(desk: Desk) -> None:
    """Draws the ending of the visit."""
    entry = current_store().crowd.own_ending(desk.actor, desk.project_id)
    if entry is None:
        return
    with st.container(key="crowd-ending", width=560):
        st.title(say(f"crowd.{entry.outcome}.title"), anchor=False)
        st.text(say(f"crowd.{entry.outcome}.text"))
        if entry.code:
            st.text(say("crowd.code"))
            st.code(entry.code, language=None)
        if entry.return_url:
            st.link_button(say("crowd.back"), entry.return_url, type="primary")
