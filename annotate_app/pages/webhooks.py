"""Webhooks: addresses that are told what happens in the project, and what became of that."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.views.team.webhooks_view import draw_form, draw_made, draw_webhook


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Webhooks")
        project, actor = current_project(), current_actor()
        hooks = current_store().webhooks.list(actor, project.id)
        st.caption(
            "An address is told by a signed POST what happens here: in order, again over eight hours until it answers "
            "2xx, and never less than once. The worker sends; see the how-to about the API for how to check the "
            "signature."
        )
        draw_made()
        if not hooks:
            st.info("No address is told anything yet.", icon=":material/webhook:")
        for hook in hooks:
            draw_webhook(hook)
        with st.expander("New webhook", expanded=not hooks, icon=":material/add:"):
            draw_form(project, actor)
